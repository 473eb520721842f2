"""Reading a committed point: every block's digest is checked before anybody sees the block."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PAGE_BLOCKS,
    PIECES,
    BlockMap,
    NameTable,
    Numbers,
    Page,
    PageRow,
)
from reference_engine.repository.codec import Header, Manifest
from reference_engine.repository.errors import BlockDamagedError, DiskDamagedError
from reference_engine.repository.fetching import (
    Frame,
    Unread,
    Wanted,
    decoded,
    described,
    load_page,
    runs,
)

CACHE_MAX: Final = ByteCount(8 * MIB)
"""Decompressed frames that stay in memory: neighbours often share one."""

BATCH_FRAMES: Final = 8
"""How many frames are fetched and decompressed at once."""

Progress = Callable[[ByteCount], None]
"""Takes how many bytes were done since the last call."""


class Stretch(NamedTuple):
    """Checked content of neighbouring blocks of a disk."""

    offset: int
    content: memoryview


class PointReader:
    """One committed point's disks, readable at random."""

    def __init__(
        self, store: BlobStore, header: Header, manifest: Manifest, /, *, executor: Executor
    ) -> None:
        self._store, self._executor = store, executor
        self._key = header.key
        self._manifest = manifest
        self._block_size = header.block_size
        self._packs = NameTable()
        self._maps = {
            disk: BlockMap(
                entry.size,
                block_size=header.block_size,
                key=header.key,
                load=self._load,
                root=entry.root,
            )
            for disk, entry in manifest.disks.items()
        }
        self._frames: OrderedDict[Frame, bytes | Unread] = OrderedDict()
        self._held = 0

    async def _load(self, number: int, row: PageRow) -> Page:
        return await load_page(
            self._store,
            self._key,
            self._packs,
            name=self._manifest.maps[row.object_number - 1],
            number=number,
            row=row,
            of=self._manifest.record.id,
        )

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
        starts = extents.bounds[:, 0]
        before = np.concatenate(([0], np.cumsum(extents.bounds[:, 1] - starts)))
        async for stretch in self.stretches(disk, extents):
            low, high = stretch.offset, stretch.offset + len(stretch.content)
            first = max(0, int(np.searchsorted(starts, low, side="right")) - 1)
            for index in range(first, len(starts)):
                start, end = extents.bounds[index].tolist()
                if start >= high:
                    break
                a, b = max(start, low), min(end, high)
                if a < b:
                    at = int(before[index]) + a - start
                    content[at : at + b - a] = stretch.content[a - low : b - low]
        return bytes(content)

    async def matches(
        self, disk: DiskId, numbers: Numbers, content: bytes, /
    ) -> npt.NDArray[np.bool_]:
        """Return for each of these blocks, ascending, whether it holds `content`, by digest.

        Raises:
            ManifestDamagedError: a page of the disk's map is damaged.
        """
        blocks, view, same = self._maps[disk], memoryview(content), np.zeros(len(numbers), np.bool_)
        at = 0
        for page_number, part, inside in blocks.spans(numbers):
            page = await blocks.page(page_number)
            for place, slot in zip(range(part.start, part.stop), inside.tolist(), strict=True):
                piece = view[at : at + blocks.length(int(numbers[place]))]
                at += len(piece)
                if page.places[slot, 0] == 0:
                    same[place] = not any(piece)
                else:
                    same[place] = self._digest(piece) == page.digests[slot].tobytes()
        return same

    async def stretches(self, disk: DiskId, window: ExtentSet, /) -> AsyncIterator[Stretch]:
        """Yield the blocks that `window` touches and that are no holes, neighbours joined.

        Offsets ascend. Everything yielded has the digest that the manifest states.

        Raises:
            CorruptionError: the next block cannot be read back as it was written.
        """
        blocks = self._maps[disk]
        async for batch in self._batches(blocks, window.clipped(blocks.size)):
            await self._fetch(batch)
            half = -(-len(batch) // 2)
            checked = await self._executor.offload_all(
                [
                    lambda part=part: self._checked(disk, part)  # type: ignore[misc]
                    for part in (batch[:half], batch[half:])
                    if part
                ]
            )
            for stretches, damage in checked:
                for stretch in stretches:
                    yield stretch
                if damage is not None:
                    raise damage
            self._trim()

    async def verify(self, disk: DiskId, /, *, progress: Progress) -> ByteCount:
        """Read the whole disk, check it against its record, and return how much was read.

        Raises:
            CorruptionError: a block or a page cannot be read back as it was written.
            DiskDamagedError: the blocks are whole, but not those that were recorded.
        """
        record = self.point.disk(disk)
        assert record is not None, disk
        read = 0
        async for stretch in self.stretches(disk, ExtentSet.whole(self.size(disk))):
            read += len(stretch.content)
            progress(ByteCount(len(stretch.content)))
        if self.size(disk) != record.size:
            raise DiskDamagedError(self.point.id, disk, "its size is not the one recorded")
        if self.root_digest(disk) != record.digest:
            raise DiskDamagedError(self.point.id, disk, "its digest is not the one recorded")
        await self._check_pages(disk)
        return ByteCount(read)

    async def _check_pages(self, disk: DiskId) -> None:
        """Make sure that the blocks of each page are those that the root speaks of."""
        blocks = self._maps[disk]
        for number in blocks.pages():
            page = await blocks.page(number)
            if page.digest(self._key) != blocks.root.digests[number].tobytes():
                raise DiskDamagedError(self.point.id, disk, f"page {number} is another one's")

    async def _batches(
        self, blocks: BlockMap, window: ExtentSet
    ) -> AsyncIterator[Sequence[Wanted]]:
        """Yield the window's blocks in parts that need few frames at once."""
        batch: list[Wanted] = []
        frames: set[Frame] = set()
        for number in self._pages_of(blocks, window):
            start = number * PAGE_BLOCKS
            base = start * self._block_size
            part = window & ExtentSet.of([(base, base + PAGE_BLOCKS * self._block_size)])
            if not part:
                continue
            page = await blocks.page(number)
            wanted = part.pieces(self._block_size) - start
            for each in described(blocks, page, start, wanted[page.places[wanted, 0] != 0]):
                needed = {each.base, *(frame for _, frame, _ in each.pieces)}
                if batch and len(frames | needed) > BATCH_FRAMES:
                    yield batch
                    batch, frames = [], set()
                batch.append(each)
                frames |= needed
        if batch:
            yield batch

    @staticmethod
    def _pages_of(blocks: BlockMap, window: ExtentSet) -> Sequence[int]:
        touched = window.pieces(ByteCount(PAGE_BLOCKS * blocks.block_size))
        return [int(n) for n in touched[blocks.root.objects[touched] != 0]]

    async def _fetch(self, batch: Sequence[Wanted]) -> None:
        """Have every frame of the batch in memory, or the reason why it cannot be read."""
        needed: set[Frame] = set()
        for each in batch:
            needed.add(each.base)
            needed.update(frame for _, frame, _ in each.pieces)
        missing = sorted(needed - self._frames.keys())
        for frame in needed & self._frames.keys():
            self._frames.move_to_end(frame)
        stored: dict[Frame, bytes | memoryview | Unread] = {}
        for run in runs(missing):
            stored.update(await self._stored(run))
        half = -(-len(missing) // 2)
        unpacked = await self._executor.offload_all(
            [
                lambda part=part: [decoded(stored[frame]) for frame in part]  # type: ignore[misc]
                for part in (missing[:half], missing[half:])
                if part
            ]
        )
        for frame, content in zip(missing, [c for part in unpacked for c in part], strict=True):
            self._frames[frame] = content
            self._held += len(content)

    def _trim(self) -> None:
        while self._held > CACHE_MAX and len(self._frames) > 1:
            self._held -= len(self._frames.popitem(last=False)[1])

    async def _stored(self, run: Sequence[Frame]) -> dict[Frame, bytes | memoryview | Unread]:
        pack, start, _ = run[0]
        length = run[-1][1] + run[-1][2] - start
        name = self._packs.name(pack)
        try:
            view = memoryview(await self._store.read_range(name, offset=start, length=length))
        except CorruptionError as error:
            if len(run) == 1:
                return {run[0]: str(error)}
            # Which frame is lost shows when they are read one by one.
            found: dict[Frame, bytes | memoryview | Unread] = {}
            for frame in run:
                found.update(await self._stored([frame]))
            return found
        return {frame: view[frame[1] - start : frame[1] - start + frame[2]] for frame in run}

    def _checked(
        self, disk: DiskId, batch: Sequence[Wanted]
    ) -> tuple[list[Stretch], BlockDamagedError | None]:
        """Return the batch's content up to its end, or up to its first damaged block."""
        found: list[Stretch] = []
        start: Wanted | None = None
        last: Wanted | None = None

        def close() -> None:
            if start is not None and last is not None:
                raw = self._frames[start.base]
                assert isinstance(raw, bytes), start
                view = memoryview(raw)[start.at : last.at + last.length]
                found.append(Stretch(start.number * self._block_size, view))

        for each in batch:
            content, cause = self._content(each)
            if not cause and self._digest(content) != each.digest:
                cause = "its digest is wrong"
            joins = (
                last is not None
                and not each.pieces
                and each.base == last.base
                and each.number == last.number + 1
                and each.at == last.at + last.length
            )
            if cause or not joins:
                close()
                start = last = None
            if cause:
                return found, BlockDamagedError(self.point.id, disk, each.number, cause)
            if each.pieces:
                found.append(Stretch(each.number * self._block_size, content))
            else:
                start, last = start or each, each
        close()
        return found, None

    def _digest(self, content: memoryview) -> bytes:
        return blake3(content, key=self._key).digest(length=DIGEST_SIZE)

    def _content(self, each: Wanted) -> tuple[memoryview, str]:
        """Return the block as it is put together, and why it cannot be."""
        base = self._frames[each.base]
        if isinstance(base, str):
            return memoryview(b""), base
        view = memoryview(base)[each.at : each.at + each.length]
        if not each.pieces:
            return view, ""
        size = self._block_size // PIECES
        patched = bytearray(view)
        for piece, frame, at in each.pieces:
            raw = self._frames[frame]
            if isinstance(raw, str):
                return memoryview(b""), raw
            patched[piece * size : (piece + 1) * size] = raw[at : at + size]
        return memoryview(patched), ""
