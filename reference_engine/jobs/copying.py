"""Steps S8 to S10: reconcile, enumerate the delta, copy."""

from collections.abc import Mapping
from typing import Final

import msgspec

from reference_engine.jobs.auditing import Audit, audit, resting_on
from reference_engine.jobs.snapshotting import Snapshots, Switched
from reference_engine.jobs.space import RoomWatch
from reference_engine.jobs.surroundings import Ports
from reference_engine.model.errors import ProductionDiskError, TrackerUnusableError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, RecoveryPointId, RunTag
from reference_engine.model.machine import BackEnd, GuestKind, Machine, VirtualDisk
from reference_engine.model.recovery_point import (
    DiskRecord,
    RecoveryPoint,
    Transfer,
    TransferKind,
    TransferReason,
)
from reference_engine.model.units import ByteCount
from reference_engine.ports.disk_io import Content
from reference_engine.reconcile.overlay import NOTHING, Overlay, inside_snapshot, lay_over
from reference_engine.repository.block_map import Numbers
from reference_engine.repository.storing import BlockBatch
from reference_engine.repository.write_session import WriteSession
from reference_engine.sync.pipeline import Sink, copy_disk, needed
from reference_engine.trace.engine import DeltaEnumerated, DiskCopied, SkewRecorded
from reference_engine.tracking import change_map, trust
from reference_engine.tracking.lineage import Contribution


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What of one disk will be read, and on whose word."""

    transfer: Transfer
    extents: ExtentSet
    changed: ExtentSet
    """What of `extents` may differ from the base; only for an incremental transfer."""

    sources: tuple[str, ...]
    audit: Audit
    doubted: tuple[RecoveryPointId, ...]
    """Earlier points that rest on the word of a tracker that lied."""


_NO_AUDIT: Final = Audit(sampled=0, population=0, wrong=0)


async def reconcile(
    ports: Ports, machine: Machine, snapshots: Snapshots, /, *, run: RunTag
) -> dict[DiskId, Overlay]:
    """Return for each disk what has to be laid over the host snapshot, and so R.

    Raises:
        SnapshotLostError: the guest's diff area did not last; start over.
    """
    overlays: dict[DiskId, Overlay] = {}
    for disk in machine.disks:
        overlay = NOTHING
        by_checkpoint = machine.back_end in {BackEnd.CHECKPOINT, BackEnd.REFERENCE_POINT}
        if by_checkpoint and snapshots.guest is not None:
            recovered = await ports.host.auto_recovered(
                snapshots.sources[disk.id].snapshot, disk.id
            )
            overlay = inside_snapshot(recovered)
        elif snapshots.guest is not None and machine.guest is GuestKind.VSS:
            overlay = lay_over(await ports.consistency.pre_images(machine.id, disk.id, run=run))
        overlays[disk.id] = overlay
        ports.tracer(
            SkewRecorded(
                at=ports.runtime.now(),
                run=run,
                disk=disk.id,
                skew=overlay.skew,
                mask=overlay.mask,
            )
        )
    return overlays


async def confirm_exposed(ports: Ports, machine: Machine, snapshots: Snapshots, /) -> None:
    """Return if what will be mounted and put back is the snapshot, for every disk.

    Raises:
        ProductionDiskError: it is the disk that the guest writes; nothing was mounted.
    """
    guest_writes_on = machine.back_end is BackEnd.HOST_SNAPSHOT and machine.guest is GuestKind.VSS
    if snapshots.guest is None or not guest_writes_on:
        return
    for disk in machine.disks:
        snapshot = snapshots.sources[disk.id].snapshot
        exposure = await ports.host.expose(snapshot, disk.id)
        if exposure.shows != snapshot:
            raise ProductionDiskError(machine.id, disk.id)


async def enumerate_delta(
    ports: Ports,
    machine: Machine,
    disk: VirtualDisk,
    /,
    *,
    run: RunTag,
    base: RecoveryPoint | None,
    snapshots: Snapshots,
    overlay: Overlay,
    switched: Switched,
    block_size: ByteCount,
    sample: int,
) -> Plan:
    """Return what has to be read of one disk; by comparison where no tracker can vouch for it."""
    transfer = trust.choose_transfer(machine, disk.id, base=base, trackers=switched.trackers)
    delta = EMPTY
    sources: tuple[str, ...] = ()
    if transfer.kind is TransferKind.INCREMENTAL:
        try:
            tracked, sources = await _tracked(
                ports, machine, disk, run=run, base=base, snapshots=snapshots, by=switched.by
            )
        except TrackerUnusableError:
            transfer = trust.after_lost_tracker(transfer)
        else:
            record = None if base is None else base.disk(disk.id)
            assert record is not None, disk.id
            delta = change_map.delta(
                tracked=tracked, carried=record.skew, skew=overlay.skew, size=disk.size
            )
    source = snapshots.sources[disk.id]
    audited = _NO_AUDIT
    doubted: tuple[RecoveryPointId, ...] = ()
    if transfer.kind is TransferKind.INCREMENTAL and sample and base is not None:
        audited = await audit(
            ports,
            disk.id,
            disk.size,
            run=run,
            base=base,
            source=source,
            overlay=overlay,
            tracked=delta,
            sample=sample,
        )
        if audited.wrong:
            transfer = trust.after_lie(transfer)
            doubted = await resting_on(ports, machine.id, disk.id)
    allocated = await ports.disk_io.allocated(source.snapshot, disk.id)
    extents = needed(
        transfer, delta=delta, allocated=allocated | overlay.skew, block=block_size, size=disk.size
    )
    ports.tracer(
        DeltaEnumerated(
            at=ports.runtime.now(),
            run=run,
            disk=disk.id,
            base=None if base is None else base.id,
            transfer=transfer,
            extents=extents,
            sources=sources,
        )
    )
    return Plan(
        transfer=transfer,
        extents=extents,
        changed=delta,
        sources=sources,
        audit=audited,
        doubted=doubted,
    )


async def _tracked(
    ports: Ports,
    machine: Machine,
    disk: VirtualDisk,
    *,
    run: RunTag,
    base: RecoveryPoint | None,
    snapshots: Snapshots,
    by: tuple[Contribution, ...],
) -> tuple[ExtentSet, tuple[str, ...]]:
    """Return what changed since the base's tracker was switched, and who says so."""
    if machine.back_end is BackEnd.REFERENCE_POINT:
        assert base is not None, run
        assert base.tracker is not None, base.id
        changed = await ports.tracking.changed_since(
            disk.id, since=base.tracker, until=snapshots.sources[disk.id].snapshot
        )
        return changed, (base.tracker,)
    maps: Mapping[str, ExtentSet] = {
        part.node: await ports.tracking.frozen(part.node, disk.id, run=run) for part in by
    }
    return change_map.union(maps.values()), tuple(maps)


class _SessionSink(Sink[tuple[ExtentSet, BlockBatch]]):
    """One disk of a session."""

    def __init__(
        self,
        session: WriteSession,
        disk: DiskId,
        changed: ExtentSet | None,
        /,
        *,
        watch: RoomWatch,
    ) -> None:
        self._session, self._disk, self._changed = session, disk, changed
        self._watch = watch

    async def digest(
        self, window: ExtentSet, numbers: Numbers, content: Content, /
    ) -> tuple[ExtentSet, BlockBatch]:
        """Return the window with its blocks and their digests."""
        return window, await self._session.digest_blocks(self._disk, numbers, content)

    async def put(self, digested: tuple[ExtentSet, BlockBatch], /) -> bool:
        """Place the blocks; return whether a pack is full."""
        await self._watch.look()
        window, batch = digested
        changed = None if self._changed is None else self._changed & window
        await self._session.place_blocks(self._disk, batch, changed=changed)
        return self._session.has_full_packs

    async def publish(self) -> None:
        """Make full packs durable."""
        await self._session.publish_full()


async def copy(
    ports: Ports,
    session: WriteSession,
    disk: VirtualDisk,
    /,
    *,
    snapshots: Snapshots,
    overlay: Overlay,
    plan: Plan,
    watch: RoomWatch,
) -> DiskRecord:
    """Bring one disk into the repository and return its record."""
    kind = plan.transfer.kind
    await session.begin_disk(
        disk.id, disk.size, inherit=None if kind is TransferKind.FULL else disk.id
    )
    if kind is TransferKind.COMPARE:
        await session.keep_only(disk.id, plan.extents)
    lost = await session.lost(disk.id)
    source = snapshots.sources[disk.id]
    changed = plan.changed if kind is TransferKind.INCREMENTAL else None
    read = await copy_disk(
        disk.id,
        source=ports.disk_io,
        snapshot=source.snapshot,
        through=source.through,
        extents=plan.extents | lost,
        block=session.block_size,
        patch=overlay.applied,
        sink=_SessionSink(session, disk.id, changed, watch=watch),
        runtime=ports.runtime,
    )
    sent = session.sent(disk.id)
    ports.tracer(
        DiskCopied(
            at=ports.runtime.now(),
            run=session.run,
            disk=disk.id,
            bytes_read=read,
            bytes_sent=sent.total,
            sent=sent,
        )
    )
    return DiskRecord(
        disk=disk.id,
        size=disk.size,
        transfer=plan.transfer,
        snapshot=source.snapshot,
        sources=plan.sources,
        skew=overlay.skew,
        mask=overlay.mask,
        bytes_read=read,
        bytes_sent=sent.total,
        digest=session.root_digest(disk.id),
        sampled=plan.audit.sampled,
        population=plan.audit.population,
        doubted=plan.doubted,
    )


async def copy_all(
    ports: Ports,
    session: WriteSession,
    machine: Machine,
    /,
    *,
    snapshots: Snapshots,
    overlays: Mapping[DiskId, Overlay],
    plans: Mapping[DiskId, Plan],
    watch: RoomWatch,
) -> tuple[DiskRecord, ...]:
    """Bring every disk into the repository, one after the other, and return their records.

    Each keeps all cores busy; what comes to lie where, and which of two equal blocks is stored,
    depends on nobody's speed.
    """
    return tuple(
        [
            await copy(
                ports,
                session,
                disk,
                snapshots=snapshots,
                overlay=overlays[disk.id],
                plan=plans[disk.id],
                watch=watch,
            )
            for disk in machine.disks
        ]
    )


def doubts(records: tuple[DiskRecord, ...], /) -> str:
    """Return why disks were compared, or nothing where none was."""
    return ", ".join(
        f"{record.disk}: {record.transfer.reason.value}"
        for record in records
        if record.transfer.kind is TransferKind.COMPARE
        or record.transfer.reason is TransferReason.TRACKER_LIED
    )


def scanned(records: tuple[DiskRecord, ...], /) -> bool:
    """Return whether a disk was read as a whole although the machine's back end has trackers."""
    return any(
        (
            record.transfer.kind is TransferKind.COMPARE
            and record.transfer.reason is not TransferReason.NO_TRACKER
        )
        or record.transfer.reason is TransferReason.TRACKER_LIED
        for record in records
    )
