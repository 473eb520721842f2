"""Disks that grow and shrink while their machine runs."""

import numpy as np

from reference_engine.model.units import SECOND, ByteCount, Duration
from simulator.world.cluster import World
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.truth import Shape


async def resize(world: World, machine: SimMachine, disk: SimDisk, size: ByteCount, /) -> None:
    """Give the disk another size, and the guest's file system as soon as the guest writes.

    A disk never becomes smaller than it was at first: the guest's files lie there.
    """
    size = ByteCount(max(size, disk.first_size))
    while not (machine.writing or machine.deleted):
        await world.sim.sleep(Duration(SECOND))
    if machine.deleted or size == disk.size:
        return
    machine.advance()
    before = disk.cells
    give_size(world, machine, disk, size)
    # The end of the disk moves, and what stands there is written anew; some of what is new is used.
    fresh = np.arange(before, disk.cells)
    ends = np.unique([min(before, disk.cells) - 1, disk.cells - 1])
    machine.write_now(disk, np.union1d(ends, fresh[::3]))


def give_size(world: World, machine: SimMachine, disk: SimDisk, size: ByteCount, /) -> None:
    """Have the disk be of another size from this place in the machine's write order on."""
    disk.resize(size)
    world.truth.shapes.setdefault(disk.id, []).append(
        Shape(stamp=machine.pass_stamp(), size=size, cells=disk.cells)
    )
    world.maps.resize(disk)
