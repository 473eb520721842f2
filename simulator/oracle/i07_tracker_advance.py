"""I7: tracker state is dropped only after a durable commit, and merged back after an abort."""

from reference_engine.model.identity import MachineId, ReferencePointId, RunTag
from reference_engine.trace.cluster import (
    MapDropped,
    MapMerged,
    PointBecameVisible,
    ReferencePointDropped,
)
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    visible = set(evidence.visible)
    lasting = {
        fact.point.run
        for fact in evidence.facts
        if isinstance(fact, PointBecameVisible) and fact.point.id in visible
    }
    committed: set[RunTag] = set()
    needed: dict[MachineId, ReferencePointId | None] = {}
    for fact in evidence.facts:
        match fact:
            case PointBecameVisible():
                committed.add(fact.point.run)
                # What a lying disk lost is needed by nobody, and that is known to nobody yet.
                lost = fact.point.id in evidence.lost
                needed[fact.point.run.machine] = None if lost else fact.point.tracker
            case MapDropped(why="engine"):
                finding.check(
                    fact.run,
                    f"its map of {fact.disk} on {fact.node} was dropped before it had committed",
                    holds=fact.run in committed,
                )
            case MapMerged():
                finding.check(
                    fact.run,
                    f"its map of {fact.disk} on {fact.node} was merged back although it committed",
                    holds=fact.run not in lasting,
                )
            case ReferencePointDropped():
                finding.check(
                    fact.run,
                    f"reference point {fact.point} was dropped while the newest point needs it",
                    holds=needed.get(fact.machine) != fact.point,
                )
            case _:
                pass
    for kept in evidence.frozen_maps:
        finding.check(kept, "is frozen still, neither dropped nor merged back", holds=False)


INVARIANT = Invariant(
    id="I7", title="trackers advance after the commit, and go back after an abort", judge=_judge
)
