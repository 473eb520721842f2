"""Step S11: what a point says of itself."""

from reference_engine.jobs.snapshotting import Snapshots
from reference_engine.model.identity import RecoveryPointId, ReferencePointId, RunTag
from reference_engine.model.machine import Machine
from reference_engine.model.recovery_point import Consistency, DiskRecord, RecoveryPoint
from reference_engine.model.units import Duration, Instant
from reference_engine.reconcile.labels import Label


def describe_point(
    point: RecoveryPointId,
    machine: Machine,
    snapshots: Snapshots,
    /,
    *,
    run: RunTag,
    base: RecoveryPoint | None,
    label: Label,
    records: tuple[DiskRecord, ...],
    tracker: ReferencePointId | None,
    downtime: Duration | None,
    engine_instant: Instant,
) -> RecoveryPoint:
    """Return the point's record: the instant that belongs to its data, and where each came from."""
    guest = snapshots.guest
    at_rest = label.consistency is Consistency.APPLICATION and guest is not None
    return RecoveryPoint(
        id=point,
        machine=machine,
        run=run,
        base=None if base is None else base.id,
        consistency=label.consistency,
        downgrade=label.downgrade,
        instant=guest.clock if at_rest and guest is not None else snapshots.host_instant,
        guest_instant=None if guest is None else guest.clock,
        host_instant=snapshots.host_instant,
        guest_snapshot=None if guest is None else guest.id,
        tracker=tracker,
        disks=records,
        downtime=downtime,
        engine_instant=engine_instant,
    )
