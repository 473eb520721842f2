"""I10: a point exists whole or not at all, from the instant in which it becomes visible."""

from reference_engine.model.identity import MachineId, RecoveryPointId
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
    _judge_replica(evidence, finding)


def _judge_replica(evidence: Evidence, finding: Finding) -> None:
    """Check that a second repository has no point before an older one of its machine."""
    there: dict[MachineId, list[RecoveryPointId]] = {}
    known = {point.id: point for point in evidence.points()}
    for replica in evidence.replica:
        there.setdefault(known[replica].machine.id, []).append(replica)
    for machine, replicas in there.items():
        made = [point.id for point in known.values() if point.machine.id == machine]
        first = made.index(replicas[0])
        finding.check(
            machine,
            "has points in the second repository out of their order",
            holds=replicas == made[first : first + len(replicas)],
        )


INVARIANT = Invariant(id="I10", title="points exist whole or not at all", judge=_judge)
