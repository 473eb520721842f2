"""The night's events folded into what lasts: who was where, who owned what, which run did what.

A span that no event ends lasts until the night ends.
"""

from collections.abc import Callable, Iterable

import msgspec

from reference_engine.model.identity import MachineId, NodeName, RunTag
from reference_engine.model.outcome import Outcome, Step
from reference_engine.model.recovery_point import Consistency
from reference_engine.model.units import Instant
from reference_engine.reporting.night import Night
from reference_engine.trace import Event
from reference_engine.trace.cluster import (
    CoordinatorChanged,
    FaultInjected,
    GuestFroze,
    GuestThawed,
    MachinePlaced,
    MigrationEnded,
    MigrationStarted,
    NodeChanged,
    RedirectionChanged,
)
from reference_engine.trace.engine import RunEnded, RunOpened, StepEntered, StepLeft


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """From `start` to `end`, `who` (a machine, a volume, a node) was in `state`."""

    start: Instant
    end: Instant
    who: str
    state: str
    """A node's name, or a word; empty for a machine that runs nowhere."""

    why: str


class StepSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run; `finished` is false where the run left it by an error or died."""

    start: Instant
    end: Instant
    step: Step
    finished: bool


class RunSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One run; `outcome` is `None` where it never reported an end, as after a crash."""

    start: Instant
    end: Instant
    run: RunTag
    steps: tuple[StepSpan, ...]
    outcome: Outcome | None
    consistency: Consistency | None
    cause: str


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One live migration; `succeeded` is `None` where it never ended."""

    start: Instant
    end: Instant
    machine: MachineId
    source: NodeName
    target: NodeName
    succeeded: bool | None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What lasted during the night, each kind ordered by its start."""

    residency: tuple[Span, ...]
    """`who`: machine, `state`: node."""

    ownership: tuple[Span, ...]
    """`who`: volume, `state`: coordinator."""

    redirections: tuple[Span, ...]
    outages: tuple[Span, ...]
    """`who`: node, or `engine`."""

    freezes: tuple[Span, ...]
    """`who`: machine, `why`: who or what thawed it."""

    migrations: tuple[Migration, ...]
    runs: tuple[RunSpan, ...]
    faults: tuple[FaultInjected, ...]


def history_of(night: Night, /) -> History:
    """Return what the night's events add up to."""
    return History(
        residency=_residency(night),
        ownership=_ownership(night),
        redirections=_switched(night, _redirection),
        outages=_switched(night, _outage),
        freezes=_freezes(night),
        migrations=_migrations(night),
        runs=_runs(night),
        faults=tuple(event for event in night.events if isinstance(event, FaultInjected)),
    )


def _residency(night: Night) -> tuple[Span, ...]:
    changes: list[tuple[str, Instant, str, str]] = [
        (machine.id, night.start, machine.node or "", "start") for machine in night.machines
    ]
    changes += [
        (event.machine, event.at, event.node or "", event.why)
        for event in night.events
        if isinstance(event, MachinePlaced)
    ]
    return _lasting(changes, night.end)


def _ownership(night: Night) -> tuple[Span, ...]:
    return _lasting(
        [
            (event.volume, event.at, event.node, event.why)
            for event in night.events
            if isinstance(event, CoordinatorChanged)
        ],
        night.end,
    )


def _lasting(changes: Iterable[tuple[str, Instant, str, str]], end: Instant) -> tuple[Span, ...]:
    """Return one span per change of state that lasted; saying the same again changes nothing."""
    done: list[Span] = []
    current: dict[str, tuple[Instant, str, str]] = {}
    for who, at, state, why in changes:
        if who in current:
            since, before, because = current[who]
            if before == state:
                continue
            if at > since:
                done.append(Span(start=since, end=at, who=who, state=before, why=because))
        current[who] = (at, state, why)
    done += [
        Span(start=since, end=end, who=who, state=state, why=why)
        for who, (since, state, why) in current.items()
        if end > since
    ]
    return tuple(sorted(done, key=lambda span: (span.start, span.who)))


Switch = Callable[[Event], tuple[str, bool, str] | None]
"""What an event switched on or off: who, whether on, and why."""


def _redirection(event: Event) -> tuple[str, bool, str] | None:
    if isinstance(event, RedirectionChanged):
        return event.volume, event.redirected, "writes go through the coordinator"
    return None


def _outage(event: Event) -> tuple[str, bool, str] | None:
    if isinstance(event, NodeChanged):
        return event.node, not event.running, event.why
    return None


def _switched(night: Night, switch: Switch) -> tuple[Span, ...]:
    done: list[Span] = []
    running: dict[str, tuple[Instant, str]] = {}
    for event in night.events:
        switched = switch(event)
        if switched is None:
            continue
        who, is_on, why = switched
        if is_on:
            running.setdefault(who, (event.at, why))
        elif who in running:
            since, because = running.pop(who)
            done.append(Span(start=since, end=event.at, who=who, state="on", why=because))
    done += [
        Span(start=since, end=night.end, who=who, state="on", why=why)
        for who, (since, why) in running.items()
    ]
    return tuple(sorted(done, key=lambda span: (span.start, span.who)))


def _freezes(night: Night) -> tuple[Span, ...]:
    done: list[Span] = []
    frozen: dict[MachineId, Instant] = {}
    for event in night.events:
        if isinstance(event, GuestFroze):
            frozen.setdefault(event.machine, event.at)
        elif isinstance(event, GuestThawed) and event.machine in frozen:
            since = frozen.pop(event.machine)
            done.append(
                Span(start=since, end=event.at, who=event.machine, state="frozen", why=event.why)
            )
    done += [
        Span(start=since, end=night.end, who=machine, state="frozen", why="never thawed")
        for machine, since in frozen.items()
    ]
    return tuple(sorted(done, key=lambda span: (span.start, span.who)))


def _migrations(night: Night) -> tuple[Migration, ...]:
    done: list[Migration] = []
    begun: dict[MachineId, MigrationStarted] = {}
    for event in night.events:
        if isinstance(event, MigrationStarted):
            begun[event.machine] = event
        elif isinstance(event, MigrationEnded):
            opened = begun.pop(event.machine, None)
            done.append(
                Migration(
                    start=event.at if opened is None else opened.at,
                    end=event.at,
                    machine=event.machine,
                    source=event.source,
                    target=event.target,
                    succeeded=event.succeeded,
                )
            )
    done += [
        Migration(
            start=event.at,
            end=night.end,
            machine=event.machine,
            source=event.source,
            target=event.target,
            succeeded=None,
        )
        for event in begun.values()
    ]
    return tuple(sorted(done, key=lambda move: (move.start, move.machine)))


def _runs(night: Night) -> tuple[RunSpan, ...]:
    """Return the runs; one that never ended lasts until its machine's next run or engine crash."""
    opened: dict[RunTag, Instant] = {}
    ended: dict[RunTag, RunEnded] = {}
    entered: dict[RunTag, list[StepEntered]] = {}
    left: dict[tuple[RunTag, Step], list[Instant]] = {}
    crashes = [span.start for span in _switched(night, _outage) if span.who == "engine"]
    for event in night.events:
        match event:
            case RunOpened():
                opened[event.run] = event.at
            case StepEntered():
                entered.setdefault(event.run, []).append(event)
            case StepLeft():
                left.setdefault((event.run, event.step), []).append(event.at)
            case RunEnded():
                ended[event.run] = event
            case _:
                pass
    runs = []
    for run, start in opened.items():
        end = ended.get(run)
        later = [at for at in crashes if at > start]
        later += [at for other, at in opened.items() if other.machine == run.machine and at > start]
        until = end.at if end is not None else min([*later, night.end])
        runs.append(
            RunSpan(
                start=start,
                end=until,
                run=run,
                steps=tuple(
                    _step(event, left.get((run, event.step), []), until)
                    for event in entered.get(run, [])
                    if event.at <= until
                ),
                outcome=None if end is None else end.outcome,
                consistency=None if end is None else end.consistency,
                cause="the run never reported its end" if end is None else end.cause,
            )
        )
    return tuple(sorted(runs, key=lambda run: (run.start, run.run)))


def _step(event: StepEntered, left: list[Instant], until: Instant) -> StepSpan:
    ends = [at for at in left if event.at <= at <= until]
    return StepSpan(
        start=event.at, end=min(ends, default=until), step=event.step, finished=bool(ends)
    )
