"""Which stored block stands at which place of one disk, as arrays indexed by block number."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount

Digests = npt.NDArray[np.uint8]
"""Shape (n, 16): one keyed blake3 digest, cut to 16 bytes, for each block."""

Numbers = npt.NDArray[np.int64]
"""Ascending block numbers without repetition."""

DIGEST_SIZE = 16


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the stored bytes of one block are; `pack` is a number of the session's pack table."""

    pack: int
    offset: int
    stored: int


class BlockMap:
    """The complete content of one disk by reference. Pack number 0 marks a hole: all zero."""

    __slots__ = ("block_size", "digests", "offsets", "packs", "size", "stored")

    def __init__(self, size: ByteCount, /, *, block_size: ByteCount) -> None:
        """Describe a disk of `size` bytes that holds nothing but zeros."""
        assert size >= 0, size
        count = -(-size // block_size)
        self.size = size
        self.block_size = block_size
        # Fresh zero pages cost nothing until they are written, so dense arrays suit sparse disks.
        self.digests: Digests = np.zeros((count, DIGEST_SIZE), np.uint8)
        self.packs: npt.NDArray[np.uint32] = np.zeros(count, np.uint32)
        self.offsets: npt.NDArray[np.uint32] = np.zeros(count, np.uint32)
        self.stored: npt.NDArray[np.uint32] = np.zeros(count, np.uint32)

    @property
    def count(self) -> int:
        """How many blocks the disk has; the last may be shorter than the others."""
        return len(self.packs)

    def length(self, number: int, /) -> int:
        """Return how many bytes this block holds."""
        assert 0 <= number < self.count, number
        return min(self.block_size, self.size - number * self.block_size)

    def resized(self, size: ByteCount, /) -> "BlockMap":
        """Return a map of another size with the same blocks where both have them.

        A block whose length differs between the two sizes still describes its old content; whoever
        asked writes it anew.
        """
        other = BlockMap(size, block_size=self.block_size)
        common = min(self.count, other.count)
        other.digests[:common] = self.digests[:common]
        other.packs[:common] = self.packs[:common]
        other.offsets[:common] = self.offsets[:common]
        other.stored[:common] = self.stored[:common]
        return other

    def numbers(self) -> Numbers:
        """Return the numbers of the blocks that are no holes."""
        return np.flatnonzero(self.packs)

    def allocated(self) -> ExtentSet:
        """Return every byte outside the holes."""
        return ExtentSet.of_pieces(self.numbers(), piece=self.block_size, size=self.size)

    def place(self, number: int, /) -> Place | None:
        """Return where a block is stored; None for a hole."""
        if self.packs[number] == 0:
            return None
        return Place(
            pack=int(self.packs[number]),
            offset=int(self.offsets[number]),
            stored=int(self.stored[number]),
        )

    def clear(self, numbers: Numbers, /) -> None:
        """Make holes of these blocks."""
        self.digests[numbers] = 0
        self.packs[numbers] = 0
        self.offsets[numbers] = 0
        self.stored[numbers] = 0

    def assign(
        self, numbers: Sequence[int] | Numbers, digests: Digests, places: npt.NDArray[np.uint32], /
    ) -> None:
        """Point these blocks to `places`, rows of pack, offset and stored length."""
        assert len(numbers) == len(digests), (len(numbers), len(digests))
        assert len(numbers) == len(places), (len(numbers), len(places))
        self.digests[numbers] = digests
        self.packs[numbers] = places[:, 0]
        self.offsets[numbers] = places[:, 1]
        self.stored[numbers] = places[:, 2]

    def same(self, numbers: Numbers, digests: Digests, /) -> npt.NDArray[np.bool_]:
        """Return for each block whether it already has this digest; a hole has none."""
        mine = np.ascontiguousarray(self.digests[numbers]).view(np.uint64)
        equal: npt.NDArray[np.bool_] = (mine == digests.view(np.uint64)).all(axis=1)
        stored: npt.NDArray[np.bool_] = self.packs[numbers] != 0
        return np.logical_and(equal, stored)

    def root_digest(self, key: bytes, /) -> str:
        """Return one digest of the whole content, independent of how it came about.

        It covers size, block size, and number and digest of every block that is no hole.
        """
        numbers = self.numbers()
        root = blake3(b"root", key=key)
        root.update(np.array([self.size, self.block_size, len(numbers)], "<u8").tobytes())
        root.update(numbers.astype("<u8").tobytes())
        root.update(self.digests[numbers].tobytes())
        return root.hexdigest()
