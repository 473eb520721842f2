"""One run's writing: blocks go to packs at once, the point exists only after `commit`."""

import enum

import msgspec
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.model.errors import SupersededError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, RunTag
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import DIGEST_SIZE, BlockMap, Digests, Numbers
from reference_engine.repository.codec import (
    Entry,
    Header,
    Manifest,
    PointCommittedEntry,
    encode_manifest,
    manifest_name,
)
from reference_engine.repository.dedup import BaseIndex, RecentBlocks
from reference_engine.repository.log import Log
from reference_engine.repository.pack import PackWriter
from reference_engine.repository.publish import publish_own
from reference_engine.repository.reader import PointReader


class _Progress(enum.Enum):
    WRITING = "writing"
    STAGED = "staged"
    COMMITTING = "committing"
    COMMITTED = "committed"
    ABANDONED = "abandoned"


class _Draft(msgspec.Struct, frozen=True, kw_only=True):
    """One disk in the making: its map, and which blocks were new to the repository."""

    blocks: BlockMap
    fresh: npt.NDArray[np.bool_]
    inherit: DiskId | None


class WriteSession:
    """Writes one recovery point of one machine, under the epoch that the log gave to this run.

    Disks may be written by several tasks at once; `stage` and `commit` come when all have ended.
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
    ) -> None:
        self._store, self._log = store, log
        self._key, self._block_size = header.key, header.block_size
        self._run = run
        self._base = base
        self._base_reader = None if base is None else PointReader(store, header, base)
        self._base_index: BaseIndex | None = None
        self._recent = RecentBlocks()
        self._packs = PackWriter(
            store, session=session, inherited=() if base is None else base.packs
        )
        self._drafts: dict[DiskId, _Draft] = {}
        self._zero_digests: dict[int, bytes] = {}
        self._progress = _Progress.WRITING
        self._entry: PointCommittedEntry | None = None
        self._bytes_sent = 0

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
        return ByteCount(self._bytes_sent)

    @property
    def bytes_stored(self) -> ByteCount:
        """How many bytes the run's packs hold, after compression."""
        return ByteCount(self._packs.bytes_stored)

    async def begin_disk(self, disk: DiskId, size: ByteCount, /, *, inherit: DiskId | None) -> None:
        """Begin a disk: all zero, or as the base point has the disk `inherit`.

        Where the sizes differ, the image is cut off or goes on with zeros.

        Raises:
            BlockDamagedError: the base's last block, needed after a change of size, is damaged.
        """
        assert self._progress is _Progress.WRITING, self._progress
        assert disk not in self._drafts, disk
        blocks = BlockMap(size, block_size=self._block_size)
        if inherit is not None:
            assert self._base is not None, "only a base point can be inherited from"
            blocks = self._base.maps[inherit].resized(size)
        self._drafts[disk] = _Draft(
            blocks=blocks, fresh=np.zeros(blocks.count, np.bool_), inherit=inherit
        )
        if inherit is not None:
            try:
                await self._rewrite_edge(disk, inherit)
            except BaseException:
                del self._drafts[disk]
                raise

    async def _rewrite_edge(self, disk: DiskId, inherit: DiskId) -> None:
        """Write the one block whose length differs between the base's size and this one."""
        assert self._base is not None, inherit
        assert self._base_reader is not None, inherit
        before, after = self._base.maps[inherit], self._drafts[disk].blocks
        edge = min(before.count, after.count) - 1
        if edge < 0 or after.packs[edge] == 0 or before.length(edge) == after.length(edge):
            return
        start, length = edge * self._block_size, before.length(edge)
        old = await self._base_reader.read(inherit, ExtentSet.of([(start, start + length)]))
        # As long as the old block's digest stood here, equal content could be taken for present.
        after.clear(np.array([edge]))
        length = after.length(edge)
        await self.put(disk, edge, old[:length].ljust(length, b"\0"))

    def base_digests(self, disk: DiskId, /) -> Digests:
        """Return the digest of each block that this disk began with; zeros for a hole."""
        inherit = self._drafts[disk].inherit
        blocks = self._drafts[disk].blocks
        if inherit is None or self._base is None:
            return np.zeros((blocks.count, DIGEST_SIZE), np.uint8)
        return self._base.maps[inherit].resized(blocks.size).digests

    def differs(
        self, disk: DiskId, numbers: Numbers, content: memoryview | bytes, /
    ) -> npt.NDArray[np.bool_]:
        """Return for each block whether `content` is other than what the disk holds so far.

        `content` has the blocks one after the other. Nothing is written.
        """
        blocks = self._drafts[disk].blocks
        digests, zero = self._digests(blocks, numbers, memoryview(content))
        here: npt.NDArray[np.bool_] = blocks.packs[numbers] != 0
        return ~np.where(zero, ~here, blocks.same(numbers, digests))

    async def put(self, disk: DiskId, number: int, content: bytes | memoryview, /) -> bool:
        """Let block `number` of the disk hold `content`; return whether new bytes were stored.

        Raises:
            TransientError, RefusedError: as `put_blocks`.
        """
        return bool((await self.put_blocks(disk, np.array([number]), content))[0])

    async def put_blocks(
        self, disk: DiskId, numbers: Numbers, content: bytes | memoryview, /
    ) -> npt.NDArray[np.bool_]:
        """Let these blocks hold `content`; return for each whether new bytes were stored.

        `numbers` ascend; `content` has the blocks one after the other, each of its exact length:
        the block size, or less for the disk's last block. A block of zeros becomes a hole.

        Raises:
            TransientError: the store failed; the blocks are kept and sent again with later ones.
            RefusedError: the store cannot be written to.
        """
        assert self._progress is _Progress.WRITING, self._progress
        draft, view = self._drafts[disk], memoryview(content)
        blocks = draft.blocks
        digests, zero = self._digests(blocks, numbers, view)
        blocks.clear(numbers[zero])
        wanted = ~(zero | blocks.same(numbers, digests))
        fresh = np.zeros(len(numbers), np.bool_)
        if wanted.any():
            found, places = self._index().find(digests)
            for at in np.flatnonzero(wanted & ~found).tolist():
                start = at * self._block_size
                places[at], fresh[at] = self._stored(
                    digests[at].tobytes(), view[start : start + blocks.length(int(numbers[at]))]
                )
            blocks.assign(numbers[wanted], digests[wanted], places[wanted])
        draft.fresh[numbers[fresh]] = True
        await self._packs.publish_full()
        return fresh

    def _index(self) -> BaseIndex:
        if self._base_index is None:
            self._base_index = BaseIndex(() if self._base is None else self._base.maps.values())
        return self._base_index

    def _stored(self, digest: bytes, content: memoryview) -> tuple[tuple[int, int, int], bool]:
        known = self._recent.find(digest)
        if known is not None:
            return known, False
        place = self._packs.add(content)
        row = (place.pack, place.offset, place.stored)
        self._recent.remember(digest, row)
        self._bytes_sent += len(content)
        return row, True

    def _digests(
        self, blocks: BlockMap, numbers: Numbers, view: memoryview
    ) -> tuple[Digests, npt.NDArray[np.bool_]]:
        """Return each block's digest, and whether it is all zero."""
        assert len(numbers) > 0, "no block"
        assert (np.diff(numbers) > 0).all(), numbers
        tail = blocks.length(int(numbers[-1]))
        size, key = self._block_size, self._key
        assert view.nbytes == (len(numbers) - 1) * size + tail, view.nbytes
        assert len(view) == view.nbytes, "bytes, not items"
        raw = b"".join(
            [
                blake3(view[at : at + size], key=key).digest(length=DIGEST_SIZE)
                for at in range(0, len(view), size)
            ]
        )
        digests = np.frombuffer(raw, np.uint8).reshape(-1, DIGEST_SIZE)
        zero: npt.NDArray[np.bool_] = (digests == self._zero_digest(size)).all(axis=1)
        zero[-1] = bool((digests[-1] == self._zero_digest(tail)).all())
        return digests, zero

    def _zero_digest(self, length: int) -> Digests:
        if length not in self._zero_digests:
            content = blake3(bytes(length), key=self._key)
            self._zero_digests[length] = content.digest(length=DIGEST_SIZE)
        return np.frombuffer(self._zero_digests[length], np.uint8)

    def sent(self, disk: DiskId, /) -> ExtentSet:
        """Return the bytes of the disk that were new to the repository."""
        draft = self._drafts[disk]
        return ExtentSet.of_pieces(
            np.flatnonzero(draft.fresh), piece=self._block_size, size=draft.blocks.size
        )

    def root_digest(self, disk: DiskId, /) -> str:
        """Return one digest of the disk's whole content so far: equal for equal content only."""
        return self._drafts[disk].blocks.root_digest(self._key)

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
        content, seal = encode_manifest(self._key, self._manifest(point))
        name = manifest_name(point.id)
        await publish_own(self._store, name, content)
        self._entry = PointCommittedEntry(
            machine=self._run.machine,
            epoch=self._run.epoch,
            point=point.id,
            manifest=name,
            digest=seal,
        )
        self._progress = _Progress.STAGED

    def _manifest(self, point: RecoveryPoint) -> Manifest:
        """Return the point's manifest with only those packs that it uses."""
        maps = {record.disk: self._drafts[record.disk].blocks for record in point.disks}
        packs = [np.unique(blocks.packs) for blocks in maps.values()]
        used = np.unique(np.concatenate([np.zeros(1, np.uint32), *packs]))[1:].astype(np.int64)
        renumbered = np.zeros(len(self._packs.names) + 1, np.uint32)
        renumbered[used] = np.arange(1, len(used) + 1)
        compacted: dict[DiskId, BlockMap] = {}
        for disk, blocks in maps.items():
            compacted[disk] = blocks.resized(blocks.size)
            compacted[disk].packs[:] = renumbered[blocks.packs]
        names = tuple(self._packs.names[number - 1] for number in used.tolist())
        return Manifest(record=point, packs=names, maps=compacted)

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

    def _decide(self, history: tuple[Entry, ...]) -> Entry | None:
        assert self._entry is not None, self._progress
        if self._entry in history:
            return None
        newest = max(entry.epoch for entry in history if entry.machine == self._run.machine)
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
        await self._packs.discard()
