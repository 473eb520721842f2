"""I15: whatever clocks do, points keep the order in which they were committed, and stay."""

from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    points = evidence.points()
    if not points:
        return
    finding.check(
        "the repository",
        "does not list the points in the order of their commits",
        holds=[point.id for point in points if point.id in evidence.visible]
        == [point for point in evidence.visible if point in {each.id for each in points}],
    )


INVARIANT = Invariant(id="I15", title="clocks neither order nor expire points", judge=_judge)
