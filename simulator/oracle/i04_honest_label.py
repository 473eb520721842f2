"""I4: the label never claims more than happened, and names what is missing."""

from reference_engine.model.recovery_point import Consistency, RecoveryPoint
from reference_engine.trace.cluster import MachinePlaced, MachineSaved, PointBecameVisible
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    for point in evidence.points():
        if point.consistency is Consistency.APPLICATION:
            _judge_application(evidence, finding, point)
        else:
            finding.check(
                point.id, "is crash-consistent and does not say why", holds=bool(point.downgrade)
            )
        clocks = {evidence.truth.host_cuts[record.snapshot].clock for record in point.disks}
        finding.check(
            point.id,
            "states another host instant than the host's clock showed",
            holds=point.host_instant in clocks,
        )
        _judge_saved(evidence, finding, point)
        if point.consistency is not Consistency.APPLICATION:
            finding.check(
                point.id,
                "claims another instant than its data has",
                holds=point.instant in clocks,
            )
        finding.check(
            point.id,
            "does not name the disks that no snapshot reaches",
            holds=point.machine.unprotected == evidence.unprotected.get(point.machine.id, ()),
        )
        finding.check(
            point.id,
            "lacks a disk of its machine without saying so",
            holds={disk.id for disk in point.machine.disks}
            == {record.disk for record in point.disks},
        )


def _judge_saved(evidence: Evidence, finding: Finding, point: RecoveryPoint) -> None:
    """Whoever says that the machine was saved had it saved, from before the cut until after it."""
    if point.consistency is not Consistency.SAVED:
        return
    first = last = None
    for fact in evidence.facts:
        match fact:
            case MachineSaved() if fact.run == point.run:
                first, last = fact.at, None
            case MachinePlaced() if (
                fact.machine == point.machine.id and first is not None and last is None
            ):
                last = fact.at if fact.node is not None else None
            case _:
                pass
    cuts = [evidence.truth.host_cuts[record.snapshot].at for record in point.disks]
    finding.check(
        point.id,
        "claims that its machine was saved, and it was not when the disks were cut",
        holds=first is not None and all(first <= cut <= (last or cut) for cut in cuts),
    )
    [said] = [
        fact.at
        for fact in evidence.facts
        if isinstance(fact, PointBecameVisible) and fact.point.id == point.id
    ]
    finding.check(
        point.id,
        "does not say for how long its machine stood still",
        holds=(point.downtime is not None) == (last is not None and last <= said),
    )


def _judge_application(evidence: Evidence, finding: Finding, point: RecoveryPoint) -> None:
    cut = (
        None
        if point.guest_snapshot is None
        else evidence.truth.guest_cuts.get(point.guest_snapshot)
    )
    finding.check(
        point.id, "is application-consistent without a guest snapshot", holds=cut is not None
    )
    if cut is None:
        return
    finding.check(
        point.id,
        "lacks a disk that its machine had at its instant",
        holds=set(cut.images) == {record.disk for record in point.disks},
    )
    finding.check(point.id, "claims the guest snapshot of another run", holds=cut.run == point.run)
    finding.check(
        point.id,
        "claims another instant than its data has",
        holds=point.instant == cut.clock and point.guest_instant == cut.clock,
    )


INVARIANT = Invariant(id="I4", title="labels claim no more than happened", judge=_judge)
