"""I1: every committed point still restores to what it was, after everything that came later."""

from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    for restore in (*evidence.later, *evidence.looks):
        proof = evidence.proofs.get(restore.point)
        finding.check(
            restore.point,
            f"cannot be restored: {restore.unreadable}",
            holds=not restore.unreadable
            or evidence.damaged
            or (proof is not None and evidence.may_be_unreadable(proof.point)),
        )
        if proof is None or restore.unreadable or proof.unreadable:
            continue
        for disk in proof.disks:
            finding.check(
                restore.point,
                f"{disk.disk} is no longer what it was when it was committed",
                holds=restore.fingerprints.get(disk.disk) == disk.fingerprint,
            )
    expired = evidence.expired()
    restored = {restore.point for restore in evidence.later}
    for point in evidence.points():
        finding.check(
            point.id,
            "was committed and is gone",
            holds=point.id in restored or point.id in expired,
        )


INVARIANT = Invariant(
    id="I1", title="committed points keep restoring to what they were", judge=_judge
)
