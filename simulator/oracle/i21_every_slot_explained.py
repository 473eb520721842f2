"""I21: each slot was run or is missed by name, and whatever is not OK says why."""

from reference_engine.model.identity import MachineId
from reference_engine.model.outcome import Outcome
from reference_engine.trace.engine import JobEnded, RunEnded, SlotsMissed
from simulator.oracle.evidence import Evidence
from simulator.oracle.landings import judge_ends
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    known: dict[MachineId, set[int]] = {}
    for fact in evidence.facts:
        match fact:
            case JobEnded():
                known.setdefault(fact.machine, set()).add(fact.slot)
                finding.check(
                    f"{fact.machine} slot {fact.slot + 1}",
                    f"ended as {fact.outcome} without a cause",
                    holds=fact.outcome is Outcome.OK or bool(fact.cause),
                )
            case RunEnded():
                finding.check(
                    fact.run,
                    f"ended as {fact.outcome} without a cause",
                    holds=fact.outcome is Outcome.OK or bool(fact.cause),
                )
            case SlotsMissed():
                known.setdefault(fact.machine, set()).update(range(fact.first, fact.last + 1))
            case _:
                pass
    for machine, slots in evidence.slots.items():
        for slot in range(len(slots)):
            finding.check(
                f"{machine} slot {slot + 1}",
                "was neither run nor missed by name",
                holds=slot in known.get(machine, set()) or bool(evidence.finished),
            )
    judge_ends(evidence, finding)


INVARIANT = Invariant(id="I21", title="every slot and every failure is explained", judge=_judge)
