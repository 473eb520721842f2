"""Slots of a schedule, attempts within a slot, and what comes first after a restart."""

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final, TypeVar

import msgspec

from reference_engine.jobs.backup import BackupRun
from reference_engine.jobs.clearing import (
    clear_behind,
    let_go_on,
    may_freeze_late,
    outlast_late_freeze,
)
from reference_engine.jobs.copying import doubts
from reference_engine.jobs.discovery import Census, DiscoveryRule, discover
from reference_engine.jobs.insisting import insist
from reference_engine.jobs.outcomes import failure_outcome, point_outcome
from reference_engine.jobs.snapshotting import restore_preference
from reference_engine.jobs.surroundings import Concession, Policy, Ports, VolumeLedger
from reference_engine.jobs.upkeep import BelievedClock, Upkeep, UpkeepPlan
from reference_engine.jobs.volume_use import give_back, make_direct
from reference_engine.model.errors import (
    ConsistencyLostError,
    CorruptionError,
    MachineBusyError,
    RefusedError,
    RepositoryFullError,
    TransientError,
    TwinshotError,
    VolumeBusyError,
)
from reference_engine.model.identity import Epoch, MachineId, RunTag, VolumeName
from reference_engine.model.outcome import Outcome
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import HOUR, SECOND, Duration, Instant
from reference_engine.ports.runtime import TaskGroup
from reference_engine.trace.engine import JobEnded, SlotsMissed

_AT_LAST: Final = Duration(HOUR)
"""How long it is tried to leave nothing behind: a diff area and a frozen map go on growing, and a
volume stays slow, until somebody ends that."""

_UNSEEN_AT_MOST: Final = Duration(30 * SECOND)
"""How long nobody looks at a guest while an engine that starts waits for its repository."""

Permits = AbstractAsyncContextManager[None]
_Answer = TypeVar("_Answer")


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """When one machine is due: `first`, then every `interval`, `count` times."""

    machine: MachineId
    first: Instant
    interval: Duration
    count: int

    def due(self, now: Instant, /) -> int:
        """Return the number of the first slot (from 0) that is not yet past."""
        return 0 if now <= self.first else -(-(now - self.first) // self.interval)

    def instant(self, slot: int, /) -> Instant:
        """Return when a slot is due."""
        return Instant(self.first + slot * self.interval)


async def protect(
    ports: Ports,
    policy: Policy,
    slots: tuple[Slots, ...],
    /,
    *,
    volumes: tuple[VolumeName, ...],
    rule: DiscoveryRule | None = None,
    upkeep: UpkeepPlan | None = None,
) -> None:
    """Run every slot that is still to come, after clearing up behind an earlier incarnation.

    With a `rule`, machines that appear meanwhile are protected as well, and what an earlier engine
    left of machines that the cluster has no more is cleared; with `upkeep`, points that no rule
    keeps are removed, and space is given back when the repository is full.
    """
    began = ports.runtime.now()
    ledger = VolumeLedger()
    permits = ports.runtime.semaphore(policy.runs_at_once)
    silent = await _end_redirections(ports, policy, volumes)
    keeper = None
    if upkeep is not None:
        keeper = Upkeep(ports, policy, upkeep, BelievedClock(ports))
    census = Census(tuple(plan.machine for plan in slots))

    def begin(plan: Slots) -> None:
        work = _protect_one(
            ports, policy, ledger, permits, plan, census=census, keeper=keeper, beside=group
        )
        group.spawn(work, name=str(plan.machine))

    async with ports.runtime.task_group() as group:
        for plan in slots:
            begin(plan)
        for volume in silent:
            work = _insist_on_direct(ports, policy, ledger, volume)
            group.spawn(work, name=f"{volume}/direct")
        if keeper is not None:
            work = keeper.keep_up()
            group.spawn(work, name="upkeep")
        if rule is not None:
            found = discover(
                ports,
                policy,
                rule,
                census,
                lambda new: begin(_from_now(ports, rule, new)),
                clear=lambda gone: group.spawn(
                    _clear_at_last(ports, policy, gone, asked=began), name=f"{gone}/bygone"
                ),
                within=_AT_LAST,
            )
            group.spawn(found, name="discovery")
    # No run comes after the last one that could end what it could not.
    await insist(ports, policy, lambda: make_direct(ports, ledger), within=_AT_LAST)
    for volume in ledger.moved():
        moved = ledger.last_move(volume) or ports.runtime.now()
        rest = moved + policy.coordinator_hysteresis - ports.runtime.now()
        await ports.runtime.sleep(Duration(max(0, rest)))
        await insist(
            ports,
            policy,
            lambda volume=volume: restore_preference(ports, policy, ledger, volume),  # type: ignore[misc]
            within=_AT_LAST,
        )


async def _end_redirections(
    ports: Ports, policy: Policy, volumes: tuple[VolumeName, ...]
) -> tuple[VolumeName, ...]:
    """End what an engine that died had redirected; return the volumes that got no answer soon.

    Guests that stand still wait behind this: at the first silence it is left to whoever insists.
    """
    for number, volume in enumerate(volumes):
        try:
            async with ports.runtime.deadline(policy.freeze.thaw):
                await ports.cluster.leave_redirected(volume)
        except TwinshotError:
            return volumes[number:]
    return ()


async def _insist_on_direct(
    ports: Ports, policy: Policy, ledger: VolumeLedger, volume: VolumeName
) -> None:
    """Have a volume written directly, unless a run of this engine's needs it otherwise by now."""

    async def end() -> None:
        if not ledger.redirected(volume):
            await ports.cluster.leave_redirected(volume)

    await insist(ports, policy, end, within=_AT_LAST)


def _from_now(ports: Ports, rule: DiscoveryRule, machine: MachineId) -> Slots:
    """Return the slots of a machine that has just appeared."""
    first = Instant(ports.runtime.now() + rule.delay)
    count = max(0, -(-(rule.until - first) // rule.interval))
    return Slots(machine=machine, first=first, interval=rule.interval, count=count)


async def _bounded(ports: Ports, policy: Policy, work: Awaitable[_Answer]) -> _Answer | None:
    try:
        async with ports.runtime.deadline(policy.step_limit):
            return await work
    except TwinshotError:
        return None  # best effort: the next run meets the same leftovers


async def _protect_one(
    ports: Ports,
    policy: Policy,
    ledger: VolumeLedger,
    permits: Permits,
    plan: Slots,
    /,
    *,
    census: Census,
    keeper: Upkeep | None,
    beside: TaskGroup,
) -> None:
    asked = ports.runtime.now()  # of a host, at the latest, by an engine that has died since
    last, interrupted = await _last_run(ports, policy, plan.machine)
    latest = await _bounded(ports, policy, clear_behind(ports, plan.machine))
    if last > 0 and may_freeze_late(latest, interrupted=interrupted):
        run = RunTag(machine=plan.machine, epoch=last)
        beside.spawn(outlast_late_freeze(ports, run), name=f"{plan.machine}/late-freeze")
    slot = plan.due(ports.runtime.now())
    if slot > 0 and interrupted:
        slot -= 1  # its time is past, but nothing came of it: it is run at once
    if slot > 0:
        _miss(ports, plan, first=0, last=slot - 1, cause="the engine was not running")
    made = True
    while slot < plan.count:
        await ports.runtime.sleep(Duration(max(0, plan.instant(slot) - ports.runtime.now())))
        if not census.there(plan.machine):
            _miss(ports, plan, first=slot, last=slot, cause="the cluster has it no more")
            # It may be restored in its place. Until then no run meets what its last one left.
            await _bounded(ports, policy, clear_behind(ports, plan.machine))
        else:
            async with permits:
                made = (
                    await run_job(ports, policy, ledger, plan.machine, slot=slot, keeper=keeper)
                    is not None
                )
                if not made:
                    # Between attempts a volume stays where it was moved to, then it goes home.
                    await _bounded(ports, policy, give_back(ports, policy, ledger))
        following = max(slot + 1, plan.due(ports.runtime.now()))
        if following > slot + 1:
            _miss(ports, plan, first=slot + 1, last=following - 1, cause="a run took too long")
        slot = following
    if not made:
        asked = ports.runtime.now()
    await _clear_at_last(ports, policy, plan.machine, asked=asked)


async def _clear_at_last(
    ports: Ports, policy: Policy, machine: MachineId, /, *, asked: Instant
) -> None:
    """Clear what runs left of a machine of which no run comes any more that would meet it.

    `asked`: when the last of what may be done late was asked of a host.
    """
    await _outlast_late_orders(ports, policy, since=asked)
    await insist(ports, policy, lambda: clear_behind(ports, machine), within=_AT_LAST)


async def _outlast_late_orders(ports: Ports, policy: Policy, /, *, since: Instant) -> None:
    """Return once a host does nothing more that was asked of it until `since`.

    What was asked may be done after it was given up, or after whoever asked has died: it would be
    nobody's.
    """
    rest = since + policy.step_limit - ports.runtime.now()
    if rest > 0:
        await ports.runtime.sleep(Duration(rest))


def _miss(ports: Ports, plan: Slots, /, *, first: int, last: int, cause: str) -> None:
    """Say that slots were over before they could be run; they may have been run before a crash."""
    last = min(last, plan.count - 1)
    if first <= last:
        ports.tracer(
            SlotsMissed(
                at=ports.runtime.now(), machine=plan.machine, first=first, last=last, cause=cause
            )
        )


async def _last_run(ports: Ports, policy: Policy, machine: MachineId) -> tuple[Epoch, bool]:
    """Return the machine's newest epoch, 0 with none, and whether its run came to no point.

    For as long as a guest may freeze late for that run, it is looked at between two questions: a
    guest that stands still must not wait until the repository answers.
    """
    until, limit = ports.runtime.now() + policy.freeze.late_answer, policy.freeze.thaw
    while ports.runtime.now() < until:
        asked = ports.runtime.now()
        with suppress(TwinshotError):
            async with ports.runtime.deadline(limit):
                return await ports.repository.last_run(machine)
        await _bounded(ports, policy, let_go_on(ports, machine))
        rest = asked + limit - ports.runtime.now()
        await ports.runtime.sleep(Duration(max(0, rest)))
        limit = min(Duration(2 * limit), _UNSEEN_AT_MOST)
    with suppress(TwinshotError):
        async with ports.runtime.deadline(policy.step_limit):
            return await ports.repository.last_run(machine)
    return Epoch(0), False


async def run_job(
    ports: Ports,
    policy: Policy,
    ledger: VolumeLedger,
    machine: MachineId,
    /,
    *,
    slot: int,
    keeper: Upkeep | None = None,
) -> RecoveryPoint | None:
    """Make one point in as many attempts as the policy allows; say how it went."""
    cause = ""
    for attempt in range(1, policy.attempts + 1):
        last = attempt == policy.attempts
        concession = Concession.CRASH_CONSISTENT if last else Concession.NONE
        run = BackupRun(ports, policy, ledger, machine, concession=concession)
        try:
            point = await run.back_up()
        except (MachineBusyError, VolumeBusyError) as busy:
            _end(ports, machine, slot, Outcome.DEFERRED, attempts=attempt, cause=str(busy))
            return None
        except (TransientError, ConsistencyLostError) as failure:
            cause = str(failure)
        except RepositoryFullError as full:
            cause = str(full)
            if keeper is None or run.tag is None or not await keeper.make_room(run.tag):
                _end(ports, machine, slot, Outcome.FAIL_CLEAN, attempts=attempt, cause=cause)
                return None
        except (RefusedError, CorruptionError) as refusal:
            outcome = failure_outcome(refusal)
            if outcome is Outcome.SUPERSEDED:
                outcome = Outcome.FAIL_CLEAN  # a job has no newer epoch: nothing came of it
            _end(ports, machine, slot, outcome, attempts=attempt, cause=str(refusal))
            return None
        else:
            _end(
                ports,
                machine,
                slot,
                point_outcome(point, attempt=attempt),
                attempts=attempt,
                cause=point.downgrade or cause or doubts(point.disks),
            )
            return point
        if attempt < policy.attempts:
            await ports.runtime.sleep(policy.retry_delay)
    _end(ports, machine, slot, Outcome.FAIL_CLEAN, attempts=policy.attempts, cause=cause)
    return None


def _end(
    ports: Ports, machine: MachineId, slot: int, outcome: Outcome, *, attempts: int, cause: str
) -> None:
    ports.tracer(
        JobEnded(
            at=ports.runtime.now(),
            machine=machine,
            slot=slot,
            outcome=outcome,
            attempts=attempts,
            cause=cause,
        )
    )
