"""I17: limits of runs hold everywhere and always, and checkpoints never pile up."""

from collections import Counter

from reference_engine.model.identity import RunTag
from reference_engine.trace.cluster import FaultInjected, NodeChanged
from reference_engine.trace.engine import VolumesReleased, VolumesTaken
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    if any(
        isinstance(fact, FaultInjected) and fact.kind == "engine-twin" for fact in evidence.facts
    ):
        return  # an engine keeps its limits; two engines know nothing of each other
    for run, depth in evidence.truth.depths:
        finding.check(run, f"took a checkpoint on top of {depth} others", holds=depth == 0)
    taken: dict[RunTag, VolumesTaken] = {}
    for fact in evidence.facts:
        match fact:
            case VolumesTaken():
                taken[fact.run] = fact
                _judge_now(evidence, finding, list(taken.values()))
            case VolumesReleased():
                taken.pop(fact.run, None)
            case NodeChanged(node="engine", running=False):
                taken.clear()
            case _:
                pass


def _judge_now(evidence: Evidence, finding: Finding, taken: list[VolumesTaken]) -> None:
    limits = evidence.limits
    newest = taken[-1]
    volumes = Counter(volume for each in taken for volume in each.volumes)
    nodes = Counter(each.node for each in taken)
    finding.check(newest.run, f"is the {len(taken)}th at once", holds=len(taken) <= limits.at_once)
    for volume in newest.volumes:
        finding.check(
            newest.run,
            f"is the {volumes[volume]}th on {volume}",
            holds=volumes[volume] <= limits.per_volume,
        )
    finding.check(
        newest.run,
        f"is the {nodes[newest.node]}th on {newest.node}",
        holds=nodes[newest.node] <= limits.per_node,
    )


INVARIANT = Invariant(id="I17", title="limits of runs and checkpoints hold", judge=_judge)
