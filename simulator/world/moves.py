"""What moves besides a live migration: saved machines, disk files, whole nodes."""

from reference_engine.model.identity import NodeName, VolumeName
from reference_engine.model.units import SECOND, Duration
from reference_engine.trace.cluster import MachinePlaced
from simulator.world.cluster import World
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine


async def quick_migrate(
    world: World, machine: SimMachine, target: NodeName, /, *, downtime: Duration
) -> None:
    """Save the machine, move it and resume it on `target`; nobody serves it in between."""
    source = machine.node
    if source is None or machine.migrating or not world.member(target):
        return
    machine.advance()
    machine.canary()
    # The host ends the guest's backup session with the machine's execution.
    machine.guest.go_on("saved")
    machine.node, machine.settled = None, False
    left = machine.placements
    world.emit(MachinePlaced(at=world.sim.now(), machine=machine.id, node=None, why="saved"))
    await world.sim.sleep(downtime)
    if machine.deleted or machine.off or machine.node is not None or machine.placements != left:
        return
    machine.skip()
    place = target if world.member(target) else world.other_node(target)
    if place is None:
        # No node runs that could resume it; whoever comes back first does.
        world.restart(machine, target)
        return
    world.place(machine, place, why="quick-migration")
    machine.canary()


async def migrate_storage(
    world: World, machine: SimMachine, disk: SimDisk, volume: VolumeName, /, *, lasts: Duration
) -> None:
    """Mirror a disk's file to another volume, then go on there.

    What RCT knows lies in the file and travels along; the filter's maps belong to the old file.
    """
    if disk.volume == volume:
        return
    await world.sim.sleep(lasts)
    if machine.deleted or machine.node is None:
        return
    machine.advance()
    machine.canary()
    disk.volume = volume
    for _, kept in world.maps.known(disk.id):
        kept.lose()
    machine.canary()


async def move_out(
    world: World,
    machine: SimMachine,
    target: NodeName,
    volume: VolumeName,
    /,
    *,
    lasts: Duration,
) -> None:
    """Mirror a machine's memory and all its disks to another host, and go on there."""
    source = machine.node
    if source is None or machine.migrating or not world.running(target):
        return
    machine.migrating = True
    await world.sim.sleep(lasts)
    if machine.deleted or machine.node != source or not world.running(target):
        machine.migrating = False
        return
    machine.advance()
    machine.canary()
    for disk in machine.disks:
        disk.volume = volume
        for _, kept in world.maps.known(disk.id):
            kept.lose()
    machine.migrating = False
    world.place(machine, target, why="shared-nothing-migration")
    machine.canary()


async def fill(world: World, node: NodeName, /, *, lasts: Duration) -> None:
    """Leave the node no memory for another machine for a while."""
    world.full.add(node)
    await world.sim.sleep(lasts)
    world.full.discard(node)


async def drain(world: World, node: NodeName, /) -> None:
    """Live-migrate every machine of the node away, one after the other."""
    for machine in list(world.machines.values()):
        target = world.other_node(node)
        if machine.node == node and target is not None:
            await world.migrate(
                machine, target, pre_copy=Duration(5 * SECOND), blackout=Duration(SECOND // 2)
            )
