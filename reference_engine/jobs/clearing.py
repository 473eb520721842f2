"""Clearing what runs left on hosts and guests: after a run, before one, and after a restart."""

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Final

from reference_engine.jobs.discovery import DiscoveryRule
from reference_engine.jobs.saving import Saving, resume_wherever
from reference_engine.jobs.surroundings import ClusterPorts, Ports
from reference_engine.model.errors import (
    ConsistencyLostError,
    HostUnreachableError,
    LeftoversRemainError,
    TransientError,
    TwinshotError,
)
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    MachineId,
    NodeName,
    ReferencePointId,
    RunTag,
)
from reference_engine.model.machine import GuestKind
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import Duration, Instant
from reference_engine.ports.host import Leftovers
from reference_engine.reconcile.freeze import DEFAULT_LIMITS, FreezeDriver
from reference_engine.repository.errors import ManifestDamagedError
from reference_engine.trace.engine import LeftoversCleared, RunsFenced

_THAW_TRIES: Final = 4


async def clear_leftovers(ports: Ports, machine: MachineId, /, *, upto: Epoch) -> None:
    """Leave nothing on the machine of runs up to `upto` but what its newest point needs.

    Safe to repeat and safe after a crash at any instant: whether a run committed is asked of the
    repository, never remembered. Tags above `upto` belong to a newer run, or to another product.

    What does not answer keeps nothing else from being cleared: snapshots grow while they live.

    Raises:
        LeftoversRemainError: guest and trackers are in order, but something that only takes room
            could not be removed; it is cleared next time.
        TransientError, ConsistencyLostError: something that matters did not answer.
    """
    left = await ports.host.leftovers(machine)
    found: list[str] = []
    silent: TransientError | ConsistencyLostError | None = None
    # The guest comes first: a frozen guest is an outage, everything else only takes room.
    if left.frozen_guest is not None and left.frozen_guest.epoch <= upto:
        try:
            await thaw_wherever(ports, left.frozen_guest)
            found.append("frozen guest")
        except (TransientError, ConsistencyLostError) as failure:
            silent = failure
    if left.saved_by is not None and left.saved_by.epoch <= upto:
        try:
            await resume_wherever(ports, machine, left.saved_by)
            found.append("saved machine")
        except (TransientError, ConsistencyLostError) as failure:
            silent = silent or failure
    for node, disk, run in left.frozen_maps:
        if run.epoch <= upto:
            try:
                found.append(await settle_map(ports, node, disk, run=run))
            except TransientError as failure:
                silent = silent or failure
    _, keep = await _needed(ports, machine, left)
    remains: list[str] = []
    snapshots = release_snapshots(ports, machine, left, upto=upto)
    await _as_far_as_it_goes(snapshots, found, remains)
    points = drop_reference_points(ports, machine, left, keep=keep, upto=upto)
    await _as_far_as_it_goes(points, found, remains)
    if found:
        ports.tracer(LeftoversCleared(at=ports.runtime.now(), machine=machine, found=tuple(found)))
    if silent is not None:
        raise silent
    if remains:
        raise LeftoversRemainError(machine, "; ".join(remains))


async def _as_far_as_it_goes(
    clearing: Awaitable[list[str]], found: list[str], remains: list[str]
) -> None:
    try:
        found += await clearing
    except (TransientError, ConsistencyLostError) as failure:
        remains.append(str(failure))


async def clear_behind(ports: Ports, machine: MachineId, /) -> RecoveryPoint | None:
    """After a restart, clear up behind whoever ran before, having fenced him off.

    Returns the machine's newest point, if it has one that can be read.

    An engine that was believed dead may live on: only once the repository refuses its commit may
    what it made be taken away.

    Raises:
        TransientError, ConsistencyLostError: something did not answer, or a node that may hold
            something was not heard; the rest is cleared, and the next run clears that.
    """
    left = await let_go_on(ports, machine)
    latest, needed = await _needed(ports, machine, left)
    spare = [point for point, _ in left.reference_points if point != needed]
    held = (left.frozen_guest, left.saved_by) != (None, None)
    if left.snapshots or left.guest_snapshots or left.frozen_maps or spare or held:
        token = ports.runtime.random(f"fence/{machine}").token()
        fence = await ports.repository.open_run(machine, token=f"{token}{ports.runtime.now():x}")
        ports.tracer(RunsFenced(at=ports.runtime.now(), run=fence.run))
        await clear_leftovers(ports, machine, upto=fence.run.epoch)
    if left.unheard:
        raise HostUnreachableError(left.unheard[0])
    return latest


async def _needed(
    ports: Ports, machine: MachineId, left: Leftovers, /
) -> tuple[RecoveryPoint | None, ReferencePointId | None]:
    """Return the machine's newest point, if it can be read, and the reference point it needs."""
    try:
        latest = await ports.repository.latest(machine)
    except ManifestDamagedError:
        # Its own run made what it needs, and which run that was is in the log.
        commits = await ports.repository.commits()
        newest = [entry.epoch for entry in commits if entry.machine == machine][-1:]
        made = [point for point, run in left.reference_points if run.epoch in newest]
        return None, made[0] if made else None
    return latest, None if latest is None else latest.tracker


async def let_run_on(
    ports: Ports,
    run: RunTag,
    saving: Saving | None,
    freeze: FreezeDriver | None,
    /,
    *,
    limit: Duration,
) -> None:
    """Have the machine of a failed run go on, as far as nodes answer within `limit`.

    Nothing is asked first of what it left: who tells that may answer late.
    """
    try:
        async with ports.runtime.deadline(limit):
            if saving is not None:
                await saving.resume()
            if freeze is not None:
                await freeze.thaw()
    except TwinshotError:
        if freeze is not None:
            with suppress(TwinshotError):  # `clear_leftovers` looks again
                async with ports.runtime.deadline(limit):
                    await thaw_wherever(ports, run)


async def let_go_on(ports: ClusterPorts, machine: MachineId, /) -> Leftovers:
    """Have a machine that stands still for a run go on, and return what hosts and guests hold.

    Only nodes are asked: an outage of the guest must not wait for the repository.
    """
    left = await ports.host.leftovers(machine)
    with suppress(TransientError, ConsistencyLostError):  # what clears up after this meets it again
        if left.saved_by is not None:
            await resume_wherever(ports, machine, left.saved_by)
    with suppress(TransientError, ConsistencyLostError):
        if left.frozen_guest is not None:
            await thaw_wherever(ports, left.frozen_guest)
    return left


async def let_all_go_on(
    ports: ClusterPorts,
    listed: tuple[MachineId, ...],
    rule: DiscoveryRule | None,
    /,
    *,
    limit: Duration,
) -> None:
    """Have every machine that stands still for a run go on, as far as nodes answer within `limit`.

    With a `rule`, those that only the cluster names as well. An engine does this at its start while
    its repository cannot be opened.
    """

    async def one(machine: MachineId) -> None:
        with suppress(TwinshotError):
            async with ports.runtime.deadline(limit):
                await let_go_on(ports, machine)

    async def others() -> None:
        with suppress(TwinshotError):
            async with ports.runtime.deadline(limit):
                machines = await ports.cluster.machines()
            for machine in machines:
                if machine not in listed:
                    group.spawn(one(machine), name=f"{machine}/let-go-on")

    async with ports.runtime.task_group() as group:
        for machine in listed:
            group.spawn(one(machine), name=f"{machine}/let-go-on")
        if rule is not None:
            group.spawn(others(), name="others/let-go-on")


def may_freeze_late(latest: RecoveryPoint | None, /, *, interrupted: bool) -> bool:
    """Return whether the guest may yet come to rest, and stay so, for a run of a lost engine.

    Whether that run was `interrupted` or `latest` came of it without the guest's answer: for a
    while its engine would have gone on telling the guest to thaw. How long ago that was is not
    asked: only wall clocks know, and that of another engine's machine may be wrong.
    """
    if latest is None:
        return True  # nobody knows what kind of guest it is
    if latest.machine.guest is not GuestKind.FSFREEZE:
        return False
    return interrupted or latest.guest_snapshot is None


async def outlast_late_freeze(ports: Ports, run: RunTag, /) -> None:
    """Thaw again and again for as long as a freeze that a lost engine asked for may still come."""
    until = Instant(ports.runtime.now() + DEFAULT_LIMITS.late_answer)
    while ports.runtime.now() < until:
        await ports.runtime.sleep(DEFAULT_LIMITS.thaw_again)
        with suppress(TwinshotError):  # the next one may be delivered
            await thaw_wherever(ports, run)


async def settle_map(ports: Ports, node: NodeName, disk: DiskId, /, *, run: RunTag) -> str:
    """Drop a frozen map if its run committed, or else merge it back; return what was done."""
    try:
        committed = await ports.repository.committed(run) is not None
    except ManifestDamagedError:
        committed = True  # by the log's word; what became of the point since changes nothing
    if committed:
        await ports.tracking.drop(node, disk, run=run)
        return f"map of {disk} on {node} of committed run {run}"
    await ports.tracking.merge_back(node, disk, run=run)
    return f"map of {disk} on {node} of aborted run {run}"


async def thaw_wherever(ports: ClusterPorts, run: RunTag, /) -> None:
    """Thaw the guest that stands still for `run` on whatever node it runs now.

    Where the cluster does not say where that is, a node that says that it stands still there need
    not wait for it. No answer is waited for longer than a thaw may take.

    Raises:
        TransientError, ConsistencyLostError: no node did, and one may have it that did not answer,
            or none has it; look again.
    """
    named: tuple[NodeName, ...] = ()
    unnamed: TransientError | None = None
    try:
        # Whoever knows where it runs may answer late, or never; it may be found without him.
        async with ports.runtime.deadline(DEFAULT_LIMITS.thaw):
            placement = await ports.cluster.locate(run.machine)
            named = (placement.owner, *placement.others)
    except TransientError as failure:
        unnamed = failure
        named = await _where_seen(ports, run)
    failures: list[TransientError | ConsistencyLostError] = []
    if await _thaw_on(ports, named, failures, run=run):
        return
    # It moved in between, or the cluster names the wrong node, where a copy of it may answer that
    # it does not stand still: the right one may be any other.
    async with ports.runtime.deadline(DEFAULT_LIMITS.thaw):
        rest = [node for node in await ports.cluster.nodes() if node not in named]
    if await _thaw_on(ports, rest, failures, run=run):
        return
    if unnamed is not None:
        raise unnamed
    silent = [failure for failure in failures if isinstance(failure, TransientError)]
    if silent or len(failures) == len(named) + len(rest):
        raise (silent or failures)[0]


async def _where_seen(ports: ClusterPorts, run: RunTag) -> tuple[NodeName, ...]:
    """Return the node that says that the guest stands still there for `run`, if one does."""
    with suppress(TransientError, ConsistencyLostError):
        async with ports.runtime.deadline(DEFAULT_LIMITS.thaw):
            left = await ports.host.leftovers(run.machine)
            if left.frozen_guest == run and left.frozen_on is not None:
                return (left.frozen_on,)
    return ()


async def _thaw_on(
    ports: ClusterPorts,
    nodes: Sequence[NodeName],
    failures: list[TransientError | ConsistencyLostError],
    /,
    *,
    run: RunTag,
) -> bool:
    """Thaw the guest on whichever of `nodes` it stood still; note why others did not answer."""
    for node in nodes:
        try:
            if await _thaw_soon(ports, node, run=run):
                return True
        except (TransientError, ConsistencyLostError) as failure:
            failures.append(failure)
    return False


async def _thaw_soon(ports: ClusterPorts, node: NodeName, /, *, run: RunTag) -> bool:
    attempt = 1
    while True:
        try:
            # A frozen guest is an outage: no thaw may wait as long as other calls do.
            async with ports.runtime.deadline(DEFAULT_LIMITS.thaw):
                return await ports.consistency.thaw(node, run=run)
        except HostUnreachableError:
            raise
        except TransientError:
            if attempt == _THAW_TRIES:
                raise
            attempt += 1


async def release_snapshots(
    ports: Ports, machine: MachineId, left: Leftovers, /, *, upto: Epoch
) -> list[str]:
    """Delete every host snapshot, checkpoint and guest snapshot of runs up to `upto`."""
    found: list[str] = []
    for snapshot, run in left.snapshots:
        if run.epoch <= upto:
            await ports.host.release(snapshot)
            found.append(f"snapshot of run {run}")
    for _, run in left.guest_snapshots:
        if run.epoch <= upto:
            await ports.consistency.delete_snapshot(machine, run=run)
            found.append(f"guest snapshot of run {run}")
    return found


async def drop_reference_points(
    ports: Ports,
    machine: MachineId,
    left: Leftovers,
    /,
    *,
    keep: ReferencePointId | None,
    upto: Epoch,
) -> list[str]:
    """Drop every reference point of runs up to `upto` but the one that the newest point names."""
    found: list[str] = []
    for point, run in left.reference_points:
        if point != keep and run.epoch <= upto:
            await ports.host.drop_reference_point(machine, point)
            found.append(f"reference point of run {run}")
    return found
