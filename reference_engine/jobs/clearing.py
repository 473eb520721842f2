"""Clearing what runs left on hosts and guests: after a run, before one, and after a restart."""

from collections.abc import Awaitable

from reference_engine.jobs.saving import resume_wherever
from reference_engine.jobs.surroundings import Ports
from reference_engine.model.errors import (
    ConsistencyLostError,
    HostUnreachableError,
    LeftoversRemainError,
    TransientError,
)
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    MachineId,
    NodeName,
    ReferencePointId,
    RunTag,
)
from reference_engine.ports.host import Leftovers
from reference_engine.trace.engine import LeftoversCleared, RunsFenced


async def clear_leftovers(ports: Ports, machine: MachineId, /, *, upto: Epoch) -> None:
    """Leave nothing on the machine of runs up to `upto` but what its newest point needs.

    Safe to repeat and safe after a crash at any instant: whether a run committed is asked of the
    repository, never remembered. Tags above `upto` belong to a newer run, or to another product.

    What does not answer keeps nothing else from being cleared: snapshots grow while they live.

    Raises:
        LeftoversRemainError: guest and trackers are in order, but something that only takes room
            could not be removed; it is cleared next time.
        TransientError: something that matters did not answer.
    """
    left = await ports.host.leftovers(machine)
    found: list[str] = []
    silent: TransientError | None = None
    # The guest comes first: a frozen guest is an outage, everything else only takes room.
    if left.frozen_guest is not None and left.frozen_guest.epoch <= upto:
        found.append("frozen guest")
        await thaw_wherever(ports, left.frozen_guest)
    if left.saved_by is not None and left.saved_by.epoch <= upto:
        found.append("saved machine")
        await resume_wherever(ports, machine, left.saved_by)
    for node, disk, run in left.frozen_maps:
        if run.epoch <= upto:
            try:
                found.append(await settle_map(ports, node, disk, run=run))
            except TransientError as failure:
                silent = silent or failure
    latest = await ports.repository.latest(machine)
    keep = None if latest is None else latest.tracker
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


async def clear_behind(ports: Ports, machine: MachineId, /) -> None:
    """After a restart, clear up behind whoever ran before, having fenced him off.

    An engine that was believed dead may live on: only once the repository refuses its commit may
    what it made be taken away.

    Raises:
        TransientError: something did not answer, or a node that may hold something was not heard;
            the rest is cleared, and the next run clears that.
    """
    left = await ports.host.leftovers(machine)
    latest = await ports.repository.latest(machine)
    needed = None if latest is None else latest.tracker
    spare = [point for point, _ in left.reference_points if point != needed]
    held = (left.frozen_guest, left.saved_by) != (None, None)
    if left.snapshots or left.guest_snapshots or left.frozen_maps or spare or held:
        if left.saved_by is not None:
            await resume_wherever(ports, machine, left.saved_by)
        if left.frozen_guest is not None:
            await thaw_wherever(ports, left.frozen_guest)
        token = ports.runtime.random(f"fence/{machine}").token()
        fence = await ports.repository.open_run(machine, token=f"{token}{ports.runtime.now():x}")
        ports.tracer(RunsFenced(at=ports.runtime.now(), run=fence.run))
        await clear_leftovers(ports, machine, upto=fence.run.epoch)
    if left.unheard:
        raise HostUnreachableError(left.unheard[0])


async def settle_map(ports: Ports, node: NodeName, disk: DiskId, /, *, run: RunTag) -> str:
    """Drop a frozen map if its run committed, or else merge it back; return what was done."""
    if await ports.repository.committed(run) is not None:
        await ports.tracking.drop(node, disk, run=run)
        return f"map of {disk} on {node} of committed run {run}"
    await ports.tracking.merge_back(node, disk, run=run)
    return f"map of {disk} on {node} of aborted run {run}"


async def thaw_wherever(ports: Ports, run: RunTag, /) -> None:
    """Thaw the guest that stands still for `run` on whatever node it runs now."""
    placement = await ports.cluster.locate(run.machine)
    asked = (placement.owner, *placement.others)
    for node in asked:
        try:
            if await ports.consistency.thaw(node, run=run) or len(asked) == 1:
                return
        except (ConsistencyLostError, HostUnreachableError):
            continue
    # It moved in between, or lost power: then the next look finds it elsewhere, or thawed.
    again = await ports.cluster.locate(run.machine)
    if again.owner not in asked:
        await ports.consistency.thaw(again.owner, run=run)


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
