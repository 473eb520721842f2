"""What led to one point: two snapshots, who spoke, what was put back, what went on meanwhile."""

from collections.abc import Iterator
from typing import Final

import msgspec

from reference_engine.model.identity import DiskId, MachineId, RunTag
from reference_engine.model.outcome import Step
from reference_engine.model.recovery_point import DiskRecord, RecoveryPoint, TransferReason
from reference_engine.model.units import Instant
from reference_engine.reporting.figures import precise_clock, size, span
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import (
    CoordinatorChanged,
    FaultInjected,
    GuestFroze,
    GuestSnapshotTaken,
    GuestThawed,
    HostSnapshotTaken,
    MachinePlaced,
    MapDropped,
    MapMerged,
    MapSwitched,
    MigrationEnded,
    MigrationStarted,
    NodeChanged,
    PointBecameVisible,
    ReferencePointCreated,
    ReferencePointDropped,
    SnapshotReleased,
)
from reference_engine.trace.engine import (
    DeltaEnumerated,
    DiskCopied,
    FreezeAnswered,
    LeftoversCleared,
    RouteChosen,
    RunEnded,
    RunOpened,
    SkewRecorded,
    StepEntered,
)
from simulator.campaign.trial import Trial
from simulator.oracle.evidence import ApplicationProof

_REASONS: Final = {
    TransferReason.FIRST: "it is the machine's first point",
    TransferReason.TRACKED: "every node that wrote it could vouch for its map",
    TransferReason.NO_TRACKER: "the base has no tracker to ask from",
    TransferReason.TRACKER_LOST: "a tracker lost what it knew",
    TransferReason.TRACKER_UNREACHABLE: "a node that wrote it did not answer",
    TransferReason.DISK_REPLACED: "another disk stands in its place",
    TransferReason.DISK_RESIZED: "the disk has another size than in the base",
}
_OWN: Final = "backup"
_WORLD: Final = "cluster"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the story."""

    at: Instant
    lane: str
    """`backup`, or `cluster` for what the backup did not do."""

    text: str


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The whole story of one run, and of its point if it came to one."""

    title: str
    start: Instant
    end: Instant
    facts: tuple[str, ...]
    """What is to be known, one sentence each."""

    moments: tuple[Moment, ...]
    guest_at: Instant | None
    host_at: Instant | None
    steps: tuple[tuple[Instant, Instant, str], ...]

    def lines(self) -> list[str]:
        """Return the story as text."""
        return [
            self.title,
            *(f"  {sentence}" for sentence in self.facts),
            *(
                f"{precise_clock(moment.at)}  {'  ' if moment.lane == _OWN else '* '}{moment.text}"
                for moment in self.moments
            ),
        ]


def story_of(trial: Trial, run: RunTag, /) -> Story:
    """Return the story of a run; its point's, if it made one that became visible."""
    facts = trial.evidence.facts
    start = next(fact.at for fact in facts if isinstance(fact, RunOpened) and fact.run == run)
    ended = [fact.at for fact in facts if isinstance(fact, RunEnded) and fact.run == run]
    last = [fact.at for fact in facts if getattr(fact, "run", None) == run]
    end = max(ended, default=max(last))
    points = {point.run: point for point in trial.evidence.points()}
    point = points.get(run)
    since = start
    if point is not None and point.base is not None:
        base = next(each for each in points.values() if each.id == point.base)
        since = min(
            fact.at for fact in facts if isinstance(fact, PointBecameVisible) and fact.point == base
        )
    machine = run.machine
    volumes = {disk.volume for disk in trial.night.world.machines[machine].disks}
    moments = [
        Moment(at=fact.at, lane=lane, text=text)
        for fact in facts
        if since <= fact.at <= end
        for lane, text in _told(fact, run, {str(volume) for volume in volumes})
    ]
    guest_at, host_at = _instants(trial, run)
    sentences = tuple(_failed(trial, run) if point is None else _made(trial, point))
    return Story(
        title=f"run {run}: no point" if point is None else f"point {point.id} of {run}",
        start=since,
        end=end,
        facts=sentences,
        moments=tuple(moments),
        guest_at=guest_at,
        host_at=host_at,
        steps=tuple(_steps(facts, run, end)),
    )


def _instants(trial: Trial, run: RunTag) -> tuple[Instant | None, Instant | None]:
    """Return the last Tg and the last Th of the run."""
    guest: Instant | None = None
    host: Instant | None = None
    for fact in trial.evidence.facts:
        if isinstance(fact, GuestSnapshotTaken) and fact.run == run:
            guest = fact.at
        elif isinstance(fact, HostSnapshotTaken) and fact.run == run:
            host = fact.at
    return guest, host


def _steps(
    facts: tuple[Fact, ...], run: RunTag, end: Instant
) -> Iterator[tuple[Instant, Instant, str]]:
    entered = [fact for fact in facts if isinstance(fact, StepEntered) and fact.run == run]
    for fact, after in zip(entered, [*(each.at for each in entered[1:]), end], strict=True):
        yield fact.at, after, _step(fact.step)


def _step(step: Step) -> str:
    return f"S{int(step)} {step.name.lower().replace('_', ' ')}"


def _failed(trial: Trial, run: RunTag) -> Iterator[str]:
    ends = [fact for fact in trial.evidence.facts if isinstance(fact, RunEnded) and fact.run == run]
    if not ends:
        yield "It never reported an end: its engine died."
    for fact in ends:
        yield f"It ended as {fact.outcome}: {fact.cause or 'no cause given'}."


def _made(trial: Trial, point: RecoveryPoint) -> Iterator[str]:
    guest_at, host_at = _instants(trial, point.run)
    if guest_at is not None and host_at is not None:
        yield (
            f"Tg, the guest's snapshot, fell at {precise_clock(guest_at)}; Th, the host's, at "
            f"{precise_clock(host_at)}: {span(host_at - guest_at)} later."
        )
    elif host_at is not None:
        yield f"There is no Tg; Th, the host's snapshot, fell at {precise_clock(host_at)}."
    why = f", because {point.downgrade}" if point.downgrade else ""
    yield f"It is {point.consistency.value}-consistent{why}."
    base = "nothing: it has no base" if point.base is None else f"point {point.base}"
    yield f"It was compared with {base}."
    for record in point.disks:
        yield from _disk(trial, point, record)
    proof = trial.evidence.proofs.get(point.id)
    if proof is not None:
        wrong = sum(disk.wrong.total + disk.not_blank.total for disk in proof.disks)
        yield (
            f"Restored at its commit: {proof.unreadable}"
            if proof.unreadable
            else "Restored at its commit, it equals the truth in every byte."
            if wrong == 0
            else f"Restored at its commit, {wrong:,} bytes differ from the truth."
        )
        if proof.application is not None:
            yield application_sentence(proof.application)


def application_sentence(proof: ApplicationProof, /) -> str:
    """Return what the application in the guest says of the restored disks."""
    opening = proof.opening
    if opening.problems:
        return f"The {proof.kind} in the guest does not open: {', '.join(opening.problems)}."
    how = "opens clean" if opening.clean else "opens after recovery"
    wanted = str(proof.committed)
    if proof.begun > proof.committed:
        wanted += f" or {proof.begun}"
    return (
        f"The {proof.kind} in the guest {how}, with {opening.transactions} transactions "
        f"({wanted} expected)."
    )


def _disk(trial: Trial, point: RecoveryPoint, record: DiskRecord) -> Iterator[str]:
    kind, reason = record.transfer.kind.value, _REASONS[record.transfer.reason]
    asked = f"; the trackers that spoke: {', '.join(record.sources)}" if record.sources else ""
    yield f"{record.disk}: {kind}, because {reason}{asked}."
    carried = _carried(trial, point, record.disk)
    yield (
        f"{record.disk}: R holds {size(record.skew.total)}, {size(record.mask.total)} are masked; "
        f"{size(carried)} were carried over from the base's R; {size(record.bytes_read)} read, "
        f"{size(record.bytes_sent)} new."
    )


def _carried(trial: Trial, point: RecoveryPoint, disk: DiskId) -> int:
    base = next((each for each in trial.evidence.points() if each.id == point.base), None)
    record = None if base is None else base.disk(disk)
    delta = trial.evidence.deltas().get((point.run, disk))
    if record is None or delta is None:
        return 0
    return (record.skew & delta.extents).total


def _told(fact: Fact, run: RunTag, volumes: set[str]) -> Iterator[tuple[str, str]]:
    """Yield in which lane a fact stands, and in which words, if it belongs to the story."""
    if getattr(fact, "run", run) != run:
        return
    own = _of_the_run(fact)
    if own:
        yield _OWN, own
    elif hasattr(fact, "run"):
        return
    else:
        other = _of_the_cluster(fact, run.machine, volumes)
        if other:
            yield _WORLD, other


def _of_the_run(fact: Fact) -> str:  # noqa: PLR0911 - one sentence a kind
    match fact:
        case RunOpened():
            return f"the run opens, on {fact.base or 'no base'}"
        case StepEntered():
            return _step(fact.step)
        case FreezeAnswered(guest_snapshot=None):
            return f"the guest did not freeze: {fact.cause}"
        case GuestFroze():
            return "the guest comes to rest"
        case GuestSnapshotTaken():
            return "Tg: the guest takes its snapshot"
        case HostSnapshotTaken():
            return f"Th: {fact.node} cuts {', '.join(fact.disks)}"
        case MapSwitched():
            return f"the map of {fact.disk} on {fact.node} is frozen"
        case MapMerged():
            return f"the map of {fact.disk} on {fact.node} is merged back"
        case MapDropped():
            return f"the frozen map of {fact.disk} on {fact.node} is forgotten ({fact.why})"
        case ReferencePointCreated():
            return f"reference point {fact.point} is made"
        case ReferencePointDropped():
            return f"reference point {fact.point} is dropped"
        case _:
            return _of_the_data(fact)


def _of_the_data(fact: Fact) -> str:  # noqa: PLR0911 - one sentence a kind
    match fact:
        case RouteChosen():
            return f"{fact.volume} is read {fact.route}: {fact.reason}"
        case SkewRecorded():
            return (
                f"{fact.disk}: {size(fact.skew.total)} put back (R), {size(fact.mask.total)} masked"
            )
        case DeltaEnumerated():
            asked = f", told by {', '.join(fact.sources)}" if fact.sources else ""
            return f"{fact.disk}: {size(fact.extents.total)} to read, {fact.transfer.kind}{asked}"
        case DiskCopied():
            return f"{fact.disk}: {size(fact.bytes_read)} read, {size(fact.bytes_sent)} new"
        case SnapshotReleased():
            return f"snapshot {fact.snapshot} is gone ({fact.why})"
        case RunEnded():
            return f"the run ends: {fact.outcome}{', ' + fact.cause if fact.cause else ''}"
        case _:
            return ""


def _of_the_cluster(fact: Fact, machine: MachineId, volumes: set[str]) -> str:  # noqa: PLR0911 - one sentence a kind
    match fact:
        case MigrationStarted() if fact.machine == machine:
            return f"{machine} begins to migrate from {fact.source} to {fact.target}"
        case MigrationEnded() if fact.machine == machine:
            return f"the migration to {fact.target} {'is done' if fact.succeeded else 'failed'}"
        case MachinePlaced() if fact.machine == machine:
            return f"{machine} runs on {fact.node or 'no node'} ({fact.why})"
        case CoordinatorChanged() if fact.volume in volumes:
            return f"{fact.node} coordinates {fact.volume} ({fact.why})"
        case NodeChanged():
            return f"{fact.node} {'comes up' if fact.running else 'goes down'}: {fact.why}"
        case FaultInjected() if fact.subject in {"", machine, *volumes} or "/" in fact.kind:
            return f"{fact.kind} ({fact.subject or 'all'}): {fact.what}"
        case GuestThawed() if fact.machine == machine:
            return f"the guest goes on ({fact.why})"
        case LeftoversCleared() if fact.machine == machine and fact.found:
            return f"leftovers are cleared: {', '.join(fact.found)}"
        case PointBecameVisible() if fact.point.machine.id == machine:
            return f"point {fact.point.id} becomes visible"
        case _:
            return ""
