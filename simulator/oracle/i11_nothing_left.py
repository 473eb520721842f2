"""I11: nothing of ours stays on a host after its run, and nothing of others is ever touched."""

from typing import Final

from reference_engine.model.identity import RunTag, SnapshotId
from reference_engine.trace.cluster import FaultInjected, HostSnapshotTaken, SnapshotReleased
from reference_engine.trace.engine import RunEnded, RunOpened, VolumesReleased
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant

_RUNS_MOST: Final = 3
"""Runs that may begin and end beside a snapshot, where something hinders them from clearing it."""


class _Held:
    """A snapshot that is there, and the runs that found it when they began."""

    def __init__(self, run: RunTag, *, late: bool) -> None:
        self.run = run
        self.late = late
        """Whether its run had given it up: it may appear after the run's last look at the host."""

        self.found_by: set[RunTag] = set()
        self.outlived = 0


def _judge(evidence: Evidence, finding: Finding) -> None:
    undisturbed = not any(isinstance(fact, FaultInjected) for fact in evidence.facts)
    there: dict[SnapshotId, _Held] = {}
    given_up: set[RunTag] = set()
    for fact in evidence.facts:
        match fact:
            case HostSnapshotTaken():
                there[fact.snapshot] = _Held(fact.run, late=fact.run in given_up)
            case SnapshotReleased():
                there.pop(fact.snapshot, None)
            case VolumesReleased():
                given_up.add(fact.run)
            case RunOpened():
                for held in there.values():
                    held.found_by.add(fact.run)
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
    finding: Finding, there: dict[SnapshotId, _Held], ended: RunTag, *, undisturbed: bool
) -> None:
    """What cannot be cleared at once is cleared by one of the next runs.

    Only runs that found the snapshot count: where two engines overtake each other, one may take
    it when many later runs have begun already. What a host made of an order that had been given up
    is for the next run: the order's own run may have looked for the last time.
    """
    for snapshot, held in there.items():
        if held.run.machine == ended.machine:
            held.outlived += ended in held.found_by
            gone_by_now = undisturbed and held.run.epoch <= ended.epoch
            gone_by_now = gone_by_now and (not held.late or ended in held.found_by)
            finding.check(
                snapshot,
                f"of run {held.run} exists still at the end of run {ended}",
                holds=not gone_by_now and held.outlived < _RUNS_MOST,
            )
    finding.checked += 1


INVARIANT = Invariant(
    id="I11", title="nothing is left behind, nothing foreign touched", judge=_judge
)
