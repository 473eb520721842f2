"""Networks that fail: who cannot reach whom, and what the two sides make of it."""

from typing import Final, TypeVar

from reference_engine.model.identity import MachineId, NodeName
from reference_engine.model.units import SECOND, Duration
from reference_engine.trace.cluster import MachinePlaced, SnapshotReleased
from simulator.world.cluster import World

Side = TypeVar("Side")
CLUSTER: Final = "cluster"
REPOSITORY: Final = "repository"
REPLICA: Final = "second repository"
GUEST: Final = "consistency"
TRACKER: Final = "change_tracking"
STORE: Final = "blob_store"
_SESSION_TIMEOUT: Final = Duration(20 * SECOND)
"""When a host takes a requestor that is silent for gone, and lets what stands still go on."""

_ISOLATED_FOR: Final = Duration(10 * SECOND)
"""When the cluster gives a node up that does not answer. Source: SameSubnetThreshold, 10 beats."""


async def cut_off(world: World, side: str, /, *, lasts: Duration) -> None:
    """Let nothing pass between the engine and a node, the cluster or the repository."""
    world.cut_off[side] = world.cut_off.get(side, 0) + 1
    left = lasts
    while left > 0:
        nap = Duration(min(left, _SESSION_TIMEOUT))
        await world.sim.sleep(nap)
        left = Duration(left - nap)
        if nap == _SESSION_TIMEOUT:
            for machine in world.machines.values():
                if machine.node == side and machine.guest.at_rest:
                    machine.guest.go_on("session-lost")
                if machine.last_node == side and machine.saved is not None:
                    world.resume_orphan(machine)
    _end(world.cut_off, side)


async def connect(world: World, side: str, /, *, lasts: Duration) -> None:
    """Have a side that is cut off be reached for a while."""
    if side in world.cut_off:
        _end(world.cut_off, side)
    await world.sim.sleep(lasts)
    world.cut_off[side] = world.cut_off.get(side, 0) + 1


async def isolate(world: World, node: NodeName, /, *, lasts: Duration) -> None:
    """Cut a node off the cluster's network: its machines start elsewhere unless it returns soon."""
    if not world.running(node):
        return
    world.isolated[node] = world.isolated.get(node, 0) + 1
    soon = Duration(min(lasts, _ISOLATED_FOR))
    await world.sim.sleep(soon)
    if lasts > _ISOLATED_FOR and world.running(node):
        _give_up(world, node)
        await world.sim.sleep(Duration(lasts - soon))
    _end(world.isolated, node)


async def fail(world: World, port: str, machine: MachineId | None, /, *, lasts: Duration) -> None:
    """Have a port answer with errors for a while, to whoever asks about this machine."""
    service = (port, str(machine or ""))
    world.outages[service] = world.outages.get(service, 0) + 1
    if port == GUEST and machine is not None:
        # The kernel lets a guest go on whose daemon has ended. Source: hv_vss_daemon, hv_utils.
        world.machines[machine].guest.go_on("service-lost")
    await world.sim.sleep(lasts)
    _end(world.outages, service)


def _end(counts: dict[Side, int], side: Side) -> None:
    """Have one failure less; the side is reached again with the last."""
    counts[side] -= 1
    if counts[side] == 0:
        del counts[side]


def _give_up(world: World, node: NodeName) -> None:
    """Have the cluster do without a node: it may write to no volume any more."""
    now = world.sim.now()
    stopped = [machine for machine in world.machines.values() if machine.node == node]
    for machine in stopped:
        machine.power_off()
        world.emit(MachinePlaced(at=now, machine=machine.id, node=None, why="node-isolated"))
    for machine in world.machines.values():
        machine.holders.discard(node)
    for snapshot in world.snapshots.values():
        if snapshot.exists and snapshot.node == node and not snapshot.on_volume:
            snapshot.exists = False
            world.emit(
                SnapshotReleased(
                    at=now, snapshot=snapshot.id, run=snapshot.run, why="node-isolated"
                )
            )
    successor = world.other_node(node)
    for volume in world.volumes.values():
        if volume.coordinator == node and successor is not None:
            world.set_coordinator(volume, successor, why="failover")
    for machine in stopped:
        world.restart(machine, node)
    if not world.quorate:
        world.stop_service()
