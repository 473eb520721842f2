"""From a scenario to a world: nodes, volumes, machines, each disk with its first content."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, MachineId, NodeName, VolumeName
from reference_engine.model.machine import BackEnd, GuestKind, NetworkAdapter
from reference_engine.model.units import MIB, MILLISECOND, SECOND, ByteCount, Duration
from reference_engine.trace import Event as Fact
from simulator.kernel.simulation import Simulation
from simulator.kernel.streams import Stream, key_of
from simulator.kernel.task import SimNode
from simulator.scenario.schema import Scenario
from simulator.scenario.topology import VirtualMachine
from simulator.world import room
from simulator.world.applications.application import LOG, TABLES, Kind, Layout, Part
from simulator.world.applications.hosting import HostedApplication
from simulator.world.applications.opening import parts_of, program
from simulator.world.clock import Clock
from simulator.world.cluster import World
from simulator.world.content import Underlay
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.own_disks import is_own, own_disk
from simulator.world.stamps import Cells
from simulator.world.truth import Truth
from simulator.world.volume import SimVolume
from simulator.world.workload import Profile, Workload

_OBSTACLES: Final = {
    "fat-volume": "the guest has a FAT32 volume",
    "dynamic-disk": "the guest has a dynamic disk",
    "diff-area-elsewhere": "the guest keeps shadow copies on another volume",
    "no-scsi-controller": "it has no SCSI controller (10103)",
}


class RealDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A real disk image that a scenario puts into a simulated guest; it is only ever read."""

    content: Underlay
    size: ByteCount
    allocated: ExtentSet
    """What of it may be other than zero."""

    free: ExtentSet
    """What its file systems declare free: the only place where the simulated guest writes."""


def build_world(
    scenario: Scenario,
    sim: Simulation,
    emit: Callable[[Fact], None],
    truth: Truth,
    /,
    *,
    images: Mapping[str, RealDisk],
) -> World:
    """Return the world at instant 0; `images` holds an entry for each image that is named."""
    world = World(sim, emit, truth)
    world.migration_waits_for_backup = scenario.migration_waits_for_backup
    world.rct_survives_crash = scenario.rct_after_power_cut == "coarse"
    world.restart_delay = Duration(scenario.restart_delay)
    world.move_time = (
        Duration(min(200 * MILLISECOND, scenario.coordinator_move)),
        Duration(scenario.coordinator_move),
    )
    world.merge_time = (SECOND, Duration(scenario.merge_longest))
    world.mixed = any(node.back_end is not None for node in scenario.nodes)
    for node in scenario.nodes:
        name = NodeName(node.name)
        world.nodes[name] = SimNode(node.name)
        world.back_ends[name] = BackEnd(node.back_end or scenario.back_end)
        if world.mixed and world.back_ends[name] is not BackEnd.HOST_SNAPSHOT:
            world.maps.untracked.add(name)
        if not node.member:
            world.outside.add(name)
            world.agentless.add(name)
            world.maps.untracked.add(name)
        world.switches[name] = node.switches
        world.folders[name] = node.folder
        world.clocks[name] = Clock(
            sim, offset=Duration(node.clock_offset), drift_ppm=node.clock_drift_ppm
        )
    world.store_room = scenario.repository.room
    for entry in scenario.volumes:
        volume = SimVolume(
            sim,
            VolumeName(entry.name),
            coordinator=NodeName(entry.coordinator),
            direct_rate=ByteCount(entry.direct_mib_s * MIB),
            redirected_rate=ByteCount(entry.redirected_mib_s * MIB),
            pinned=entry.pinned,
        )
        volume.local = entry.local
        volume.by_storage = entry.snapshots == "storage"
        if entry.room is not None:
            volume.room = ByteCount(entry.room)
            sim.spawn(room.watch(world, volume), name=f"{volume.name}/room")
        world.volumes[volume.name] = volume
        world.set_coordinator(volume, NodeName(entry.coordinator), why="start")
    for described in scenario.machines:
        machine = _build_machine(scenario, described, world, images)
        world.machines[machine.id] = machine
        world.place(machine, NodeName(described.node), why="start")
    return world


def _build_machine(
    scenario: Scenario,
    described: VirtualMachine,
    world: World,
    images: Mapping[str, RealDisk],
) -> SimMachine:
    sim = world.sim
    machine = MachineId(described.name)
    disks = [
        _build_disk(scenario, described, index, sim=sim, images=images)
        for index in range(len(described.disks))
    ]
    layout = None if described.application is None else _lay_out(described.application, disks)
    writes = described.writes
    profile = Profile(
        bursts_per_hour=writes.bursts_per_hour,
        burst_cells=writes.burst_cells,
        hot_share=writes.hot_percent * 10,
        sequential_share=writes.sequential_percent * 10,
        rewrite_share=writes.rewrite_percent * 10,
        trim_share=writes.trim_percent * 10,
    )
    clock = Clock(
        sim,
        offset=Duration(described.guest_clock_offset),
        drift_ppm=described.guest_clock_drift_ppm,
    )
    world.guest_clocks[machine] = clock
    built = SimMachine(
        sim,
        world.emit,
        machine=machine,
        name=described.name,
        kind=GuestKind(described.guest),
        back_end=BackEnd(scenario.back_end),
        disks=disks,
        workload=Workload(
            sim.seed, described.name, profile, tuple(disk.writable for disk in disks)
        ),
        maps=world.maps,
        truth=world.truth,
        guest_clock=clock.read,
        canary_per_mille=scenario.canary_percent * 10,
    )
    if described.switch is not None:
        address = f"00155d{key_of('address', sim.seed, described.name) & 0xFFFFFF:06x}"
        built.adapters = (NetworkAdapter(switch=described.switch, address=address),)
    if described.shared_by is not None:
        built.owners = tuple(map(MachineId, described.shared_by))
    built.obstacles = tuple(_OBSTACLES[each] for each in described.obstacles)
    built.unprotected = tuple(
        f"physical disk {number + 1}" for number in range(described.physical_disks)
    )
    # An average use: real disks differ, simulated ones are filled per machine.
    built.fill(sum(disk.used_percent for disk in described.disks) * 10 // len(described.disks))
    if described.application is not None and layout is not None:
        _host(built, described, layout, sim=sim, cell=scenario.cell)
    return built


def _host(
    machine: SimMachine,
    described: VirtualMachine,
    layout: Layout,
    /,
    *,
    sim: Simulation,
    cell: int,
) -> None:
    kind = described.application
    assert kind is not None, described.name
    draw = Stream(sim.seed, "application", described.name)
    application = program(kind, draw, cell=cell, per_hour=described.transactions_per_hour)
    machine.host(
        HostedApplication(
            application,
            kind=kind,
            layout=layout,
            disks=machine.disks,
            milestones=machine.milestones(),
        )
    )


def _lay_out(kind: Kind, disks: list[SimDisk]) -> Layout:
    """Return where an application's log and tables lie: on two disks, if there are two."""
    wanted = parts_of(kind)
    tables = disks[min(1, len(disks) - 1)]
    # The middle of the disk: a torn disk has one half of each instant.
    first = min(tables.cells // 2, int(tables.diff_area[0]) - wanted[TABLES])
    layout = {
        LOG: Part(disk=0, first=0, count=wanted[LOG]),
        TABLES: Part(disk=disks.index(tables), first=first, count=wanted[TABLES]),
    }
    for part in layout.values():
        disks[part.disk].reserve(range(part.first, part.first + part.count))
    return layout


def _build_disk(
    scenario: Scenario,
    described: VirtualMachine,
    index: int,
    /,
    *,
    sim: Simulation,
    images: Mapping[str, RealDisk],
) -> SimDisk:
    disk = described.disks[index]
    real = None if disk.image is None else _real_disk(disk.image, images)
    size = ByteCount(disk.size or 0) if real is None else real.size
    cell = ByteCount(scenario.cell)
    return SimDisk(
        DiskId(f"{described.name}-disk{index}"),
        key=key_of("disk", sim.seed, described.name, index),
        size=size,
        cell=cell,
        volume=VolumeName(disk.volume),
        underlay=None if real is None else real.content,
        free=None if real is None else _whole_cells(real.free, cell),
        allocated=EMPTY if real is None else real.allocated,
        diff_area=None if disk.diff_area is None else max(1, disk.diff_area // scenario.cell),
    )


def _real_disk(image: str, images: Mapping[str, RealDisk]) -> RealDisk:
    if not is_own(image):
        return images[image]
    own = own_disk(image)
    size = ByteCount(len(own.content))
    return RealDisk(content=own, size=size, allocated=own.allocated, free=own.free)


def _whole_cells(free: ExtentSet, cell: ByteCount) -> Cells:
    """Return the cells that lie wholly in `free`."""
    runs = [
        np.arange(-(-start // cell), end // cell)
        for start, end in free.bounds.tolist()
        if end // cell > -(-start // cell)
    ]
    return np.concatenate(runs) if runs else np.empty(0, np.int64)
