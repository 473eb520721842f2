"""A point's disk as file systems read it: a few bytes here and there, again and again."""

from collections import OrderedDict
from typing import Final, Protocol

from reference_engine.items.errors import TreeDamagedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.units import KIB
from reference_engine.repository.reader import PointReader

_PIECE: Final = 256 * KIB
_PIECES: Final = 128
"""So much of a disk stays in memory: 32 MiB, enough for the tables of most volumes."""


class Bytes(Protocol):
    """Bytes that can be read anywhere."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    async def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly these bytes.

        Raises:
            TreeDamagedError: they lie behind the end.
            CorruptionError: a block cannot be read back as it was written.
        """


class DiskView(Bytes):
    """One disk of a point; what was read last stays in memory."""

    def __init__(self, reader: PointReader, disk: DiskId, /) -> None:
        self._reader, self._disk = reader, disk
        self._held: OrderedDict[int, bytes] = OrderedDict()

    @property
    def size(self) -> int:
        """How many bytes the disk has."""
        return self._reader.size(self._disk)

    async def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly these bytes; those of small reads come with their neighbourhood."""
        within(offset, length, self.size)
        if length >= _PIECE:
            return await self._reader.read(self._disk, ExtentSet.of([(offset, offset + length)]))
        first, last = offset // _PIECE, (offset + max(length, 1) - 1) // _PIECE
        if first == last:
            inside = offset - first * _PIECE
            return (await self._piece(first))[inside : inside + length]
        both = await self._piece(first) + await self._piece(last)
        inside = offset - first * _PIECE
        return both[inside : inside + length]

    async def _piece(self, number: int) -> bytes:
        held = self._held.get(number)
        if held is None:
            start = number * _PIECE
            span = ExtentSet.of([(start, min(start + _PIECE, self.size))])
            held = self._held[number] = await self._reader.read(self._disk, span)
            if len(self._held) > _PIECES:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(number)
        return held


class Window(Bytes):
    """A part of a disk: a volume."""

    def __init__(self, disk: Bytes, /, *, start: int, length: int) -> None:
        self._disk, self._start, self._length = disk, start, length

    @property
    def size(self) -> int:
        """How many bytes the volume has."""
        return self._length

    async def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly these bytes of the volume."""
        within(offset, length, self._length)
        return await self._disk.read(self._start + offset, length)

    async def head(self, length: int, /) -> bytes:
        """Return the first bytes, fewer where there are no more."""
        return await self.read(0, min(length, self._length))


def within(offset: int, length: int, size: int, /) -> None:
    """Return if the bytes lie inside.

    Raises:
        TreeDamagedError: they do not.
    """
    if offset < 0 or length < 0 or offset + length > size:
        raise TreeDamagedError(f"bytes {offset} to {offset + length} lie behind its end at {size}")
