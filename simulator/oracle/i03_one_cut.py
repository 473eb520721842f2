"""I3: a crash-consistent point is one cut through the write order of all disks of the machine."""

from reference_engine.model.recovery_point import Consistency, RecoveryPoint
from simulator.oracle.evidence import Evidence, PointProof
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    for proof in evidence.proofs.values():
        if proof.point.consistency is not Consistency.APPLICATION:
            _judge_point(evidence, finding, proof.point, proof)


def _judge_point(
    evidence: Evidence, finding: Finding, point: RecoveryPoint, proof: PointProof
) -> None:
    finding.check(
        point.id,
        f"cannot be restored: {proof.unreadable}",
        holds=not proof.unreadable or evidence.may_be_unreadable(point),
    )
    stamps = {evidence.truth.host_cuts[record.snapshot].stamp for record in point.disks}
    finding.check(
        point.id,
        f"its disks come from {len(stamps)} different instants of the write order",
        holds=len(stamps) == 1,
    )
    for disk in proof.disks:
        record = point.disk(disk.disk)
        wrong = disk.wrong if record is None else evidence.unexcused(point, record, disk.wrong)
        # The truth that the proof compared with is the write log replayed up to that instant.
        finding.check(
            point.id,
            f"{disk.disk} differs from the write order's cut in {wrong.total} bytes",
            holds=not wrong and not disk.not_blank,
        )


INVARIANT = Invariant(
    id="I3", title="crash-consistent points are one cut of the write order", judge=_judge
)
