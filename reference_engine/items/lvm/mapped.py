"""A logical volume as bytes, gathered from the physical volumes that hold its pieces."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from reference_engine.items.disk_view import Bytes, Window, within
from reference_engine.items.lvm.volume_group import LogicalVolume, Segment


class Mapped(Bytes):
    """The bytes of a logical volume."""

    def __init__(self, volume: LogicalVolume, windows: Mapping[str, Window], /) -> None:
        """Read from `windows`, each a physical volume under its identity; all have to be there."""
        self._volume, self._windows = volume, windows
        self._starts = [segment.start for segment in volume.segments]

    @property
    def size(self) -> int:
        """How many bytes the volume has."""
        return self._volume.size

    async def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly these bytes."""
        within(offset, length, self.size)
        return b"".join(
            [
                await self._windows[name].read(start, count)
                for name, start, count in self._places(offset, length)
            ]
        )

    def _places(self, offset: int, length: int) -> Iterator[tuple[str, int, int]]:
        """Yield where the bytes lie: a physical volume, an offset in it, and how many."""
        end = offset + length
        while offset < end:
            segment = self._volume.segments[bisect_right(self._starts, offset) - 1]
            name, start, there = _place(segment, offset - segment.start)
            count = min(end - offset, there)
            yield name, start, count
            offset += count


def _place(segment: Segment, inside: int) -> tuple[str, int, int]:
    """Return where a byte of a segment lies, and how many follow it there."""
    turn, rest = divmod(inside, segment.stripe)
    row, column = divmod(turn, len(segment.areas))
    area = segment.areas[column]
    there = min(segment.stripe - rest, segment.length - inside)
    return area.volume, area.start + row * segment.stripe + rest, there
