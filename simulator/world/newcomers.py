"""Machines that appear: created, cloned from another one, or imported with another's identity."""

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from reference_engine.model.extents import EMPTY
from reference_engine.model.identity import DiskId, MachineId, NodeName, VolumeName
from reference_engine.model.machine import Machine
from reference_engine.model.units import ByteCount, Duration
from reference_engine.trace import Event as Fact
from simulator.kernel.streams import key_of
from simulator.world.clock import Clock
from simulator.world.cluster import World
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.stamps import StampDisk
from simulator.world.trackers import FilterMaps
from simulator.world.truth import Truth
from simulator.world.workload import Workload

_COPY_GENERATION = 1000
"""An import writes a disk's DataWriteGuid anew. Source: MS-VHDX 2.2.2."""


class Records(NamedTuple):
    """Who notes what the machine writes and does."""

    maps: FilterMaps
    truth: Truth
    emit: Callable[[Fact], None]


def create(
    world: World, name: str, node: NodeName, volume: VolumeName, size: ByteCount, /
) -> SimMachine:
    """Have a new machine run on `node`; where the name was used before, the identity is new."""
    identity = _new_identity(world, name)
    pattern = next(iter(world.machines.values()))
    disk = SimDisk(
        DiskId(f"{identity}-disk0"),
        key=key_of("disk", world.sim.seed, identity, 0),
        size=size,
        cell=pattern.disks[0].cell,
        volume=volume,
        underlay=None,
        free=None,
        allocated=EMPTY,
    )
    machine = _machine(world, identity, name, [disk], pattern=pattern, records=_ours(world))
    machine.fill(300)
    world.machines[identity] = machine
    world.place(machine, node, why="created")
    return machine


def placed_among(world: World, described: Machine, disks: list[SimDisk], /) -> SimMachine:
    """Return a machine of this identity that writes as its neighbours do and is nowhere yet."""
    pattern = next(iter(world.machines.values()))
    machine = _machine(
        world, described.id, described.name, disks, pattern=pattern, records=_ours(world)
    )
    machine.guest.kind, machine.guest.back_end = described.guest, described.back_end
    for disk in disks:
        machine.fill_disk(disk, 0)
    world.machines[machine.id] = machine
    return machine


def clone(world: World, source: SimMachine, name: str, node: NodeName, /) -> None:
    """Have a copy of a machine, with disks and an identity of its own, run on `node`."""
    if source.deleted:
        return
    source.advance()
    identity = _new_identity(world, name)
    disks = [
        _copy(disk, DiskId(f"{identity}-disk{number}"), disk.volume)
        for number, disk in enumerate(source.disks)
    ]
    machine = _machine(world, identity, name, disks, pattern=source, records=_ours(world))
    machine.stamp = source.stamp
    for disk in disks:
        world.truth.initial[disk.id] = disk.stamps.snapshot()
        world.truth.sizes[disk.id] = disk.size
    world.machines[identity] = machine
    world.place(machine, node, why="created")


async def imported(
    world: World, source: SimMachine, node: NodeName, volume: VolumeName, /, *, lasts: Duration
) -> None:
    """Have a copy with the same identities of machine and disks run on `node` for a while."""
    if source.deleted or source.id in world.twins or source.home == node:
        return
    source.advance()
    disks = [_copy(disk, disk.id, volume) for disk in source.disks]
    for disk in disks:
        disk.generation = _COPY_GENERATION
    truth = replace(world.truth, writes={}, initial={}, sizes={}, shapes={})
    records = Records(FilterMaps(granule_cells=4), truth, _nobody)
    twin = _machine(world, source.id, source.name, disks, pattern=source, records=records)
    twin.stamp = source.stamp
    twin.node = twin.last_node = node
    world.twins[source.id] = twin
    await world.sim.sleep(lasts)
    world.twins.pop(source.id, None)


def _ours(world: World) -> Records:
    return Records(world.maps, world.truth, world.emit)


def _nobody(fact: Fact, /) -> None:
    """Tell nobody: the oracle watches the machine that is protected."""


def _new_identity(world: World, name: str) -> MachineId:
    number = sum(name in {machine.name, machine.id} for machine in world.machines.values())
    return MachineId(name if number == 0 else f"{name}~{number + 1}")


def _copy(disk: SimDisk, identity: DiskId, volume: VolumeName) -> SimDisk:
    copied = SimDisk(
        identity,
        key=disk.content.key,
        size=disk.size,
        cell=disk.cell,
        volume=volume,
        underlay=disk.content.underlay,
        free=None,
        allocated=disk.underlaid,
    )
    copied.stamps = StampDisk(disk.cells)
    copied.stamps.pages = dict(disk.stamps.snapshot().pages)
    return copied


def _machine(
    world: World,
    identity: MachineId,
    name: str,
    disks: list[SimDisk],
    /,
    *,
    pattern: SimMachine,
    records: Records,
) -> SimMachine:
    """Return a machine that writes as `pattern` does and is not placed yet."""
    clock = Clock(world.sim, offset=Duration(0), drift_ppm=0)
    world.guest_clocks.setdefault(identity, clock)
    workload = Workload(
        world.sim.seed,
        f"{identity}/{name}/new",
        pattern.profile,
        tuple(disk.writable for disk in disks),
    )
    workload.skip(world.sim.now())
    return SimMachine(
        world.sim,
        records.emit,
        machine=identity,
        name=name,
        kind=pattern.guest.kind,
        back_end=pattern.back_end,
        disks=disks,
        workload=workload,
        maps=records.maps,
        truth=records.truth,
        guest_clock=clock.read,
        canary_per_mille=pattern.canary_per_mille,
    )
