"""One run's writing: blocks go to packs at once, the point exists only after `commit`."""

import enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import SupersededError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, RunTag
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    OVERLAID_MAX,
    PAGE_BLOCKS,
    PIECES,
    BlockMap,
    Digests,
    NameTable,
    Numbers,
    Page,
    PageRow,
)
from reference_engine.repository.codec import (
    DiskRoot,
    Entry,
    Header,
    Manifest,
    PointCommittedEntry,
    encode_manifest,
    manifest_copy_name,
    manifest_name,
    of_machine,
)
from reference_engine.repository.fetching import load_page
from reference_engine.repository.log import Log
from reference_engine.repository.map_writer import MapWriter
from reference_engine.repository.pack import Level
from reference_engine.repository.pages import decode_page, encode_page, page_seal
from reference_engine.repository.publish import publish_own
from reference_engine.repository.reader import PointReader
from reference_engine.repository.storing import BlockStorer, Draft, equal


class _Progress(enum.Enum):
    WRITING = "writing"
    STAGED = "staged"
    COMMITTING = "committing"
    COMMITTED = "committed"
    ABANDONED = "abandoned"


class _Standing(NamedTuple):
    """What a disk holds so far at some blocks."""

    digests: Digests
    stored: npt.NDArray[np.bool_]
    overlaid: npt.NDArray[np.uint16]


class WriteSession:
    """Writes one recovery point of one machine, under the epoch that the log gave to this run.

    Disks may be written by several tasks at once, each by one; `stage` and `commit` come when all
    have ended. What one task writes lies in the packs in the order in which it was put.
    """

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        log: Log,
        /,
        *,
        run: RunTag,
        session: str,
        base: Manifest | None,
        executor: Executor,
        level: Level,
    ) -> None:
        self._store, self._header, self._log = store, header, log
        self._executor = executor
        self._key, self._block_size = header.key, header.block_size
        self._piece = ByteCount(header.block_size // PIECES)
        self._run = run
        self._base = base
        self._objects = NameTable()
        for name in () if base is None else base.maps:
            self._objects.number(name)
        self._names = NameTable()
        self._storer = BlockStorer(
            store, header, log, self._names, session=session, executor=executor, level=level
        )
        self._packs = self._storer.packs
        self._maps = MapWriter(store, session, self._objects)
        self._drafts: dict[DiskId, Draft] = {}
        self._progress = _Progress.WRITING
        self._entry: PointCommittedEntry | None = None

    @property
    def run(self) -> RunTag:
        """The run's machine and epoch."""
        return self._run

    @property
    def base(self) -> RecoveryPoint | None:
        """The machine's newest point when the run was opened; None where it has none whole."""
        return None if self._base is None else self._base.record

    @property
    def block_size(self) -> ByteCount:
        """How many bytes a block holds, but perhaps the last one of a disk."""
        return self._block_size

    @property
    def bytes_sent(self) -> ByteCount:
        """How many bytes were new to the repository, before compression."""
        return ByteCount(self._storer.bytes_sent)

    @property
    def bytes_stored(self) -> ByteCount:
        """How many bytes the run's packs hold, after compression."""
        return ByteCount(self._packs.bytes_stored)

    async def begin_disk(self, disk: DiskId, size: ByteCount, /, *, inherit: DiskId | None) -> None:
        """Begin a disk: all zero, or as the base point has the disk `inherit`.

        Where the sizes differ, the image is cut off or goes on with zeros.

        Raises:
            CorruptionError: what is needed of the base after a change of size is damaged.
        """
        assert self._progress is _Progress.WRITING, self._progress
        assert disk not in self._drafts, disk
        blocks = BlockMap(
            size, block_size=self._block_size, key=self._key, load=self._load, save=self._save
        )
        self._drafts[disk] = Draft(blocks)
        if inherit is None:
            return
        assert self._base is not None, "only a base point can be inherited from"
        try:
            entry = self._base.disks[inherit]
            before = BlockMap(
                entry.size,
                block_size=self._block_size,
                key=self._key,
                load=self._load,
                root=entry.root,
            )
            self._drafts[disk] = Draft(await before.resized(size, save=self._save))
            await self._rewrite_edge(disk, inherit, before)
        except BaseException:
            del self._drafts[disk]
            raise

    async def _load(self, number: int, row: PageRow) -> Page:
        """Return a page of the base, or one that this run wrote before."""
        name = self._objects.name(row.object_number)
        held = self._maps.held(name, row.offset, row.stored)
        if held is None:
            base = None if self._base is None else self._base.record.id
            return await load_page(
                self._store, self._key, self._names, name=name, number=number, row=row, of=base
            )
        return decode_page(self._key, held, self._names, seal=row.seal)

    def _save(self, page: Page) -> PageRow:
        content = encode_page(page, self._names)
        number, offset = self._maps.add(content)
        return PageRow(number, offset, len(content), page_seal(self._key, content))

    async def _rewrite_edge(self, disk: DiskId, inherit: DiskId, before: BlockMap) -> None:
        """Write the one block whose length differs between the base's size and this one."""
        assert self._base is not None, inherit
        after = self._drafts[disk].blocks
        edge = min(before.count, after.count) - 1
        if edge < 0 or before.length(edge) == after.length(edge):
            return
        page = await after.page(edge // PAGE_BLOCKS)
        if page.places[edge % PAGE_BLOCKS, 0] == 0:
            return
        start, length = edge * self._block_size, before.length(edge)
        reader = PointReader(self._store, self._header, self._base, executor=self._executor)
        old = await reader.read(inherit, ExtentSet.of([(start, start + length)]))
        # As long as the old block's digest stood here, equal content could be taken for present.
        page = await after.page(edge // PAGE_BLOCKS)
        page.clear(np.array([edge % PAGE_BLOCKS]))
        after.touch(edge // PAGE_BLOCKS)
        length = after.length(edge)
        await self.put(disk, edge, old[:length].ljust(length, b"\0"))

    async def keep_only(self, disk: DiskId, extents: ExtentSet, /) -> None:
        """Make holes of the blocks that `extents` does not touch.

        Raises:
            ManifestDamagedError: a page of the base's map is damaged.
        """
        blocks = self._drafts[disk].blocks
        for number in blocks.pages():
            start = number * PAGE_BLOCKS * self._block_size
            part = extents & ExtentSet.of([(start, start + PAGE_BLOCKS * self._block_size)])
            page = await blocks.page(number)
            gone = np.setdiff1d(page.numbers(), part.pieces(self._block_size) % PAGE_BLOCKS)
            if len(gone):
                page.clear(gone)
                blocks.touch(number)

    async def put(self, disk: DiskId, number: int, content: bytes | memoryview, /) -> bool:
        """Let block `number` of the disk hold `content`; return whether new bytes were stored.

        Raises:
            TransientError, RefusedError: as `put_blocks`.
        """
        return bool((await self.put_blocks(disk, np.array([number]), content))[0])

    async def put_blocks(
        self,
        disk: DiskId,
        numbers: Numbers,
        content: bytes | memoryview,
        /,
        *,
        changed: ExtentSet | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Let these blocks hold `content`; return for each whether new bytes were stored.

        `numbers` ascend; `content` has the blocks one after the other, each of its exact length:
        the block size, or less for the disk's last block. A block of zeros becomes a hole. Given
        `changed`, the blocks are as the disk has them outside of it, and only pieces that it
        touches are stored: as an overlay, as long as at most half of a block is overlaid.

        Raises:
            TransientError: the store failed; the blocks are kept and sent again with later ones.
            RefusedError: the store cannot be written to.
            ManifestDamagedError: a page of the base's map is damaged.
        """
        assert self._progress is _Progress.WRITING, self._progress
        assert len(numbers) > 0, "no block"
        assert (np.diff(numbers) > 0).all(), numbers
        draft, view = self._drafts[disk], memoryview(content)
        blocks = draft.blocks
        digests, zero = await self._storer.digests(blocks, numbers, view)
        standing = await self._standing(blocks, numbers)
        same = standing.stored & equal(standing.digests, digests)
        await self._clear(blocks, numbers[zero & standing.stored])
        wanted = ~(zero | same)
        fresh = np.zeros(len(numbers), np.bool_)
        if wanted.any():
            masks = self._masks(numbers, changed)
            covered = np.bitwise_count(masks | standing.overlaid) <= OVERLAID_MAX
            whole = (numbers + 1) * self._block_size <= blocks.size
            overlay = wanted & standing.stored & (masks != 0) & covered & whole
            fresh |= await self._storer.overlay(
                draft, numbers, view, digests, masks=masks, chosen=overlay
            )
            fresh |= await self._storer.store_whole(
                draft, numbers, view, digests, wanted=wanted & ~overlay
            )
        await self._packs.publish_full()
        await self._maps.publish_full()
        return fresh

    async def _standing(self, blocks: BlockMap, numbers: Numbers) -> _Standing:
        standing = _Standing(
            digests=np.zeros((len(numbers), DIGEST_SIZE), np.uint8),
            stored=np.zeros(len(numbers), np.bool_),
            overlaid=np.zeros(len(numbers), np.uint16),
        )
        for number, part, inside in blocks.spans(numbers):
            page = await blocks.page(number)
            standing.digests[part] = page.digests[inside]
            standing.stored[part] = page.places[inside, 0] != 0
            standing.overlaid[part] = page.overlaid[inside]
        return standing

    async def _clear(self, blocks: BlockMap, numbers: Numbers) -> None:
        for number, _, inside in blocks.spans(numbers):
            page = await blocks.page(number)
            page.clear(inside)
            blocks.touch(number)

    def _masks(self, numbers: Numbers, changed: ExtentSet | None) -> npt.NDArray[np.uint16]:
        """Return for each block a bit for each of its pieces that `changed` touches."""
        masks = np.zeros(len(numbers), np.uint16)
        if changed is not None and changed:
            pieces = changed.pieces(self._piece)
            at = np.searchsorted(numbers, pieces // PIECES)
            inside = at < len(numbers)
            at, pieces = at[inside], pieces[inside]
            ours = numbers[at] == pieces // PIECES
            bits = np.left_shift(1, pieces[ours] % PIECES).astype(np.uint16)
            np.bitwise_or.at(masks, at[ours], bits)
        return masks

    def sent(self, disk: DiskId, /) -> ExtentSet:
        """Return the bytes of the disk that were new to the repository."""
        bounds = self._drafts[disk].fresh
        if not bounds:
            return EMPTY
        return ExtentSet.of([(a, b) for a, b in np.concatenate(bounds).tolist()])

    def root_digest(self, disk: DiskId, /) -> str:
        """Return one digest of the disk's whole content so far: equal for equal content only."""
        return self._drafts[disk].blocks.root_digest()

    async def stage(self, point: RecoveryPoint, /) -> None:
        """Make everything but the log entry durable; `point` records every disk of the session.

        May be called again with the same point after a TransientError.

        Raises:
            TransientError: the store failed.
            RefusedError: the store cannot be written to.
        """
        assert self._progress in {_Progress.WRITING, _Progress.STAGED}, self._progress
        assert point.run == self._run, point.run
        recorded = {record.disk: record for record in point.disks}
        assert recorded.keys() == self._drafts.keys(), tuple(recorded)
        for disk, draft in self._drafts.items():
            assert recorded[disk].size == draft.blocks.size, recorded[disk].size
            assert recorded[disk].digest == self.root_digest(disk), recorded[disk].digest
        await self._packs.flush()
        for record in point.disks:
            self._drafts[record.disk].blocks.settle()
        await self._maps.flush()
        content, seal = encode_manifest(self._key, self._manifest(point))
        name = manifest_name(point.id)
        await publish_own(self._store, name, content)
        await publish_own(self._store, manifest_copy_name(point.id), content)
        self._entry = PointCommittedEntry(
            machine=self._run.machine,
            epoch=self._run.epoch,
            point=point.id,
            manifest=name,
            digest=seal,
        )
        self._progress = _Progress.STAGED

    def _manifest(self, point: RecoveryPoint) -> Manifest:
        """Return the point's manifest with only those objects of pages that it uses."""
        roots = {record.disk: self._drafts[record.disk].blocks for record in point.disks}
        parts = [np.zeros(1, np.uint32), *(blocks.root.objects for blocks in roots.values())]
        used = np.unique(np.concatenate(parts))[1:].astype(np.int64)
        numbers = np.zeros(int(used.max(initial=0)) + 1, np.uint32)
        numbers[used] = np.arange(1, len(used) + 1)
        disks: dict[DiskId, DiskRoot] = {}
        for disk, blocks in roots.items():
            root = blocks.root.resized(len(blocks.root.objects))
            root.objects[:] = numbers[blocks.root.objects]
            disks[disk] = DiskRoot(size=blocks.size, root=root)
        names = tuple(self._objects.name(number) for number in used.tolist())
        return Manifest(record=point, maps=names, disks=disks)

    async def commit(self) -> None:
        """Make the staged point exist. Called again after an error, it settles what became of it.

        Raises:
            SupersededError: a newer run of the machine was opened; the point will never exist.
            TransientError: the store failed, and whether the point exists is open: commit again,
                or ask `Repository.committed`.
        """
        if self._progress is _Progress.COMMITTED:
            return
        assert self._entry is not None, self._progress
        assert self._progress in {_Progress.STAGED, _Progress.COMMITTING}, self._progress
        self._progress = _Progress.COMMITTING
        try:
            await self._log.append(self._decide)
        except SupersededError:
            # Every number that this entry was meant for holds another one: it cannot appear later.
            self._progress = _Progress.STAGED
            raise
        self._progress = _Progress.COMMITTED
        await self._storer.publish_index()

    def _decide(self, history: tuple[Entry, ...]) -> Entry | None:
        assert self._entry is not None, self._progress
        if self._entry in history:
            return None
        newest = max(entry.epoch for entry in of_machine(history, self._run.machine))
        if newest > self._run.epoch:
            raise SupersededError(self._run, newest)
        return self._entry

    async def abandon(self) -> None:
        """Delete what this run stored, unless its commit was begun; true also when repeated."""
        if self._progress in {_Progress.COMMITTING, _Progress.COMMITTED}:
            return
        self._progress = _Progress.ABANDONED
        if self._entry is not None:
            await self._store.delete(self._entry.manifest)
            await self._store.delete(manifest_copy_name(self._entry.point))
        await self._maps.discard()
        await self._packs.discard()
