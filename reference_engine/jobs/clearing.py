"""Clearing what runs left on hosts and guests: after a run, before one, and after a restart."""

from reference_engine.jobs.surroundings import Ports
from reference_engine.model.errors import ConsistencyLostError, HostUnreachableError
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    MachineId,
    NodeName,
    ReferencePointId,
    RunTag,
)
from reference_engine.ports.host import Leftovers
from reference_engine.trace.engine import LeftoversCleared


async def clear_leftovers(ports: Ports, machine: MachineId, /) -> None:
    """Leave nothing of ours on the machine but what its newest committed point needs.

    Safe to repeat and safe after a crash at any instant: whether a run committed is asked of the
    repository, never remembered.

    Raises:
        TransientError: something did not answer; what is left is cleared next time.
    """
    left = await ports.host.leftovers(machine)
    found: list[str] = []
    # The guest comes first: a frozen guest is an outage, everything else only takes room.
    if left.frozen_guest:
        found.append("frozen guest")
        await thaw_wherever(ports, machine)
    found += await release_snapshots(ports, machine, left)
    for node, disk, run in left.frozen_maps:
        found.append(await settle_map(ports, node, disk, run=run))
    latest = await ports.repository.latest(machine)
    found += await drop_reference_points(
        ports, machine, left, keep=None if latest is None else latest.tracker
    )
    if found:
        ports.tracer(LeftoversCleared(at=ports.runtime.now(), machine=machine, found=tuple(found)))


async def settle_map(ports: Ports, node: NodeName, disk: DiskId, /, *, run: RunTag) -> str:
    """Drop a frozen map if its run committed, or else merge it back; return what was done."""
    if await ports.repository.committed(run) is not None:
        await ports.tracking.drop(node, disk, run=run)
        return f"map of {disk} on {node} of committed run {run}"
    await ports.tracking.merge_back(node, disk, run=run)
    return f"map of {disk} on {node} of aborted run {run}"


async def thaw_wherever(ports: Ports, machine: MachineId, /) -> None:
    """Thaw the guest on whatever node it runs now."""
    placement = await ports.cluster.locate(machine)
    try:
        await ports.consistency.thaw(placement.owner, run=RunTag(machine=machine, epoch=Epoch(0)))
    except (ConsistencyLostError, HostUnreachableError):
        # It moved in between, or lost power: then the next look finds it elsewhere, or thawed.
        again = await ports.cluster.locate(machine)
        if again.owner != placement.owner:
            await ports.consistency.thaw(again.owner, run=RunTag(machine=machine, epoch=Epoch(0)))


async def release_snapshots(ports: Ports, machine: MachineId, left: Leftovers, /) -> list[str]:
    """Delete every host snapshot, checkpoint and guest snapshot of ours."""
    found: list[str] = []
    for snapshot, run in left.snapshots:
        await ports.host.release(snapshot)
        found.append(f"snapshot of run {run}")
    for _, run in left.guest_snapshots:
        await ports.consistency.delete_snapshot(machine, run=run)
        found.append(f"guest snapshot of run {run}")
    return found


async def drop_reference_points(
    ports: Ports, machine: MachineId, left: Leftovers, /, *, keep: ReferencePointId | None
) -> list[str]:
    """Drop every reference point of ours but the one that the newest point names."""
    found: list[str] = []
    for point, run in left.reference_points:
        if point != keep:
            await ports.host.drop_reference_point(machine, point)
            found.append(f"reference point of run {run}")
    return found
