"""The `LocalCache` port over simulated files of which nothing is sure."""

from collections.abc import Sequence

from reference_engine.ports.local_cache import LocalCache, Range
from simulator.kernel.streams import Stream

_LOST = 30
_DAMAGED = 30
_UNKEPT = 100
_HALF = 100
_UNFORGOTTEN = 200
"""How many calls of a thousand go wrong so."""


class LocalCacheFacade(LocalCache):
    """What the processes of one machine keep: damaged, cut off, lost, or back from the dead."""

    def __init__(self, chance: Stream, /) -> None:
        self._chance = chance
        self._files: dict[tuple[str, str], bytes] = {}

    async def names(self, group: str, /) -> tuple[str, ...]:
        """Return what is kept in a group, ascending."""
        return tuple(sorted(name for kept, name in self._files if kept == group))

    async def read(self, group: str, ranges: Sequence[Range], /) -> list[bytes]:
        """Return the bytes of each range, or others, or fewer."""
        return [self._read(self._files.get((group, each.name), b""), each) for each in ranges]

    def _read(self, content: bytes, part: Range) -> bytes:
        found = content[part.offset : part.offset + part.length]
        if self._chance.chance(_LOST):
            return found[: self._chance.below(len(found) + 1)]
        if found and self._chance.chance(_DAMAGED):
            damaged = bytearray(found)
            damaged[self._chance.below(len(found))] ^= 1 << self._chance.below(8)
            return bytes(damaged)
        return found

    async def keep(self, group: str, name: str, content: bytes | bytearray, /) -> bool:
        """Keep `content`, or half of it without knowing, or refuse to."""
        if self._chance.chance(_UNKEPT):
            return False
        half = self._chance.chance(_HALF)
        self._files[group, name] = bytes(content[: len(content) // 2] if half else content)
        return True

    async def forget(self, group: str, name: str, /) -> None:
        """Delete it, or not."""
        if not self._chance.chance(_UNFORGOTTEN):
            self._files.pop((group, name), None)
