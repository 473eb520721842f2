"""I21: each slot was run or is missed by name once it is over, and whatever is not OK says why."""

from reference_engine.model.identity import MachineId
from reference_engine.model.outcome import Outcome
from reference_engine.trace.cluster import MachinePlaced
from reference_engine.trace.engine import JobEnded, RunEnded, SlotsMissed
from simulator.oracle.evidence import Evidence
from simulator.oracle.landings import judge_ends
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    known: dict[MachineId, set[int]] = {}
    gone: set[MachineId] = set()
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
                finding.check(
                    f"{fact.machine} slot {fact.last + 1}",
                    f"was given up beforehand ({fact.cause}) though its machine was there",
                    holds=fact.machine in gone or _over(evidence, fact),
                )
            case MachinePlaced(node=None, why="deleted"):
                gone.add(fact.machine)
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


def _over(evidence: Evidence, missed: SlotsMissed) -> bool:
    """Return whether the time of what was missed was past; of machines found nobody knows it."""
    due = evidence.slots.get(missed.machine, ())
    return missed.last >= len(due) or due[missed.last] <= missed.at


INVARIANT = Invariant(id="I21", title="every slot and every failure is explained", judge=_judge)
