"""I18: every run ends in bounded time, and the guest is thawed within its bound on every path."""

from reference_engine.model.identity import MachineId, RunTag
from reference_engine.model.units import Instant
from reference_engine.trace.cluster import GuestFroze, GuestThawed, NodeChanged
from reference_engine.trace.engine import JobEnded, PointCommitted, RunEnded, RunOpened
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    finding.check("the night", f"did not end: {evidence.finished}", holds=not evidence.finished)
    frozen: dict[MachineId, Instant] = {}
    running: dict[RunTag, Instant] = {}
    for fact in evidence.facts:
        match fact:
            case GuestFroze():
                frozen[fact.machine] = fact.at
            case GuestThawed():
                lasted = fact.at - frozen.pop(fact.machine, fact.at)
                finding.check(
                    fact.machine,
                    f"its guest was frozen for {lasted / 1e6:g} s",
                    holds=lasted <= evidence.freeze_bound,
                )
            case RunOpened():
                running[fact.run] = fact.at
            case RunEnded():
                running.pop(fact.run, None)
            case NodeChanged(running=False) if fact.node.startswith("engine"):
                running.clear()  # a dead engine's runs end with it; its successor clears up
            case JobEnded() | PointCommitted():
                pass
            case _:
                pass
    for machine in evidence.frozen_guests:
        finding.check(machine, "its guest is frozen for ever", holds=False)
    for run in running:
        finding.check(run, "never ended", holds=False)
    for left in evidence.leftovers:
        finding.check(left, "was left behind", holds=False)


INVARIANT = Invariant(id="I18", title="runs end and guests thaw in bounded time", judge=_judge)
