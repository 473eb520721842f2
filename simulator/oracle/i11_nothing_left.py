"""I11: nothing of ours stays on a host after its run, and nothing of others is ever touched."""

from reference_engine.model.identity import RunTag, SnapshotId
from reference_engine.trace.cluster import FaultInjected, HostSnapshotTaken, SnapshotReleased
from reference_engine.trace.engine import RunEnded
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    undisturbed = not any(isinstance(fact, FaultInjected) for fact in evidence.facts)
    there: dict[SnapshotId, RunTag] = {}
    for fact in evidence.facts:
        match fact:
            case HostSnapshotTaken():
                there[fact.snapshot] = fact.run
            case SnapshotReleased():
                there.pop(fact.snapshot, None)
            case RunEnded():
                _judge_end(finding, there, fact.run, undisturbed=undisturbed)
            case _:
                pass
    for left in evidence.leftovers:
        finding.check(left, "was left behind", holds=False)
    for harmed in evidence.foreign_harmed:
        finding.check(harmed, "is gone, and was not ours", holds=False)
    for volume in evidence.redirected:
        finding.check(volume, "is redirected still", holds=False)
    for volume in evidence.astray if undisturbed else ():
        finding.check(volume, "was moved and never given back", holds=False)


def _judge_end(
    finding: Finding, there: dict[SnapshotId, RunTag], ended: RunTag, *, undisturbed: bool
) -> None:
    """What cannot be cleared at once is cleared by the next run, and never outlives that."""
    patience = 0 if undisturbed else 3
    for snapshot, run in there.items():
        if run.machine == ended.machine:
            finding.check(
                snapshot,
                f"of run {run} exists still at the end of run {ended}",
                holds=run.epoch + patience > ended.epoch,
            )
    finding.checked += 1


INVARIANT = Invariant(
    id="I11", title="nothing is left behind, nothing foreign touched", judge=_judge
)
