"""Reading a committed point: every block's digest is checked before anybody sees the block."""

import copy
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

import numpy as np

from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.assembling import Assembler, Failed, Stretch
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PAGE_BLOCKS,
    PIECES,
    BlockMap,
    Digests,
    NameTable,
    PageRow,
)
from reference_engine.repository.codec import Manifest
from reference_engine.repository.errors import (
    BlockDamagedError,
    DiskDamagedError,
    ManifestDamagedError,
)
from reference_engine.repository.fetching import Batch, Batches, Frame, Unread, Wanted, described
from reference_engine.repository.followed_maps import FollowedMaps, Moved, still
from reference_engine.repository.frames import BATCH_FRAMES, Frames
from reference_engine.repository.header import Header
from reference_engine.repository.mending import Lost, PlaceName, Rescue
from reference_engine.repository.pack import FRAME_SIZE

Progress = Callable[[ByteCount], None]
"""Takes how many bytes were done since the last call."""


class Damage(NamedTuple):
    """Bytes of a disk that cannot be read back as they were written."""

    offset: int
    length: int
    error: CorruptionError
    lost: Lost | None
    """The one block that is gone; None where a page is, and so nobody knows its blocks."""


class PointReader:
    """One committed point's disks, readable at random."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        manifest: Manifest,
        /,
        *,
        executor: Executor,
        moved: Moved = still,
    ) -> None:
        """`moved` is asked for another manifest of the point where something cannot be read."""
        self._store, self._executor = store, executor
        self._key = header.key
        self._assembler = Assembler(header.key, block_size=header.block_size)
        self._block_size = header.block_size
        self._packs = NameTable()
        self._rescue = Rescue(store, header.key, piece=header.block_size // PIECES)
        self._mapped = FollowedMaps(store, header, self._packs, manifest, moved)
        self._maps = self._mapped.by_disk
        self._frames = Frames(store, self._packs, executor=executor)

    def beside(self) -> "PointReader":
        """Return a reader of the same point for another task: with the same maps in memory."""
        other = copy.copy(self)
        frames = Frames(self._store, self._packs, executor=self._executor)
        other._frames = frames  # noqa: SLF001 - it is one of ours
        return other

    @property
    def point(self) -> RecoveryPoint:
        """The point's record."""
        return self._mapped.manifest.record

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
        return self._maps[disk].size

    async def allocated(self, disk: DiskId, /) -> ExtentSet:
        """Return every byte that may be other than zero.

        Raises:
            ManifestDamagedError: a page of the disk's map is damaged.
        """
        return await self._maps[disk].allocated()

    def root_digest(self, disk: DiskId, /) -> str:
        """Return the digest of the disk's whole content, as its manifest has it."""
        return self._maps[disk].root_digest()

    async def read(self, disk: DiskId, extents: ExtentSet, /) -> bytes:
        """Return the bytes of `extents`, one range after the other; holes are zeros.

        Raises:
            CorruptionError: a block cannot be read back as it was written.
        """
        assert extents <= ExtentSet.whole(self.size(disk)), extents
        content = bytearray(extents.total)
        ranges = extents.bounds.tolist()
        index = before = 0
        async for stretch in self.stretches(disk, extents):
            low, high = stretch.offset, stretch.offset + len(stretch.content)
            # Stretches ascend as the ranges do, and one may end inside a range.
            while index < len(ranges):
                start, end = ranges[index]
                a, b = max(start, low), min(end, high)
                if a < b:
                    at = before + a - start
                    content[at : at + b - a] = stretch.content[a - low : b - low]
                if end > high:
                    break
                before += end - start
                index += 1
        return bytes(content)

    async def stretches(self, disk: DiskId, window: ExtentSet, /) -> AsyncIterator[Stretch]:
        """Yield the blocks that `window` touches and that are no holes, neighbours joined.

        Offsets ascend. Everything yielded has the digest that the manifest states.

        Raises:
            CorruptionError: the next block cannot be read back as it was written.
        """
        async for each in self.surveyed(disk, window):
            if isinstance(each, Damage):
                raise each.error
            yield each

    async def surveyed(self, disk: DiskId, window: ExtentSet, /) -> AsyncIterator[Stretch | Damage]:
        """Yield as `stretches`, and go on behind what is damaged.

        A block is damaged only if reading it again, and what was mended, did not help.

        Raises:
            TransientError: the store failed, which says nothing about the blocks.
        """
        blocks = self._maps[disk]
        async for batch in self._batches(blocks, window.clipped(blocks.size)):
            if isinstance(batch, Damage):
                yield batch
                continue
            for each in await self._checked(batch):
                yield each if isinstance(each, Stretch) else await self._recovered(disk, each)
            self._frames.trim()

    async def _checked(self, batch: Batch) -> list[Stretch | Failed]:
        """Return the batch's content, each block of it checked, neighbours joined."""
        held = self._frames.held
        alone: dict[Frame, list[Wanted]] = {}
        rest: list[Wanted] = []
        for each in batch.blocks:
            if each.pieces or each.base in held:
                rest.append(each)
            else:
                alone.setdefault(each.base, []).append(each)

        def contents(
            frame: Frame, content: bytes | Unread
        ) -> list[tuple[Wanted, memoryview | Failed]]:
            return self._assembler.contents(alone.get(frame, ()), {frame: content})

        # What has just been decompressed is in a core's cache: hashed later, it would come back.
        found = await self._frames.have_and(batch.frames, contents)
        half = -(-len(rest) // 2)
        found += await self._executor.offload_all(
            [
                lambda part=part: self._assembler.contents(part, held)  # type: ignore[misc]
                for part in (rest[:half], rest[half:])
                if part
            ]
        )
        checked = {each.number: content for part in found for each, content in part}
        assert len(checked) == len(batch.blocks), (len(checked), len(batch.blocks))
        ordered = [(each, checked[each.number]) for each in batch.blocks]
        return self._assembler.joined(ordered, held)

    async def _recovered(self, disk: DiskId, failed: Failed) -> Stretch | Damage:
        """Read a block from where it was moved to, or else as what is left of it allows."""
        block = failed.block
        while (again := await self._followed(disk, block.number)) is not None and (
            self._named(again) != self._named(block)
        ):
            await self._frames.have(again.frames())
            [found] = self._assembler.checked([again], self._frames.held)
            if isinstance(found, Stretch):
                return found
            failed, block = found, again
        return await self._rescued(disk, failed)

    async def _followed(self, disk: DiskId, number: int) -> Wanted | None:
        """Return where a block is by now; None: it cannot be told."""
        await self._mapped.follow()
        blocks, page = self._maps[disk], number // PAGE_BLOCKS
        blocks.forget(page)
        try:
            found = await blocks.page(page)
        except ManifestDamagedError:
            return None
        [wanted] = described(
            found,
            page * PAGE_BLOCKS,
            np.array([number % PAGE_BLOCKS]),
            size=blocks.size,
            block_size=self._block_size,
        )
        return wanted

    def _named(self, block: Wanted) -> tuple[PlaceName, ...]:
        frames = [(block.base, block.at), *((frame, at) for _, frame, at in block.pieces)]
        name = self._packs.name
        return tuple((name(pack), offset, stored, at) for (pack, offset, stored), at in frames)

    async def _rescued(self, disk: DiskId, failed: Failed) -> Stretch | Damage:
        block = failed.block
        pieces = tuple(piece for piece, _, _ in block.pieces)
        lost = Lost(block.digest, block.length, self._named(block), pieces)
        content = await self._rescue.block(lost)
        offset = block.number * self._block_size
        if content is not None:
            return Stretch(offset, memoryview(content))
        error = BlockDamagedError(self.point.id, disk, block.number, failed.cause)
        return Damage(offset, block.length, error, lost)

    def rows(self, disk: DiskId, /) -> tuple[tuple[int, str, PageRow], ...]:
        """Return every stored page of the disk's map: number, object, and where in it."""
        blocks = self._maps[disk]
        found: list[tuple[int, str, PageRow]] = []
        for number in blocks.pages():
            row = blocks.row(number)
            found.append((number, self._mapped.manifest.maps[row.object_number - 1], row))
        return tuple(found)

    async def digests(self, disk: DiskId, page: int, /) -> Digests:
        """Return the digests of a page's blocks, zeros for holes: for two points to be compared.

        Raises:
            ManifestDamagedError: the page cannot be read back as it was written.
        """
        return (await self._maps[disk].page(page)).digests

    def content_digest(self, disk: DiskId, page: int, /) -> bytes:
        """Return the digest of a page's content as the root has it."""
        digest: bytes = self._maps[disk].root.digests[page].tobytes()
        return digest

    async def differing(
        self, disk: DiskId, window: ExtentSet, content: bytes | memoryview, /
    ) -> ExtentSet:
        """Return which blocks of `window`, whole blocks that hold `content`, are others here.

        Nothing but digests is compared, and nothing but pages is read.

        Raises:
            ManifestDamagedError: a page of the disk's map is damaged.
        """
        view, blocks, size = memoryview(content), self._maps[disk], self._block_size
        assert window == window.aligned(size, size=blocks.size), window
        assert len(view) == window.total, (len(view), window)
        numbers = window.pieces(size)
        if not len(numbers):
            return EMPTY
        standing = np.zeros((len(numbers), DIGEST_SIZE), np.uint8)
        for number, part, inside in blocks.spans(numbers):
            standing[part] = (await blocks.page(number)).digests[inside]
        half = -(-len(numbers) // 2)
        parts = [slice(at, at + half) for at in (0, half) if at < len(numbers)]
        found = await self._executor.offload_all(
            [
                lambda part=part: self._assembler.differing(  # type: ignore[misc]
                    view[part.start * size : part.stop * size], standing[part]
                )
                for part in parts
            ]
        )
        return ExtentSet.of_pieces(numbers[np.concatenate(found)], piece=size, size=blocks.size)

    def confirm(self, disk: DiskId, /) -> None:
        """Return if the manifest's map is of the disk that was recorded.

        Raises:
            DiskDamagedError: its size or its digest is another one.
        """
        record = self.point.disk(disk)
        assert record is not None, disk
        if self.size(disk) != record.size:
            raise DiskDamagedError(self.point.id, disk, "its size is not the one recorded")
        if self.root_digest(disk) != record.digest:
            raise DiskDamagedError(self.point.id, disk, "its digest is not the one recorded")

    async def confirm_pages(self, disk: DiskId, /) -> None:
        """Return if the blocks of each page are those that the root speaks of.

        Raises:
            CorruptionError: a page is damaged, or another one's.
        """
        blocks = self._maps[disk]
        for number in blocks.pages():
            page = await blocks.page(number)
            if page.digest(self._key) != blocks.root.digests[number].tobytes():
                raise DiskDamagedError(self.point.id, disk, f"page {number} is another one's")

    async def uncut(self, disk: DiskId, offset: ByteCount, /) -> ByteCount:
        """Return where from `offset` on a block begins that shares no frame with the one before.

        It is a frame's length behind it at most: there it may be in a frame all the same.
        """
        blocks, size = self._maps[disk], self._block_size
        number = -(-offset // size)
        if number >= blocks.count:
            return blocks.size
        inside = number % PAGE_BLOCKS
        if inside:
            try:
                page = await blocks.page(number // PAGE_BLOCKS)
            except ManifestDamagedError:
                # Whoever reads it will meet the damage, and can say of what.
                return ByteCount(number * size)
            frames = page.places[inside - 1 : inside + max(FRAME_SIZE // size, 1), :2]
            others = np.flatnonzero((frames[1:] != frames[0]).any(axis=1))
            number += int(others[0]) if len(others) else len(frames) - 1
        return ByteCount(min(number * size, blocks.size))

    async def _batches(self, blocks: BlockMap, window: ExtentSet) -> AsyncIterator[Batch | Damage]:
        """Yield the window's blocks in parts that need few frames at once."""
        batches = Batches(frames_max=BATCH_FRAMES)
        for number in self._pages_of(blocks, window):
            start = number * PAGE_BLOCKS
            base = start * self._block_size
            part = window & ExtentSet.of([(base, base + PAGE_BLOCKS * self._block_size)])
            if not part:
                continue
            try:
                page = await blocks.page(number)
            except ManifestDamagedError as error:
                yield batches.taken()
                length = min(PAGE_BLOCKS * self._block_size, blocks.size - base)
                yield Damage(base, length, error, None)
                continue
            wanted = part.pieces(self._block_size) - start
            inside = wanted[page.places[wanted, 0] != 0]
            for each in described(
                page, start, inside, size=blocks.size, block_size=self._block_size
            ):
                full = batches.add(each)
                if full is not None:
                    yield full
        yield batches.taken()

    @staticmethod
    def _pages_of(blocks: BlockMap, window: ExtentSet) -> Sequence[int]:
        touched = window.pieces(ByteCount(PAGE_BLOCKS * blocks.block_size))
        return [int(n) for n in touched[blocks.root.objects[touched] != 0]]
