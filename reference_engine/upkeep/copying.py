"""Points of one repository in a second one, in the order in which they were committed.

A copied point keeps its id and all that is recorded of it, but for what belongs to a repository:
the run that wrote it, and the digests, whose keys differ. Every block is checked when it is read.
A copy that is cut off leaves whole points; the next one goes on with the first that is missing.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, RecoveryPointId
from reference_engine.model.recovery_point import DiskRecord, RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.repository.block_map import PAGE_BLOCKS, PIECES
from reference_engine.repository.codec import PointCommittedEntry
from reference_engine.repository.domain_names import domain_of
from reference_engine.repository.pack import Level
from reference_engine.repository.reader import PointReader, Progress
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession

WINDOW_BLOCKS: Final = 64


class CopyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the asked-for points have to be copied."""

    missing: tuple[PointCommittedEntry, ...]
    present: int
    late: tuple[RecoveryPointId, ...]
    """Points whose machine has newer ones there already: behind them, they would pass for new."""


def plan_copy(
    asked: tuple[PointCommittedEntry, ...], there: tuple[PointCommittedEntry, ...], /
) -> CopyPlan:
    """Return what has to be copied; both are in commit order."""
    have = {entry.point for entry in there}
    newest: dict[str, int] = {}
    for at, entry in enumerate(asked):
        if entry.point in have:
            newest[entry.machine] = at
    missing: list[PointCommittedEntry] = []
    late: list[RecoveryPointId] = []
    for at, entry in enumerate(asked):
        if entry.point in have:
            continue
        if at < newest.get(entry.machine, -1):
            late.append(entry.point)
        else:
            missing.append(entry)
    present = len(asked) - len(missing) - len(late)
    return CopyPlan(missing=tuple(missing), present=present, late=tuple(late))


class PointCopy:
    """Copies one point after the other from one repository to another."""

    def __init__(
        self,
        source: Repository,
        target: Repository,
        /,
        *,
        level: Level,
        domain: str | None = None,
    ) -> None:
        """`domain` names the dedup domain in the target, '' its own.

        None: the one of the same name as the point's, for a copy elsewhere would outlive a shred.
        """
        self._source, self._target = source, target
        self._level, self._wanted = level, domain

    async def copy(
        self,
        point: RecoveryPointId,
        /,
        *,
        token: str,
        progress: Callable[[int], Progress],
    ) -> ByteCount:
        """Commit the point in the target, and return how many bytes were new to it.

        `progress` is given the number of bytes to read. `token` was never used before.

        Raises:
            DomainUnknownError: the target has none of this name.
            CorruptionError: the point is damaged in the source; nothing was committed.
            SupersededError: another run of the same machine was opened in the target.
            TransientError: a store failed; copy again.
        """
        reader = await self._source.reader(point)
        for disk in reader.disks:
            reader.confirm(disk)
        session = await self._target.open_run(
            reader.point.machine.id,
            token=token,
            level=self._level,
            domain=await self._domain(point),
        )
        try:
            base = await self._base(session)
            deltas = {disk: await _differing(reader, base, disk) for disk in reader.disks}
            advance = progress(sum(delta.total for delta in deltas.values()))
            for disk, delta in deltas.items():
                old = _same_size(base, reader, disk)
                await session.begin_disk(
                    disk, reader.size(disk), inherit=None if old is None else disk
                )
                await self._copy_blocks(session, reader, old, disk, delta, advance)
                await reader.confirm_pages(disk)
            await session.stage(_record(session, reader.point))
            sent = session.bytes_sent
            await session.commit()
        except BaseException:
            await session.abandon()
            raise
        return sent

    async def _domain(self, point: RecoveryPointId) -> str | None:
        """Return the name of the copy's domain in the target; None: as its machine's newest."""
        if self._wanted is not None:
            return self._wanted
        entry = await self._source.manifests.entry(point)
        return self._source.reclaim.history.domains.get(domain_of(entry.manifest))

    async def _base(self, session: WriteSession) -> PointReader | None:
        """Return a reader, in the source, of the point that the target's run starts from."""
        if session.base is None:
            return None
        entries = {entry.point for entry in await self._source.commits()}
        return await self._source.reader(session.base.id) if session.base.id in entries else None

    async def _copy_blocks(  # noqa: PLR0917 - from where, to where, what
        self,
        session: WriteSession,
        reader: PointReader,
        old: PointReader | None,
        disk: DiskId,
        delta: ExtentSet,
        progress: Progress,
    ) -> None:
        size = reader.size(disk)
        block = session.block_size
        numbers = delta.aligned(block, size=size).pieces(block)
        for start in range(0, len(numbers), WINDOW_BLOCKS):
            part = numbers[start : start + WINDOW_BLOCKS]
            window = ExtentSet.of_pieces(part, piece=block, size=size)
            content = await reader.read(disk, window)
            changed = None
            if old is not None:
                before = await old.read(disk, window)
                changed = _changed(window, content, before, piece=block // PIECES)
            await session.put_blocks(disk, part, content, changed=changed)
            progress(ByteCount(len(content)))


async def _differing(reader: PointReader, base: PointReader | None, disk: DiskId) -> ExtentSet:
    """Return what of the disk differs from the base; all that is no hole where there is none."""
    old = _same_size(base, reader, disk)
    if old is None:
        return await reader.allocated(disk)
    block, size = reader.block_size, reader.size(disk)
    pages = {number for number, _, _ in (*reader.rows(disk), *old.rows(disk))}
    found: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for number in sorted(pages):
        if reader.content_digest(disk, number) == old.content_digest(disk, number):
            continue
        new, before = await reader.digests(disk, number), await old.digests(disk, number)
        found.append(np.flatnonzero((new != before).any(axis=1)) + number * PAGE_BLOCKS)
    return ExtentSet.of_pieces(np.concatenate(found), piece=block, size=size)


def _same_size(base: PointReader | None, reader: PointReader, disk: DiskId) -> PointReader | None:
    """Return the base if it has the disk in the same size, and so the same blocks."""
    if base is None or disk not in base.disks or base.size(disk) != reader.size(disk):
        return None
    return base


def _changed(window: ExtentSet, content: bytes, before: bytes, *, piece: int) -> ExtentSet:
    """Return what of a window differs between two contents of it, in pieces of this size.

    So small changes stay small in the copy.
    """
    usable = len(content) // piece * piece
    new = np.frombuffer(content, np.uint8, usable).reshape(-1, piece)
    old = np.frombuffer(before, np.uint8, usable).reshape(-1, piece)
    at = np.flatnonzero((new != old).any(axis=1)) * piece
    bounds = window.bounds
    starts = np.cumsum(bounds[:, 1] - bounds[:, 0]) - (bounds[:, 1] - bounds[:, 0])
    which = np.searchsorted(starts, at, side="right") - 1
    places = at - starts[which] + bounds[which, 0]
    found = [(place, place + piece) for place in places.tolist()]
    if usable < len(content) and content[usable:] != before[usable:]:
        end = int(bounds[-1, 1])
        found.append((end - (len(content) - usable), end))
    return ExtentSet.of(found) if found else EMPTY


def _record(session: WriteSession, point: RecoveryPoint) -> RecoveryPoint:
    """Return the point's record as the target has it: same id, same history, its own digests."""

    def disk(record: DiskRecord) -> DiskRecord:
        return msgspec.structs.replace(record, digest=session.root_digest(record.disk))

    disks = tuple(disk(record) for record in point.disks)
    return msgspec.structs.replace(point, run=session.run, disks=disks)
