"""I2: an application-consistent point is the guest's own snapshot, bit for bit, on every disk."""

from reference_engine.model.recovery_point import Consistency
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    for proof in evidence.proofs.values():
        point = proof.point
        if point.consistency is not Consistency.APPLICATION:
            continue
        finding.check(
            point.id,
            f"cannot be restored: {proof.unreadable}",
            holds=not proof.unreadable or evidence.may_be_unreadable(point),
        )
        for disk in proof.disks:
            record = point.disk(disk.disk)
            assert record is not None, disk.disk
            wrong = evidence.unexcused(point, record, disk.wrong)
            finding.check(
                point.id,
                f"{disk.disk} differs from the guest's snapshot in {wrong.total} bytes, "
                f"first at {wrong.bounds[0, 0] if wrong else 0}",
                holds=not wrong,
            )
            finding.check(
                point.id,
                f"{disk.disk} masks bytes outside the guest's diff area",
                holds=record.mask <= evidence.diff_area(point, disk.disk),
            )
            finding.check(
                point.id,
                f"{disk.disk} has content inside its mask",
                holds=not disk.not_blank,
            )


INVARIANT = Invariant(
    id="I2", title="application-consistent points equal the guest's snapshot at Tg", judge=_judge
)
