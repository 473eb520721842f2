"""I14: what is reclaimed is needed by no point, and no point goes that the rules keep."""

from collections import defaultdict

from reference_engine.model.identity import MachineId, RecoveryPointId, RunTag
from reference_engine.model.outcome import Step
from reference_engine.model.units import Instant
from reference_engine.trace.cluster import PointBecameVisible, PointsBecameInvisible
from reference_engine.trace.engine import SpaceReclaimed, StepEntered
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    listed: dict[MachineId, list[RecoveryPointId]] = defaultdict(list)
    made: dict[RecoveryPointId, tuple[Instant, MachineId]] = {}
    staged: dict[RunTag, Instant] = {}
    for fact in evidence.facts:
        match fact:
            case StepEntered(step=Step.STAGE):
                # What the point says of its age is written down before it is committed.
                staged[fact.run] = fact.at
            case PointBecameVisible():
                at = staged.get(fact.point.run, fact.at)
                made[fact.point.id] = at, fact.point.machine.id
                listed[fact.point.machine.id].append(fact.point.id)
            case PointsBecameInvisible():
                # Behind a disk that lost an entry, the same points may go once more.
                going = [point for point in fact.points if point in listed[made[point][1]]]
                for point in going:
                    at, machine = made[point]
                    _judge_expiry(evidence, finding, point, listed[machine], fact.at - at)
                for point in going:
                    listed[made[point][1]].remove(point)
            case _:
                pass
    expired = evidence.expired()
    reclaimed = any(isinstance(fact, SpaceReclaimed) for fact in evidence.facts)
    for restore in evidence.later:
        proof = evidence.proofs.get(restore.point)
        finding.check(
            restore.point,
            f"cannot be restored after space was reclaimed: {restore.unreadable}",
            holds=not restore.unreadable
            or not reclaimed
            or evidence.damaged
            or (proof is not None and evidence.may_be_unreadable(proof.point)),
        )
        finding.check(
            restore.point, "has expired and is listed", holds=restore.point not in expired
        )


def _judge_expiry(
    evidence: Evidence,
    finding: Finding,
    point: RecoveryPointId,
    listed: list[RecoveryPointId],
    age: int,
) -> None:
    newer = len(listed) - 1 - listed.index(point)
    finding.check(
        point,
        f"has expired with {newer} newer ones, though {evidence.keep_last} are kept",
        holds=newer >= max(1, evidence.keep_last),
    )
    finding.check(
        point,
        f"has expired {age / 1e6:g} s after it was made, before it may",
        holds=age >= evidence.immutable_for,
    )


INVARIANT = Invariant(id="I14", title="nothing goes that a point or a rule needs", judge=_judge)
