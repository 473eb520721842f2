"""One repack: blocks, pages and manifests written anew, and one entry of the log that makes it so.

Why no point is lost by it, at whatever call it ends and whoever else writes meanwhile:

- All that it writes is new: objects of its own session, spared by every reclaim as long as its run
  is open, as a backup's are. Until the entry lands nothing refers to them.
- The entry lands behind a history in which the run is open, and names only points that exist there
  with the very manifests that were read. So nothing that these refer to was swept, and a new
  manifest refers to a part of that, and to objects of the session, all durable by then.
- Nothing is deleted. What no point uses behind the entry is condemned and swept like anything else,
  behind a history that has the entry.
- A run that has such a point for its base compares the base's manifest with the one that it read,
  and looks before its commit whether what it took from it was swept.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import ConsistencyLostError, CorruptionError
from reference_engine.model.identity import DiskId, RunTag
from reference_engine.model.units import ByteCount, Instant
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import NameTable, PageRow
from reference_engine.repository.codec import (
    DiskRoot,
    Entry,
    Manifest,
    PointCommittedEntry,
    encode_manifest,
    moved_manifest_name,
)
from reference_engine.repository.errors import ObjectConflictError, RepackOvertakenError
from reference_engine.repository.fetching import load_page
from reference_engine.repository.header import Header
from reference_engine.repository.history import History
from reference_engine.repository.index_writer import IndexWriter
from reference_engine.repository.log import Log
from reference_engine.repository.manifests import ManifestReader, manifest_of
from reference_engine.repository.map_writer import MapWriter
from reference_engine.repository.pack import PackWriter
from reference_engine.repository.page_mover import PageMover
from reference_engine.repository.pages import encode_page, page_seal
from reference_engine.repository.publish import discard_twice, publish_twice
from reference_engine.repository.reclaim_entries import MovedPoint, PointsMovedEntry
from reference_engine.repository.usage import ObjectUse, Usage

_WAITING_MAX: Final = 64
"""Pages that are in memory until the frames of their blocks are full."""

_PENDING_MAX: Final = 1 << 18
"""Rows of pages that are gathered before those that points share are told apart."""

_ROW: Final = np.dtype(
    [
        ("disk", "u4"),
        ("number", "u4"),
        ("first", "u4"),
        ("key", "u8"),
        ("size", "u8"),
        ("stored", "u4"),
        ("seal", "u1", 16),
        ("to", "u4"),
        ("to_offset", "u4"),
        ("to_stored", "u4"),
        ("to_seal", "u1", 16),
    ]
)
"""A page: of which disk, where it is, and where it was moved to; `to` is 0 where it was not."""

Rows = npt.NDArray[np.void]


class RepackRun:
    """Moves what points use out of some objects, in one run of its own."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        log: Log,
        usage: Usage,
        objects: tuple[ObjectUse, ...],
        /,
        *,
        run: RunTag,
        session: str,
        manifests: ManifestReader,
        executor: Executor,
    ) -> None:
        self._manifests = manifests
        self._store, self._header, self._log = store, header, log
        self._run, self._session = run, session
        self._names, self._objects = usage.packs, NameTable()
        self._packs = PackWriter(store, usage.packs, session=session)
        self._maps = MapWriter(store, session, self._objects)
        self._index = IndexWriter(store, header.key, usage.packs, session=session)
        packs = [usage.packs.number(each.name) for each in objects if each.is_pack]
        self._leaving = {
            self._objects.number(each.name): None for each in objects if not each.is_pack
        }
        self._mover = PageMover(
            store,
            header,
            usage.packs,
            self._packs,
            leaving=usage.frames(np.array(packs, np.int64)),
            executor=executor,
        )
        self._disks: dict[DiskId, int] = {}
        self._moved: dict[MovedPoint, PointCommittedEntry] = {}
        """Where points go to, each with the entry whose manifest was read."""

        self._staged: list[str] = []
        self._committing = False

    @property
    def run(self) -> RunTag:
        """The repack's own run."""
        return self._run

    @property
    def bytes_stored(self) -> int:
        """How much the new packs hold, compressed."""
        return self._packs.bytes_stored

    @property
    def bytes_moved(self) -> int:
        """How much was copied, decompressed."""
        return self._mover.bytes_moved

    @property
    def damaged(self) -> tuple[str, ...]:
        """Packs that have to stay as they are: blocks in them cannot be read back."""
        return tuple(self._mover.damaged)

    async def stage(self, progress: Callable[[int], None], /) -> int:
        """Make everything but the log entry durable; return how many points go.

        Raises:
            RepackOvertakenError: somebody else repacks; nothing came of this one.
            CorruptionError: what a point needs cannot be read.
            TransientError, RefusedError: the store failed, or cannot be written to.
        """
        await self._log.refresh()
        entries = tuple(self._log.history.live.values())
        rows = await self._rows(entries)
        for number in range(len(rows)):
            await self._move(rows, number)
            progress(self.bytes_stored)
            if self._mover.waiting >= _WAITING_MAX:
                await self._settle(rows)
                # Who was overtaken does nothing in vain.
                await self._log.refresh()
                self._check_open(self._log.history)
        await self._settle(rows)
        await self._packs.flush()
        await self._maps.flush()
        rows = rows[np.argsort(rows["key"])]
        for entry in entries:
            await self._stage_manifest(entry, rows)
        return len(self._moved)

    async def _read(self, entry: PointCommittedEntry) -> Manifest | None:
        """Return a point's manifest; None: it has expired, or was moved by somebody else."""
        try:
            return await self._manifests.read(entry)
        except CorruptionError:
            await self._log.refresh()
            if self._log.history.live.get(entry.point) == entry:
                raise
            return None

    async def _rows(self, entries: tuple[PointCommittedEntry, ...]) -> Rows:
        """Return the pages of all points, each once: versions of one page behind each other."""
        pending: list[Rows] = [np.zeros(0, _ROW)]
        count = 0
        for first, entry in enumerate(entries):
            manifest = await self._read(entry)
            for disk, root in {} if manifest is None else manifest.disks.items():
                assert manifest is not None, entry
                pending.append(self._rows_of(manifest, disk, root, first))
                count += len(pending[-1])
            if count > _PENDING_MAX:
                pending, count = [_distinct(pending)], 0
        rows = _distinct(pending)
        return rows[np.lexsort((rows["first"], rows["number"], rows["disk"]))]

    def _rows_of(self, manifest: Manifest, disk: DiskId, entry: DiskRoot, first: int) -> Rows:
        root, numbers = entry.root, np.flatnonzero(entry.root.objects)
        rows = np.zeros(len(numbers), _ROW)
        rows["disk"] = self._disks.setdefault(disk, len(self._disks))
        rows["number"], rows["first"] = numbers, first
        rows["key"], rows["size"] = self._keys(manifest, entry)[numbers], entry.size
        rows["stored"], rows["seal"] = root.stored[numbers], root.seals[numbers]
        return rows

    def _keys(self, manifest: Manifest, entry: DiskRoot) -> npt.NDArray[np.uint64]:
        """Return for each page number a number that tells the stored page; 0 for holes."""
        ours = np.array([0, *(self._objects.number(name) for name in manifest.maps)], np.uint64)
        root = entry.root
        keys = ours[root.objects] << np.uint64(32) | root.offsets.astype(np.uint64)
        keys[root.objects == 0] = 0
        return keys

    async def _move(self, rows: Rows, number: int) -> None:
        row = rows[number]
        holder, offset = int(row["key"]) >> 32, int(row["key"]) & 0xFFFF_FFFF
        size = ByteCount(int(row["size"]))
        try:
            page = await load_page(
                self._store,
                self._header.key,
                self._names,
                name=self._objects.name(holder),
                number=int(row["number"]),
                row=PageRow(holder, offset, int(row["stored"]), row["seal"].tobytes()),
                of=None,
            )
        except CorruptionError:
            # Its points may have expired, and then it is deleted; else they keep it as it is.
            return
        taken = await self._mover.take(
            number,
            page,
            of=(int(row["disk"]), int(row["number"])),
            size=size,
        )
        if not taken and holder in self._leaving:
            self._save(rows, number, encode_page(page, self._names))

    def _save(self, rows: Rows, number: int, content: bytes) -> None:
        seal = page_seal(self._header.key, content)
        rows["to"][number], rows["to_offset"][number] = self._maps.add(content)
        rows["to_stored"][number] = len(content)
        rows["to_seal"][number] = np.frombuffer(seal, np.uint8)

    async def _settle(self, rows: Rows) -> None:
        for number, page in await self._mover.settle():
            self._save(rows, number, encode_page(page, self._names))
        await self._maps.publish_full()

    async def _stage_manifest(self, entry: PointCommittedEntry, rows: Rows) -> None:
        """Stage the point's manifest with the pages that were moved, if any of its own was."""
        manifest = await self._read(entry)
        if manifest is None or not len(rows):
            return
        any_moved = False
        roots: dict[DiskId, DiskRoot] = {}
        for disk, before in manifest.disks.items():
            keys = self._keys(manifest, before)
            at = np.minimum(np.searchsorted(rows["key"], keys), len(rows) - 1)
            found = rows[at]
            moved = (found["key"] == keys) & (found["to"] > 0)
            root = before.root.resized(len(before.root.objects))
            root.objects[:] = np.where(moved, found["to"], keys >> np.uint64(32))
            root.offsets[moved], root.stored[moved] = (
                found["to_offset"][moved],
                found["to_stored"][moved],
            )
            root.seals[moved] = found["to_seal"][moved]
            roots[disk] = DiskRoot(size=before.size, root=root)
            any_moved = any_moved or bool(moved.any())
        if not any_moved:
            return
        content, seal = encode_manifest(
            self._header.key, manifest_of(manifest.record, roots, self._objects)
        )
        name = moved_manifest_name(entry.point, self._session)
        self._staged.append(name)
        if not await publish_twice(self._store, name, content):
            raise ObjectConflictError(name)
        self._moved[MovedPoint(point=entry.point, manifest=name, digest=seal)] = entry

    async def commit(self, *, at: Instant) -> int:
        """Let the points have their new manifests; return how many do.

        Raises:
            RepackOvertakenError: somebody else repacks, or all of the points have changed.
            TransientError: the store failed, and whether it is done is open: commit again.
        """
        self._committing = True

        def decide(history: History) -> Entry | None:
            if history.move(self._run.epoch) is not None:
                return None
            self._check_open(history)
            points = tuple(
                moved
                for moved, entry in self._moved.items()
                if history.live.get(moved.point) == entry
            )
            if not points:
                raise RepackOvertakenError(self._run)
            return PointsMovedEntry(epoch=self._run.epoch, points=points, at=at)

        try:
            await self._log.append(decide)
        except ConsistencyLostError:
            # Every number that the entry was meant for holds another one.
            self._committing = False
            raise
        done = self._log.history.move(self._run.epoch)
        assert done is not None, self._run
        digests, places = self._mover.indexed()
        self._index.add(digests, places)
        await self._index.publish_rest(self._packs.durable)
        return len(done.points)

    def _check_open(self, history: History) -> None:
        if not history.is_open(self._run):
            raise RepackOvertakenError(self._run)

    async def abandon(self) -> None:
        """End the run and delete what it stored, unless its commit was begun; may be repeated."""
        if self._committing:
            return
        for name in self._staged:
            await discard_twice(self._store, name)
        await self._maps.discard()
        await self._packs.discard(keep=())
        await self._log.append(lambda history: history.closing(self._run))


def _distinct(parts: list[Rows]) -> Rows:
    """Return each page once, as the first point that has it speaks of it."""
    rows = np.concatenate(parts)
    _, first = np.unique(rows["key"], return_index=True)
    return rows[first]
