"""I6: an incremental run reads again all that its base had put back to another instant (R)."""

from reference_engine.model.recovery_point import TransferKind
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    points = {point.id: point for point in evidence.points()}
    deltas = evidence.deltas()
    for point in points.values():
        base = None if point.base is None else points.get(point.base)
        for record in point.disks:
            if base is None or record.transfer.kind is not TransferKind.INCREMENTAL:
                continue
            before = base.disk(record.disk)
            switched = evidence.truth.switched.get((base.run, record.disk))
            if before is None or switched is None:
                continue
            image = evidence.true_image(base, before)
            skew = (
                evidence.as_bytes(record.disk, image.differs(switched), record.size) | before.mask
            )
            missed = skew - deltas[point.run, record.disk].extents
            finding.check(
                point.id,
                f"{record.disk} does not carry {missed.total} bytes of its base's skew",
                holds=not missed,
            )


INVARIANT = Invariant(id="I6", title="the skew set is carried into the next delta", judge=_judge)
