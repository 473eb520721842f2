"""I10: a point exists whole or not at all, from the instant in which it becomes visible."""

from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    for proof in evidence.proofs.values():
        finding.check(
            proof.point.id,
            f"became visible before it could be restored: {proof.unreadable}",
            holds=not proof.unreadable or evidence.may_be_unreadable(proof.point),
        )
    for restore in evidence.later:
        first = evidence.proofs.get(restore.point)
        finding.check(
            restore.point,
            f"is visible but not whole: {restore.unreadable}",
            holds=not restore.unreadable
            or evidence.damaged
            or (first is not None and evidence.may_be_unreadable(first.point)),
        )
    visible = {*evidence.visible, *evidence.expired()}
    for point in evidence.points():
        finding.check(point.id, "was committed but is not visible", holds=point.id in visible)


INVARIANT = Invariant(id="I10", title="points exist whole or not at all", judge=_judge)
