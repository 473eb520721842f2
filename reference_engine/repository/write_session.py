"""One run's writing: blocks go to packs at once, the point exists only after `commit`."""

import enum

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import ConsistencyLostError, SupersededError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, RunTag
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import (
    PAGE_BLOCKS,
    BlockMap,
    NameTable,
    Numbers,
    Page,
    PageRow,
)
from reference_engine.repository.codec import (
    Entry,
    Manifest,
    PointCommittedEntry,
    encode_manifest,
    manifest_name,
)
from reference_engine.repository.errors import ManifestDamagedError, RunClosedError
from reference_engine.repository.fetching import load_page
from reference_engine.repository.header import Header
from reference_engine.repository.history import History
from reference_engine.repository.known_index import KnownIndex
from reference_engine.repository.log import Log
from reference_engine.repository.manifests import manifest_of
from reference_engine.repository.map_writer import MapWriter
from reference_engine.repository.pack import Level
from reference_engine.repository.pages import decode_page, encode_page, page_seal
from reference_engine.repository.publish import discard_twice, publish_twice
from reference_engine.repository.reader import PointReader
from reference_engine.repository.reliance import (
    BaseSwept,
    Reliance,
    Rescue,
    Swept,
    referred,
    why_lost,
)
from reference_engine.repository.storing import BlockBatch, BlockStorer, Draft


class _Progress(enum.Enum):
    WRITING = "writing"
    STAGED = "staged"
    COMMITTING = "committing"
    COMMITTED = "committed"
    ABANDONED = "abandoned"


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
        known: KnownIndex,
        /,
        *,
        run: RunTag,
        session: str,
        base: Manifest | None,
        reliance: Reliance,
        executor: Executor,
        level: Level,
    ) -> None:
        self._store, self._header, self._log, self._executor = store, header, log, executor
        self._key, self._block_size = header.key, header.block_size
        self._run, self._base, self._session = run, base, session
        self._objects = NameTable()
        for name in () if base is None else base.maps:
            self._objects.number(name)
        self._names = known.packs
        self._reliance = reliance
        self._storer = BlockStorer(
            store,
            header,
            log.history,
            known,
            session=session,
            executor=executor,
            level=level,
            borrow=self._reliance.borrow,
        )
        self._packs = self._storer.packs
        self._maps = MapWriter(store, session, self._objects)
        self._drafts: dict[DiskId, Draft] = {}
        self._progress = _Progress.WRITING
        self._point: RecoveryPoint | None = None
        self._entry: PointCommittedEntry | None = None
        self._attempt = 0

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
        self._drafts[disk] = Draft(blocks, anew=inherit is None)
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
            self._drafts[disk] = Draft(await before.resized(size, save=self._save), anew=False)
            await self._rewrite_edge(disk, inherit, before)
        except BaseException:
            del self._drafts[disk]
            raise

    async def _load(self, number: int, row: PageRow) -> Page:
        """Return a page of the base, or one that this run wrote before."""
        name = self._objects.name(row.object_number)
        held = self._maps.held(name, row.offset, row.stored)
        if held is None:
            of = None if self.base is None else self.base.id
            try:
                return await load_page(
                    self._store, self._key, self._names, name=name, number=number, row=row, of=of
                )
            except ManifestDamagedError as error:
                raise await why_lost(self._log, self._run, error) from error
        return decode_page(self._key, held, self._names, seal=row.seal)

    def _save(self, page: Page) -> PageRow:
        content = encode_page(page, self._names)
        return PageRow(*self._maps.add(content), len(content), page_seal(self._key, content))

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
        await self._drafts[disk].blocks.keep_only(extents)

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
        touches are stored: as an overlay, unless nothing else would be left of a block, or as much
        as half of it is overlaid by earlier runs.

        Raises:
            TransientError: the store failed; the blocks are kept and sent again with later ones.
            RefusedError: the store cannot be written to.
            ManifestDamagedError: a page of the base's map is damaged.
        """
        batch = await self.digest_blocks(disk, numbers, content)
        fresh = await self.place_blocks(disk, batch, changed=changed)
        await self.publish_full()
        return fresh

    async def digest_blocks(
        self, disk: DiskId, numbers: Numbers, content: bytes | memoryview, /
    ) -> BlockBatch:
        """Return blocks as `put_blocks` takes them, with their digests; nothing is changed."""
        assert len(numbers) > 0, "no block"
        assert (np.diff(numbers) > 0).all(), numbers
        return await self._storer.digested(self._drafts[disk].blocks, numbers, memoryview(content))

    async def place_blocks(
        self, disk: DiskId, batch: BlockBatch, /, *, changed: ExtentSet | None
    ) -> npt.NDArray[np.bool_]:
        """Do what `put_blocks` does, but leave packs that became full to `publish_full`."""
        assert self._progress is _Progress.WRITING, self._progress
        return await self._storer.place(self._drafts[disk], batch, changed=changed)

    async def lost(self, disk: DiskId, /) -> ExtentSet:
        """Return what of the disk, as inherited, was found damaged: whatever changed, put it."""
        return await self._storer.lost_blocks(self._drafts[disk].blocks)

    @property
    def has_full_packs(self) -> bool:
        """Whether `publish_full` has anything to do."""
        return self._packs.has_full or self._maps.has_full

    async def publish_full(self) -> None:
        """Make full packs durable; what fails stays for the next attempt.

        Raises:
            TransientError, RefusedError: as `put_blocks`.
        """
        await self._storer.publish_full()
        await self._maps.publish_full()

    def sent(self, disk: DiskId, /) -> ExtentSet:
        """Return the bytes of the disk that were new to the repository."""
        return self._drafts[disk].sent()

    def root_digest(self, disk: DiskId, /) -> str:
        """Return one digest of the disk's whole content so far: equal for equal content only."""
        return self._drafts[disk].blocks.root_digest()

    async def stage(self, point: RecoveryPoint, /) -> None:
        """Make everything but the log entry durable; `point` records every disk of the session.

        May be called again with the same point after a TransientError.

        Raises:
            TransientError, RefusedError: the store failed, or cannot be written to.
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
        await self._reliance.hold()
        roots = {disk: draft.rooted() for disk, draft in self._drafts.items()}
        content, seal = encode_manifest(self._key, manifest_of(point, roots, self._objects))
        while True:
            name = manifest_name(point.id, session=self._session, attempt=self._attempt)
            if await publish_twice(self._store, name, content):
                break
            # A copy of a point bears its id, and so may what a copy left that was cut off.
            self._attempt += 1
        self._entry = PointCommittedEntry(
            machine=self._run.machine,
            epoch=self._run.epoch,
            point=point.id,
            manifest=name,
            digest=seal,
        )
        self._point = point
        self._progress = _Progress.STAGED

    async def commit(self) -> None:
        """Make the staged point exist. Called again after an error, it settles what became of it.

        Raises:
            SupersededError: a newer run of the machine was opened; the point will never exist.
            ConsistencyLostError: the run was closed, or blocks that it built on are deleted; the
                point will never exist.
            TransientError: the store failed, and whether the point exists is open: commit again,
                or ask `Repository.committed`.
        """
        if self._progress is _Progress.COMMITTED:
            return
        assert self._entry is not None, self._progress
        assert self._progress in {_Progress.STAGED, _Progress.COMMITTING}, self._progress
        self._progress = _Progress.COMMITTING
        try:
            while True:
                try:
                    await self._log.append(self._decide)
                    break
                except Swept as swept:
                    # Every number that the old entry was meant for is taken by now.
                    await self._rescue(swept.names)
                except BaseSwept:
                    self._reliance.inherit(await self._referred())
        except (SupersededError, ConsistencyLostError):
            # Every number that this entry was meant for holds another one: it cannot appear later.
            self._progress = _Progress.STAGED
            raise
        self._progress = _Progress.COMMITTED
        await self._storer.publish_index()

    def _decide(self, history: History) -> Entry | None:
        assert self._entry is not None, self._progress
        if history.has_committed(self._entry):
            return None
        newest = history.epoch(self._run.machine)
        if newest > self._run.epoch:
            raise SupersededError(self._run, newest)
        if not history.is_open(self._run):
            raise RunClosedError(self._run)
        self._reliance.check(history)
        return self._entry

    async def _rescue(self, gone: tuple[str, ...]) -> None:
        """Copy what the point needs of these objects into own ones, and stage it once more."""
        assert self._point is not None, self._progress
        self._progress = _Progress.STAGED
        rescue = Rescue(self._store, self._names, self._objects, self._packs, run=self._run)
        for draft in self._drafts.values():
            await rescue.replace(draft.blocks, gone)
        self._attempt += 1
        await self.stage(self._point)
        self._reliance.inherit(await self._referred())
        self._progress = _Progress.COMMITTING

    async def _referred(self) -> tuple[str, ...]:
        maps = [draft.blocks for draft in self._drafts.values()]
        return await referred(maps, self._names, self._objects, run=self._run)

    async def abandon(self) -> None:
        """End the run and delete what it stored, unless its commit was begun; may be repeated.

        Packs that its index speaks of stay: the next run finds their blocks instead of storing
        them again, and another one may have done so already.
        """
        if self._progress in {_Progress.COMMITTING, _Progress.COMMITTED}:
            return
        self._progress = _Progress.ABANDONED
        if self._entry is not None:
            await discard_twice(self._store, self._entry.manifest)
        await self._maps.discard()
        await self._storer.discard()
        # Nobody has to wait for this run any more.
        await self._log.append(lambda history: history.closing(self._run))
