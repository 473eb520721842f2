"""I8: an incremental delta has the word of every node that wrote the disk since the base."""

from bisect import bisect_right

from reference_engine.model.machine import BackEnd
from reference_engine.model.recovery_point import DiskRecord, RecoveryPoint, TransferKind
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant
from simulator.world.truth import first_stamp


def _judge(evidence: Evidence, finding: Finding) -> None:
    points = {point.id: point for point in evidence.points()}
    for point in points.values():
        base = None if point.base is None else points.get(point.base)
        for record in point.disks:
            before = None if base is None else base.disk(record.disk)
            if base is None or before is None:
                continue
            if record.transfer.kind is not TransferKind.INCREMENTAL:
                continue
            if point.machine.back_end is BackEnd.REFERENCE_POINT:
                finding.check(
                    point.id,
                    f"{record.disk} was tracked from another instant than its base's",
                    holds=record.sources == (base.tracker,),
                )
                continue
            silent = _writers(evidence, point, record, before) - set(record.sources)
            finding.check(
                point.id,
                f"nobody asked {', '.join(sorted(silent))}, which wrote {record.disk}",
                holds=not silent,
            )


def _writers(
    evidence: Evidence, point: RecoveryPoint, record: DiskRecord, before: DiskRecord
) -> set[str]:
    """Return the nodes through which the disk was written between the two host snapshots."""
    first = evidence.truth.host_cuts[before.snapshot].stamp
    last = evidence.truth.host_cuts[record.snapshot].stamp
    log = evidence.truth.writes[point.machine.id]  # in write order
    begin, end = bisect_right(log, first, key=first_stamp), bisect_right(log, last, key=first_stamp)
    return {batch.node for batch in log[begin:end] if batch.disk == record.disk}


INVARIANT = Invariant(id="I8", title="deltas ask every node that wrote the disk", judge=_judge)
