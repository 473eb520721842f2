"""I5: what an incremental run reads covers every byte that differs from its base."""

from reference_engine.model.recovery_point import TransferKind
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    points = {point.id: point for point in evidence.points()}
    deltas = evidence.deltas()
    for point in points.values():
        base = None if point.base is None else points.get(point.base)
        for record in point.disks:
            before = None if base is None else base.disk(record.disk)
            if record.transfer.kind is not TransferKind.INCREMENTAL:
                continue
            finding.check(point.id, "is incremental without a base", holds=before is not None)
            if base is None or before is None:
                continue
            now = evidence.true_image(point, record)
            then = evidence.true_image(base, before)
            differs = evidence.as_bytes(record.disk, now.differs(then), record.size)
            missed = differs - deltas[point.run, record.disk].extents
            missed = evidence.unexcused(point, record, missed)
            finding.check(
                point.id,
                f"{record.disk} differs from its base in {missed.total} bytes that nobody read",
                holds=not missed,
            )


INVARIANT = Invariant(id="I5", title="deltas cover every true difference", judge=_judge)
