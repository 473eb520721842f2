"""Why a disk was copied in full, by comparison or incrementally."""

from typing import Final

from reference_engine.model.identity import DiskId
from reference_engine.model.machine import BackEnd, Machine
from reference_engine.model.recovery_point import (
    RecoveryPoint,
    Transfer,
    TransferKind,
    TransferReason,
)
from reference_engine.ports.change_tracking import TrackerState


def choose_transfer(
    machine: Machine,
    disk: DiskId,
    /,
    *,
    base: RecoveryPoint | None,
    trackers: tuple[TrackerState, ...],
) -> Transfer:
    """Return an incremental transfer only where nothing speaks against it."""
    record = None if base is None else base.disk(disk)
    if base is None or record is None:
        return Transfer(kind=TransferKind.FULL, reason=TransferReason.FIRST)
    doubt = _doubt(machine, disk, base=base, base_size=record.size, trackers=trackers)
    if doubt is not None:
        return Transfer(kind=TransferKind.COMPARE, reason=doubt)
    return Transfer(kind=TransferKind.INCREMENTAL, reason=TransferReason.TRACKED)


def _doubt(
    machine: Machine,
    disk: DiskId,
    *,
    base: RecoveryPoint,
    base_size: int,
    trackers: tuple[TrackerState, ...],
) -> TransferReason | None:
    other = _another_disk(machine, disk, base=base, base_size=base_size)
    if other is not None:
        return other
    if _tells_nothing(machine, base=base, trackers=trackers):
        return TransferReason.NO_TRACKER
    if machine.back_end is BackEnd.REFERENCE_POINT:
        return None
    doubts = [_of_tracker(tracker, base) for tracker in trackers]
    return next((doubt for doubt in _WORST_FIRST if doubt in doubts), None)


_WORST_FIRST: Final = (
    TransferReason.TRACKER_UNREACHABLE,
    TransferReason.TRACKER_LOST,
    TransferReason.TRACKER_AHEAD,
)


def _of_tracker(tracker: TrackerState, base: RecoveryPoint) -> TransferReason | None:
    if not tracker.reachable:
        return TransferReason.TRACKER_UNREACHABLE
    if not tracker.intact:
        return TransferReason.TRACKER_LOST
    return TransferReason.TRACKER_AHEAD if _begins_after(tracker, base) else None


def _begins_after(tracker: TrackerState, base: RecoveryPoint) -> bool:
    """Return whether the map began with a later run than the base's: that one's point is gone."""
    return tracker.since is not None and tracker.since.epoch > base.run.epoch


def _tells_nothing(
    machine: Machine, /, *, base: RecoveryPoint, trackers: tuple[TrackerState, ...]
) -> bool:
    """Return whether nothing on the host could know what changed since the base."""
    match machine.back_end:
        case BackEnd.HOST_SNAPSHOT:
            return False
        case BackEnd.CHECKPOINT:
            return True
        case BackEnd.REFERENCE_POINT:
            return base.tracker is None
        case BackEnd.DISK_FILE:
            return not trackers


def _another_disk(
    machine: Machine, disk: DiskId, *, base: RecoveryPoint, base_size: int
) -> TransferReason | None:
    """Return why what the base's trackers began with is not what they would speak of now."""
    if machine.disk(disk).size != base_size:
        return TransferReason.DISK_RESIZED
    if machine.disk(disk).lineage != base.machine.disk(disk).lineage:
        return TransferReason.DISK_REPLACED
    if machine.back_end is not base.machine.back_end:
        return TransferReason.BACK_END_CHANGED
    return None


def after_lie(transfer: Transfer, /) -> Transfer:
    """Return what becomes of a transfer whose tracker was found to have missed something.

    Nothing of the base is asked any more. A comparison would read back what it cannot trust, which
    after a lie may be most of the disk.
    """
    assert transfer.kind is TransferKind.INCREMENTAL, transfer
    return Transfer(kind=TransferKind.FULL, reason=TransferReason.TRACKER_LIED)


def after_lost_tracker(transfer: Transfer, /) -> Transfer:
    """Return what becomes of a transfer whose tracker could not answer after all."""
    if transfer.kind is TransferKind.INCREMENTAL:
        return Transfer(kind=TransferKind.COMPARE, reason=TransferReason.TRACKER_LOST)
    return transfer
