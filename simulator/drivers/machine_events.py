"""What happens to one machine, its disks and its trackers."""

from collections.abc import Callable, Coroutine
from typing import Any

from reference_engine.model.identity import MachineId, NodeName, VolumeName
from reference_engine.model.units import ByteCount, Duration
from simulator.faults.kinds import (
    ForeignCheckpoint,
    GuestThawed,
    GuestWrites,
    LiveMigration,
    PlacementStale,
    QuickMigration,
    ReferencePointsRemoved,
    StorageMigration,
    TrackerLost,
    TrackerOverReports,
)
from simulator.faults.life_cycle import (
    DiskAdded,
    DiskReplaced,
    DiskResized,
    MachineCloned,
    MachineDeleted,
    MachineImported,
    MachineRenamed,
    MachineStopped,
    MountGoesAstray,
    SharedDisksClaimed,
    SharedNothingMove,
    TrackerLies,
    UserCheckpoint,
    UserRevert,
)
from simulator.faults.moments import OfDisk, OfMachine
from simulator.world import lifecycle, moves, newcomers, sizes
from simulator.world.cluster import World
from simulator.world.lifecycle import FOREIGN_EPOCH
from simulator.world.machine import SimMachine

Spawn = Callable[[Coroutine[Any, Any, None], str], None]
"""Has work done on the world's side, under a name."""


def happen_to_machine(
    world: World, happening: OfMachine, machine: SimMachine, /, *, spawn: Spawn
) -> None:
    """Do to the machine what the happening says, now or by work that is spawned."""
    match happening:
        case LiveMigration() | QuickMigration() | SharedNothingMove():
            _move(world, happening, machine, spawn)
        case PlacementStale():
            node, lasts = NodeName(happening.node), Duration(happening.lasts)
            spawn(lifecycle.stale(world, machine, node, lasts=lasts), happening.kind)
        case ForeignCheckpoint():
            lifecycle.foreign_checkpoint(world, machine)
        case TrackerLost() | TrackerOverReports() | ReferencePointsRemoved() | TrackerLies():
            _happen_to_trackers(world, happening, machine)
        case GuestThawed() | GuestWrites() | SharedDisksClaimed():
            _happen_to_guest(world, happening, machine)
        case MachineCloned() | MachineImported():
            _copy(world, happening, machine, spawn)
        case UserCheckpoint():
            lifecycle.take_user_checkpoint(machine)
        case UserRevert():
            lifecycle.revert(world, machine)
        case MachineRenamed(name=name):
            machine.name = name
        case MountGoesAstray():
            spawn(
                lifecycle.mount_astray(world, machine, lasts=Duration(happening.lasts)),
                happening.kind,
            )
        case MachineStopped():
            lasts = Duration(happening.lasts)
            spawn(lifecycle.stop(world, machine, lasts=lasts), happening.kind)
        case MachineDeleted():
            lifecycle.delete(world, machine)
        case DiskAdded():
            size = ByteCount(happening.size)
            lifecycle.add_disk(world, machine, VolumeName(happening.volume), size)
        case OfDisk():
            _happen_to_disk(world, happening, machine, spawn)
        case _:
            raise AssertionError(happening)


def _happen_to_guest(
    world: World, happening: GuestThawed | GuestWrites | SharedDisksClaimed, machine: SimMachine
) -> None:
    match happening:
        case SharedDisksClaimed(owners=owners):
            lifecycle.claim(world, machine, tuple(map(MachineId, owners)))
        case GuestThawed():
            machine.guest.go_on("administrator")
            machine.canary()
        case GuestWrites():
            machine.advance()
            machine.write_once()


def _move(
    world: World,
    happening: LiveMigration | QuickMigration | SharedNothingMove,
    machine: SimMachine,
    spawn: Spawn,
) -> None:
    match happening:
        case LiveMigration():
            work = world.migrate(
                machine,
                NodeName(happening.target),
                pre_copy=Duration(happening.pre_copy),
                blackout=Duration(happening.blackout),
                fails=happening.fails,
            )
            spawn(work, "live-migration")
        case QuickMigration():
            target, downtime = NodeName(happening.target), Duration(happening.downtime)
            spawn(moves.quick_migrate(world, machine, target, downtime=downtime), happening.kind)
        case SharedNothingMove():
            target, volume = NodeName(happening.target), VolumeName(happening.volume)
            lasts = Duration(happening.lasts)
            spawn(
                moves.move_out(world, machine, target, volume, lasts=lasts),
                happening.kind,
            )


def _copy(
    world: World, happening: MachineCloned | MachineImported, machine: SimMachine, spawn: Spawn
) -> None:
    match happening:
        case MachineCloned():
            newcomers.clone(world, machine, happening.name, NodeName(happening.node))
        case MachineImported():
            node, volume = NodeName(happening.node), VolumeName(happening.volume)
            lasts = Duration(happening.lasts)
            spawn(newcomers.imported(world, machine, node, volume, lasts=lasts), happening.kind)


def _happen_to_disk(world: World, happening: OfDisk, machine: SimMachine, spawn: Spawn) -> None:
    disk = machine.disks[happening.disk % len(machine.disks)]
    match happening:
        case StorageMigration():
            volume, lasts = VolumeName(happening.volume), Duration(happening.lasts)
            spawn(
                moves.migrate_storage(world, machine, disk, volume, lasts=lasts),
                happening.kind,
            )
        case DiskResized():
            size = ByteCount(happening.size)
            spawn(sizes.resize(world, machine, disk, size), happening.kind)
        case DiskReplaced():
            lifecycle.replace_disk(world, machine, disk, percent=happening.percent)
        case _:
            raise AssertionError(happening)


def _happen_to_trackers(world: World, happening: OfMachine, machine: SimMachine) -> None:
    machine.advance()
    if isinstance(happening, TrackerLies):
        machine.lies_per_mille = happening.per_mille
        return
    for point in list(machine.references.values()):
        foreign = point.run.epoch >= FOREIGN_EPOCH
        if isinstance(happening, ReferencePointsRemoved) and not foreign:
            del machine.references[point.id]
    for disk in machine.disks:
        for _, kept in world.maps.known(disk.id):
            if isinstance(happening, TrackerOverReports):
                kept.mark_everything()
            else:
                kept.lose_running()
        for point in machine.references.values():
            if isinstance(happening, TrackerOverReports):
                point.everything.add(disk.id)
            elif isinstance(happening, TrackerLost):
                point.lost.add(disk.id)
