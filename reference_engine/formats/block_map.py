"""Which blocks of a dynamic disk exist, and where in the file each of them lies."""

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from reference_engine.formats.image import DamagedImageError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount

Numbers = npt.NDArray[np.int64]

TABLE_PIECE: Final = 1 << 20
"""How many bytes of a block table are looked at at once."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A range of the disk inside one block, or a range that no block of the file covers."""

    length: ByteCount
    at: ByteCount | None
    """Where in the file it lies; None where it reads as zeros."""


class BlockMap(msgspec.Struct, frozen=True, kw_only=True):
    """The existing blocks of a disk: their ascending numbers, and the file offset of each."""

    size: ByteCount
    block: ByteCount
    numbers: Numbers
    offsets: Numbers

    def allocated(self) -> ExtentSet:
        """Return the bytes of all existing blocks."""
        return ExtentSet.of_pieces(self.numbers, piece=self.block, size=self.size)

    def pieces(self, offset: int, length: int, /) -> Iterator[Piece]:
        """Yield the range cut at the borders of blocks; what does not exist is one piece."""
        assert 0 <= offset <= offset + length <= self.size, (offset, length, self.size)
        at, end = offset, offset + length
        index = int(np.searchsorted(self.numbers, at // self.block))
        while at < end:
            start = end
            if index < len(self.numbers):
                start = int(self.numbers[index]) * self.block
            if at < start:
                hole = min(start, end) - at
                yield Piece(length=ByteCount(hole), at=None)
                at += hole
                continue
            take = min(start + self.block, end) - at
            place = int(self.offsets[index]) + at - start
            yield Piece(length=ByteCount(take), at=ByteCount(place))
            at += take
            index += 1


class BlockMapDraft:
    """A block map in the making: it stops growing once the file could not hold its blocks."""

    __slots__ = ("_block", "_count", "_found", "_most", "_path")

    def __init__(self, path: str, /, *, block: int, room: int) -> None:
        """Gather blocks of `block` bytes that lie in a file of `room` bytes."""
        self._path, self._block = path, block
        # The last block of a disk may be cut short in the file.
        self._most = room // block + 1
        self._count = 0
        self._found: list[tuple[Numbers, Numbers]] = []

    def add(self, numbers: Numbers, offsets: Numbers, /) -> None:
        """Add blocks with ascending numbers behind all earlier ones.

        Raises:
            DamagedImageError: there are more blocks than the file can hold.
        """
        self._count += len(numbers)
        if self._count > self._most:
            raise DamagedImageError(
                self._path, f"its block table names more than the {self._most} blocks that fit"
            )
        if len(numbers):
            self._found.append((numbers, offsets))

    def finish(
        self, *, size: ByteCount, reserved: list[tuple[int, int]], room: int, lead: int
    ) -> BlockMap:
        """Return the map, after a look at where its blocks lie.

        Args:
            size: of the virtual disk.
            reserved: `[start, end)` ranges of the file that hold no blocks.
            room: the length of the file; the used part of each block ends before it.
            lead: how many bytes in front of a block belong to it.

        Raises:
            DamagedImageError: blocks overlap, or lie in reserved places or outside the file.
        """
        numbers, offsets = np.empty(0, np.int64), np.empty(0, np.int64)
        if self._found:
            numbers = np.concatenate([numbers for numbers, _ in self._found])
            offsets = np.concatenate([offsets for _, offsets in self._found])
        ends = offsets + np.minimum(self._block, size - numbers * self._block)
        outside = np.flatnonzero((offsets < lead) | (ends > room))
        if len(outside):
            first = int(outside[0])
            raise DamagedImageError(
                self._path,
                f"block {numbers[first]} lies at byte {offsets[first]}, "
                f"outside the {room} bytes of the file",
            )
        fences = np.array(reserved, np.int64).reshape(-1, 2)
        starts = np.concatenate((offsets - lead, fences[:, 0]))
        stops = np.concatenate((ends, fences[:, 1]))
        order = np.argsort(starts, kind="stable")
        clash = np.flatnonzero(starts[order][1:] < stops[order][:-1])
        if len(clash):
            place = int(starts[order][1:][clash[0]])
            raise DamagedImageError(self._path, f"two of its structures overlap at byte {place}")
        return BlockMap(size=size, block=ByteCount(self._block), numbers=numbers, offsets=offsets)
