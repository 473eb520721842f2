"""Reading a committed point: every block's digest is checked before anybody sees the block."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Final

import numpy as np
from blake3 import blake3

from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import KIB, MIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import DIGEST_SIZE, BlockMap, Digests, Numbers, Place
from reference_engine.repository.codec import Header, Manifest
from reference_engine.repository.errors import BlockDamagedError, DiskDamagedError
from reference_engine.repository.pack import unpack

CACHE_MAX: Final = ByteCount(64 * MIB)
_PAGE: Final = 256 * KIB
"""Packs are fetched in pages: sequential reads join them, scattered ones waste little."""

_BATCH: Final = ByteCount(4 * MIB)
"""How much of a disk is decoded at once."""

Progress = Callable[[ByteCount], None]
"""Takes how many bytes were done since the last call."""

Page = tuple[int, int]
"""Pack number and page number within the pack."""


class PointReader:
    """One committed point's disks, readable at random."""

    def __init__(self, store: BlobStore, header: Header, manifest: Manifest, /) -> None:
        self._store = store
        self._key = header.key
        self._manifest = manifest
        self._block_size = header.block_size
        self._pages: OrderedDict[Page, bytes] = OrderedDict()
        self._ends = _pack_ends(manifest)

    @property
    def point(self) -> RecoveryPoint:
        """The point's record."""
        return self._manifest.record

    @property
    def disks(self) -> tuple[DiskId, ...]:
        """The point's disks, as the machine orders them."""
        return tuple(record.disk for record in self.point.disks)

    @property
    def block_size(self) -> ByteCount:
        """How many bytes a block holds, but perhaps the last one of a disk."""
        return self._block_size

    def size(self, disk: DiskId, /) -> ByteCount:
        """Return how many bytes the disk holds."""
        return self._manifest.maps[disk].size

    def allocated(self, disk: DiskId, /) -> ExtentSet:
        """Return every byte that may be other than zero."""
        return self._manifest.maps[disk].allocated()

    def block_digests(self, disk: DiskId, /) -> Digests:
        """Return the digest of every block of the disk; sixteen zero bytes for a hole."""
        return self._manifest.maps[disk].digests.copy()

    def root_digest(self, disk: DiskId, /) -> str:
        """Return the digest of the disk's whole content, as its manifest has it."""
        return self._manifest.maps[disk].root_digest(self._key)

    async def read(self, disk: DiskId, extents: ExtentSet, /) -> bytes:
        """Return the bytes of `extents`, one range after the other; holes are zeros.

        Raises:
            BlockDamagedError: a block cannot be read back as it was written.
        """
        blocks = self._manifest.maps[disk]
        assert extents <= ExtentSet.whole(blocks.size), extents
        parts: list[bytes] = []
        for part in extents.windows(_BATCH):
            held = {number: content async for number, content in self.blocks(disk, part)}
            parts.extend(_cut(blocks, held, extent.offset, extent.end) for extent in part)
        return b"".join(parts)

    async def blocks(self, disk: DiskId, window: ExtentSet, /) -> AsyncIterator[tuple[int, bytes]]:
        """Yield number and content of every block that `window` touches and that is no hole.

        Numbers ascend. Everything yielded has the digest that the manifest states.

        Raises:
            BlockDamagedError: the next block cannot be read back as it was written.
        """
        blocks = self._manifest.maps[disk]
        numbers = window.clipped(blocks.size).pieces(self._block_size)
        numbers = numbers[blocks.packs[numbers] != 0]
        step = max(1, _BATCH // self._block_size)
        for start in range(0, len(numbers), step):
            batch = numbers[start : start + step]
            pages = await self._fetch(blocks, batch)
            for number in batch.tolist():
                yield number, await self._block(disk, blocks, number, pages)

    async def verify(self, disk: DiskId, /, *, progress: Progress) -> ByteCount:
        """Read the whole disk, check it against its record, and return how much was read.

        Raises:
            BlockDamagedError: a block cannot be read back as it was written.
            DiskDamagedError: the blocks are whole, but not those that were recorded.
        """
        record = self.point.disk(disk)
        assert record is not None, disk
        read = 0
        async for _, content in self.blocks(disk, ExtentSet.whole(self.size(disk))):
            read += len(content)
            progress(ByteCount(len(content)))
        if self.size(disk) != record.size:
            raise DiskDamagedError(self.point.id, disk, "its size is not the one recorded")
        if self.root_digest(disk) != record.digest:
            raise DiskDamagedError(self.point.id, disk, "its digest is not the one recorded")
        return ByteCount(read)

    async def _block(
        self, disk: DiskId, blocks: BlockMap, number: int, pages: dict[Page, bytes]
    ) -> bytes:
        place = blocks.place(number)
        assert place is not None, number
        stored = _joined(pages, place)
        if stored is None:
            stored = await self._stored(disk, number, place)
        try:
            content = unpack(stored, length=blocks.length(number))
        except ValueError as error:
            raise BlockDamagedError(self.point.id, disk, number, str(error)) from error
        digest = blake3(content, key=self._key).digest(length=DIGEST_SIZE)
        if digest != blocks.digests[number].tobytes():
            raise BlockDamagedError(self.point.id, disk, number, "its digest is wrong")
        return content

    async def _stored(self, disk: DiskId, number: int, place: Place) -> bytes:
        """Return one block's stored bytes where its page could not be read as a whole."""
        try:
            return await self._store.read_range(
                self._pack(place.pack), offset=place.offset, length=place.stored
            )
        except CorruptionError as error:
            raise BlockDamagedError(self.point.id, disk, number, str(error)) from error

    def _pack(self, number: int) -> str:
        return self._manifest.packs[number - 1]

    async def _fetch(self, blocks: BlockMap, numbers: Numbers) -> dict[Page, bytes]:
        """Return the pages that these blocks lie in, but those that cannot be read."""
        packs = blocks.packs[numbers].astype(np.int64)
        first = blocks.offsets[numbers].astype(np.int64)
        last = (first + blocks.stored[numbers] - 1) // _PAGE
        wanted: set[Page] = set()
        for pack, low, high in zip(
            packs.tolist(), (first // _PAGE).tolist(), last.tolist(), strict=True
        ):
            wanted.update((pack, page) for page in range(low, high + 1))
        pages: dict[Page, bytes] = {}
        missing: list[Page] = []
        for page in sorted(wanted):
            held = self._pages.get(page)
            if held is None:
                missing.append(page)
            else:
                self._pages.move_to_end(page)
                pages[page] = held
        for pack, start, count in _runs(missing):
            pages.update(await self._fetch_run(pack, start, count))
        return pages

    async def _fetch_run(self, pack: int, first: int, count: int) -> dict[Page, bytes]:
        start = first * _PAGE
        end = min((first + count) * _PAGE, self._ends[pack])
        try:
            content = await self._store.read_range(
                self._pack(pack), offset=start, length=end - start
            )
        except CorruptionError:
            # Which block is lost shows when the blocks are read one by one.
            return {}
        found: dict[Page, bytes] = {}
        for number in range(count):
            page = (pack, first + number)
            found[page] = content[number * _PAGE : (number + 1) * _PAGE]
            self._pages[page] = found[page]
        while len(self._pages) * _PAGE > CACHE_MAX:
            self._pages.popitem(last=False)
        return found


def _pack_ends(manifest: Manifest) -> list[int]:
    """Return for each pack number the end of the last block that this point has in it."""
    ends = np.zeros(len(manifest.packs) + 1, np.int64)
    for blocks in manifest.maps.values():
        numbers = blocks.numbers()
        reach = blocks.offsets[numbers].astype(np.int64) + blocks.stored[numbers]
        np.maximum.at(ends, blocks.packs[numbers], reach)
    listed: list[int] = ends.tolist()
    return listed


def _runs(pages: list[Page]) -> list[tuple[int, int, int]]:
    """Join neighbouring pages of one pack: pack, first page, number of pages."""
    runs: list[tuple[int, int, int]] = []
    for pack, page in pages:
        if runs and runs[-1][0] == pack and sum(runs[-1][1:]) == page:
            runs[-1] = (pack, runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((pack, page, 1))
    return runs


def _joined(pages: dict[Page, bytes], place: Place) -> bytes | memoryview | None:
    """Return a block's stored bytes out of the pages; None where one of them is missing."""
    end = place.offset + place.stored
    first, last = place.offset // _PAGE, (end - 1) // _PAGE
    parts: list[memoryview] = []
    for number in range(first, last + 1):
        page = pages.get((place.pack, number))
        if page is None:
            return None
        start = number * _PAGE
        parts.append(memoryview(page)[max(0, place.offset - start) : end - start])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _cut(blocks: BlockMap, held: dict[int, bytes], start: int, end: int) -> bytes:
    """Return the bytes `[start, end)` out of whole blocks; a block that is not held is zero."""
    parts: list[bytes] = []
    for number in range(start // blocks.block_size, -(-end // blocks.block_size)):
        begin = number * blocks.block_size
        low, high = max(start - begin, 0), min(end - begin, blocks.length(number))
        content = held.get(number)
        parts.append(bytes(high - low) if content is None else content[low:high])
    return b"".join(parts)
