"""What happens to machines and their disks: stop, deletion, new disks, changes past trackers."""

from typing import Final

import numpy as np

from reference_engine.model.extents import EMPTY
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    MachineId,
    NodeName,
    ReferencePointId,
    RunTag,
    SnapshotId,
    VolumeName,
)
from reference_engine.model.units import ByteCount, Duration
from reference_engine.trace.cluster import MachinePlaced, SnapshotReleased
from simulator.kernel.streams import key_of
from simulator.world.cluster import World
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.sizes import give_size
from simulator.world.snapshots import SimSnapshot
from simulator.world.stamps import NEVER_WRITTEN, TRIMMED
from simulator.world.trackers import ReferencePoint

FOREIGN_EPOCH: Final = 1 << 40
"""Tags from here on are another product's; they look like ours to whoever only reads names."""


async def stop(world: World, machine: SimMachine, /, *, lasts: Duration) -> None:
    """Shut the machine down and start it again later, on the node that knows it then."""
    if machine.node is None or machine.migrating:
        return
    machine.power_off()
    machine.off = machine.settled = True
    machine.placements += 1
    world.emit(MachinePlaced(at=world.sim.now(), machine=machine.id, node=None, why="stopped"))
    await world.sim.sleep(lasts)
    if machine.deleted or not machine.off:
        return
    machine.off, machine.settled = False, False
    machine.skip()
    home = machine.last_node
    if home is not None and world.member(home):
        world.place(machine, home, why="start")
    elif home is not None:
        world.restart(machine, home)


def delete(world: World, machine: SimMachine, /) -> None:
    """Delete the machine with its files; a software snapshot of its volumes reads on."""
    if machine.deleted:
        return
    now = world.sim.now()
    machine.power_off()
    machine.deleted, machine.off, machine.saved = True, False, None
    machine.references.clear()
    machine.checkpoints.clear()
    world.emit(MachinePlaced(at=now, machine=machine.id, node=None, why="deleted"))
    for snapshot in world.snapshots.values():
        if snapshot.machine is machine and snapshot.on_volume and snapshot.exists:
            snapshot.exists = False
            world.emit(
                SnapshotReleased(at=now, snapshot=snapshot.id, run=snapshot.run, why="deleted")
            )


def claim(world: World, machine: SimMachine, owners: tuple[MachineId, ...], /) -> None:
    """Have other machines of a guest cluster claim a set of shared disks; the first one writes it.

    What the former owner had brought to rest is at rest no more.
    """
    machine.advance()
    machine.guest.interrupt("owner moved")
    machine.owners = owners
    writer = world.machines.get(owners[0]) if owners else None
    if writer is not None and writer.node not in {None, machine.node}:
        assert writer.node is not None
        world.place(machine, writer.node, why="owner moved")
    machine.canary()


def lose_node(world: World, node: NodeName, /) -> None:
    """Have a node be gone for good, with the machines whose disks lie on its own volumes."""
    world.crash_node(node)
    for machine in world.machines.values():
        volumes = [world.volumes[disk.volume] for disk in machine.disks]
        if any(volume.local and volume.coordinator == node for volume in volumes):
            delete(world, machine)


def add_disk(world: World, machine: SimMachine, volume: VolumeName, size: ByteCount, /) -> None:
    """Add a disk to a running machine."""
    if machine.deleted:
        return
    machine.advance()
    number = len(machine.disks)
    while f"{machine.id}-disk{number}" in world.truth.initial:
        number += 1  # one that a restore left out was another disk
    machine.add(
        SimDisk(
            DiskId(f"{machine.id}-disk{number}"),
            key=key_of("disk", world.sim.seed, str(machine.id), number),
            size=size,
            cell=machine.disks[0].cell,
            volume=volume,
            underlay=None,
            free=None,
            allocated=EMPTY,
        )
    )


def replace_disk(world: World, machine: SimMachine, disk: SimDisk, /, *, percent: int) -> None:
    """Change a share of the disk while it is detached, where no tracker sees it."""
    if machine.deleted:
        return
    machine.advance()
    machine.guest.interrupt("disk-replaced")
    chance = world.sim.stream("replaced", str(disk.id), disk.generation)
    count = max(1, len(disk.writable) * percent // 100)
    drawn = sorted({chance.below(len(disk.writable)) for _ in range(count)})
    machine.change_unseen(
        disk, disk.writable[np.array(drawn, np.int64)], trimmed=np.empty(0, np.int64)
    )


def take_user_checkpoint(machine: SimMachine, /) -> None:
    """Remember the disks as they are."""
    machine.advance()
    machine.checkpoint = {disk.id: disk.stamps.snapshot() for disk in machine.disks}
    machine.checkpoint_sizes = {disk.id: disk.size for disk in machine.disks}
    machine.checkpoint_stamp = machine.stamp


def revert(world: World, machine: SimMachine, /) -> None:
    """Go back to the checkpoint, past every tracker; disks have the size again that they had.

    Each cell that differs gets new content, not the old one: a stamp names one instant of the
    write order. To trackers and to the engine it is the same.
    """
    if machine.deleted or not machine.checkpoint:
        return
    machine.advance()
    machine.guest.interrupt("revert")
    for disk in machine.disks:
        kept = machine.checkpoint.get(disk.id)
        if kept is None:
            continue
        if disk.size != machine.checkpoint_sizes[disk.id]:
            give_size(world, machine, disk, machine.checkpoint_sizes[disk.id])
        differs = disk.stamps.differs(kept)
        then = kept.read(differs)
        empty = (then == NEVER_WRITTEN) | ((then & np.uint64(TRIMMED)) != 0)
        machine.change_unseen(disk, differs[~empty], trimmed=differs[empty])
        if machine.application is not None:
            # An application has to find its own bytes again.
            machine.application.find_again(disk, differs[~empty], kept)
    if machine.application is not None:
        machine.application.went_back(machine.checkpoint_stamp, machine.stamp)


async def stale(world: World, machine: SimMachine, node: NodeName, /, *, lasts: Duration) -> None:
    """Have the cluster name the wrong owner of a machine for a while."""
    world.stale[machine.id] = node
    await world.sim.sleep(lasts)
    world.stale.pop(machine.id, None)


async def mount_astray(world: World, machine: SimMachine, /, *, lasts: Duration) -> None:
    """Have the paths of snapshots lead to the disks that the guest writes, for a while."""
    machine.mounts_astray = True
    await world.sim.sleep(lasts)
    machine.mounts_astray = False


def foreign_checkpoint(world: World, machine: SimMachine, /) -> None:
    """Have another product's checkpoint and reference point appear."""
    if machine.deleted or machine.home is None:
        return
    machine.advance()
    run = RunTag(machine=machine.id, epoch=Epoch(FOREIGN_EPOCH + len(world.foreign)))
    images = {disk.id: disk.stamps.snapshot() for disk in machine.disks}
    snapshot = SimSnapshot(
        SnapshotId(f"{machine.id}-foreign-{len(world.foreign)}"),
        machine=machine,
        run=run,
        node=machine.home,
        images=images,
        clock=world.clocks[machine.home].read(),
        stamp=machine.stamp,
        on_volume=True,
    )
    world.snapshots[snapshot.id] = snapshot
    point = ReferencePointId(f"{machine.id}-foreign-{len(world.foreign)}")
    machine.references[point] = ReferencePoint(point, run, machine.stamp)
    world.foreign[snapshot.id] = (MachineId(machine.id), point)


def foreign_harmed(world: World, /) -> list[str]:
    """Return another product's things that are gone although nobody but us could remove them."""
    return [
        f"{snapshot} of {machine}"
        for snapshot, (machine, point) in world.foreign.items()
        if not world.machines[machine].deleted
        and (
            not world.snapshots[snapshot].exists or point not in world.machines[machine].references
        )
    ]
