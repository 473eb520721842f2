"""The `Host` port over the world: snapshots, checkpoints, reference points."""

from typing import Any, Final

import numpy as np

from reference_engine.model.errors import (
    MachineBusyError,
    MachineUnknownError,
    NotOwnerError,
    OperationFailedError,
    VolumeBusyError,
)
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    GuestSnapshotId,
    MachineId,
    NodeName,
    ReferencePointId,
    RunTag,
    SnapshotId,
)
from reference_engine.model.machine import GuestKind, Machine
from reference_engine.model.units import MILLISECOND, SECOND, ByteCount, Duration, Instant
from reference_engine.ports.host import Checkpoint, Exposure, HostSnapshot, Leftovers
from reference_engine.trace.cluster import (
    HostSnapshotTaken,
    MapSwitched,
    ReferencePointCreated,
    ReferencePointDropped,
    SnapshotReleased,
)
from simulator.facade.door import Address
from simulator.world import saving
from simulator.world.cluster import World
from simulator.world.machine import SimMachine
from simulator.world.snapshots import SimSnapshot, machine_of, snapshot_id
from simulator.world.stamps import Cells, StampImage
from simulator.world.trackers import ReferencePoint
from simulator.world.truth import Cut
from simulator.world.volume import SimVolume

_BY_NODE: Final = frozenset(
    {
        "confirms",
        "describe",
        "take_snapshot",
        "take_checkpoint",
        "convert_to_reference_point",
        "save",
        "resume",
    }
)


class HostFacade:
    """Answers as the hosts do."""

    def __init__(self, world: World, /, *, skew: tuple[Duration, Duration]) -> None:
        """`skew`: shortest and longest time that a host snapshot takes to be prepared."""
        self._world, self._skew = world, skew
        self._made = 0

    def address(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Address:
        """Calls that name a node go there, the others to whoever has the thing."""
        if operation in _BY_NODE:
            subject = kwargs["run"].machine if "run" in kwargs else args[1]
            return Address(subject=subject, node=args[0])
        if operation in {"release", "auto_recovered", "expose"}:
            return Address(subject=machine_of(args[0]), node=None)
        return Address(subject=args[0], node=None)

    def _owned(self, node: NodeName, machine: MachineId) -> SimMachine:
        found = self._world.machine_at(node, machine)
        if found.deleted:
            raise MachineUnknownError(machine)
        if found.home != node:
            raise NotOwnerError(machine, node)
        return found

    async def confirms(self, node: NodeName, machine: MachineId, /) -> bool:
        """Return whether the machine runs on the node."""
        found = self._world.machine_at(node, machine)
        return found.home == node and not found.blackout

    async def describe(self, node: NodeName, machine: MachineId, /) -> Machine:
        """Return the machine's configuration."""
        return self._owned(node, machine).describe()

    async def take_snapshot(
        self, node: NodeName, /, *, run: RunTag, disks: tuple[DiskId, ...]
    ) -> HostSnapshot:
        """Cut disks at one instant Th, holding the writes that go through this node."""
        world, sim = self._world, self._world.sim
        machine = world.machines[run.machine]
        volumes = [world.volumes[machine.disk(disk).volume] for disk in disks]
        if machine.deleted:
            raise MachineUnknownError(machine.id)
        self._check(node, volumes, machine)
        chance = sim.stream("skew", run.machine, run.epoch, disks[0])
        await sim.sleep(Duration(chance.between(*self._skew)))
        for volume in volumes:
            await volume.ready()
        self._check(node, volumes, machine)  # the coordinator may have been moved away meanwhile
        machine.advance()
        machine.canary()
        if machine.holders:
            # VSS_E_SNAPSHOT_SET_IN_PROGRESS: a host makes one snapshot of a machine at a time.
            raise OperationFailedError("take_snapshot", "another snapshot is in progress")
        # A writer that reaches the volume past this node is not held: it tears the snapshot.
        past_us = self._writes_past(node, machine, volumes)
        begun = {disk: machine.disk(disk).stamps.snapshot() for disk in disks}
        if not past_us:
            machine.holders.add(node)
        await sim.sleep(Duration(chance.between(50 * MILLISECOND, 2 * SECOND)))
        machine.holders.discard(node)
        self._check(node, volumes, machine)
        images = dict(begun)
        if past_us or self._writes_past(node, machine, volumes):
            machine.canary()
            machine.advance()
            images = {disk: self._torn(machine, disk, begun[disk]) for disk in disks}
        on_storage = all(volume.by_storage for volume in volumes)
        snapshot = self._record(machine, run, node, images, on_volume=on_storage)
        shadow = machine.guest.shadow
        if shadow is not None and shadow.run == run:
            snapshot.shadow_lost = shadow.lost
            for disk in disks:
                if disk not in shadow.areas:
                    continue
                cells, stamps = shadow.areas[disk].pre_images()
                occupied = shadow.areas[disk].occupied.copy()
                snapshot.pre_images[disk] = (cells, stamps, occupied)
                world.truth.diff_areas[run, disk] = occupied
        self._switch_armed(machine, run, disks)
        machine.canary()
        return HostSnapshot(id=snapshot.id, node=node, run=run, disks=disks, clock=snapshot.clock)

    def _check(self, node: NodeName, volumes: list[SimVolume], machine: SimMachine) -> None:
        for volume in volumes:
            if volume.by_storage and machine.home != node:
                raise OperationFailedError(
                    "take_snapshot", f"{volume.name} accepts the machines of one host only"
                )
            if volume.coordinator != node and not volume.by_storage:
                raise OperationFailedError(
                    "take_snapshot", f"{node} does not coordinate {volume.name}"
                )
            if volume.moving:
                raise OperationFailedError("take_snapshot", f"{volume.name} is changing hands")
            if volume.foreign:
                raise VolumeBusyError(volume.name, "another product's snapshot")

    def _writes_past(self, node: NodeName, machine: SimMachine, volumes: list[SimVolume]) -> bool:
        """Return whether the machine's writes reach a volume without passing this node."""
        return machine.node != node and not all(volume.redirected for volume in volumes)

    def _torn(self, machine: SimMachine, disk: DiskId, begun: StampImage) -> StampImage:
        found = machine.disk(disk)
        upper = np.arange(begun.cells // 2, min(begun.cells, found.cells))
        return begun.overlaid(upper, found.stamps.read(upper))

    def _switch_armed(self, machine: SimMachine, run: RunTag, disks: tuple[DiskId, ...]) -> None:
        world = self._world
        for disk in disks:
            world.truth.switched[run, disk] = machine.disk(disk).stamps.snapshot()
            for owner, kept in world.maps.known(disk):
                if kept.armed == run and run not in kept.frozen:
                    kept.switch(run)
                    world.emit(MapSwitched(at=world.sim.now(), node=owner, disk=disk, run=run))

    def _record(
        self,
        machine: SimMachine,
        run: RunTag,
        node: NodeName,
        images: dict[DiskId, StampImage],
        *,
        on_volume: bool,
    ) -> SimSnapshot:
        world = self._world
        self._made += 1
        snapshot = SimSnapshot(
            snapshot_id(machine.id, self._made),
            machine=machine,
            run=run,
            node=node,
            images=images,
            clock=world.clocks[node].read(),
            stamp=machine.stamp,
            on_volume=on_volume,
        )
        world.snapshots.keep(snapshot)
        if machine is not world.machines[machine.id]:
            world.truth.of_twins.append(snapshot.id)
        world.truth.host_cuts[snapshot.id] = Cut(
            run=run,
            at=world.sim.now(),
            clock=snapshot.clock,
            stamp=machine.stamp,
            images=dict(images),
        )
        world.emit(
            HostSnapshotTaken(
                at=world.sim.now(),
                node=node,
                run=run,
                snapshot=snapshot.id,
                disks=tuple(images),
                clock=snapshot.clock,
            )
        )
        return snapshot

    async def take_checkpoint(
        self, node: NodeName, /, *, run: RunTag, at_rest: GuestSnapshotId | None
    ) -> Checkpoint:
        """Cut every disk of the machine at one instant."""
        world, sim = self._world, self._world.sim
        self._owned(node, run.machine)
        for disk in world.machines[run.machine].disks:
            await world.volumes[disk.volume].ready()
        chance = sim.stream("checkpoint", run.machine, run.epoch)
        await sim.sleep(Duration(chance.between(100 * MILLISECOND, 3 * SECOND)))
        machine = self._owned(node, run.machine)
        if machine.blackout:
            raise MachineBusyError(run.machine, "migrating")
        machine.advance()
        machine.canary()
        shadow = machine.guest.shadow
        if at_rest is not None and (
            not machine.guest.at_rest or shadow is None or shadow.id != at_rest
        ):
            raise OperationFailedError("take_checkpoint", "the guest went on too early")
        world.truth.depths.append((run, len(machine.checkpoints) + machine.merging(sim.now())))
        images = {disk.id: disk.stamps.snapshot() for disk in machine.disks}
        snapshot = self._record(machine, run, node, images, on_volume=True)
        machine.checkpoints.append(snapshot.id)
        for disk in machine.disks:
            world.truth.switched[run, disk.id] = images[disk.id]
        guest_clock: Instant | None = None
        if at_rest is not None and shadow is not None:
            guest_clock = world.truth.guest_cuts[shadow.id].clock
            if machine.guest.kind is GuestKind.VSS:
                self._recover_inside(machine, snapshot, at_rest)
            machine.guest.forget_shadow(run)
        return Checkpoint(
            id=snapshot.id,
            node=node,
            run=run,
            clock=snapshot.clock,
            guest_snapshot=at_rest,
            guest_clock=guest_clock,
        )

    def _recover_inside(
        self, machine: SimMachine, snapshot: SimSnapshot, guest_snapshot: GuestSnapshotId
    ) -> None:
        """Let writers finish their work inside the checkpoint; the live disk does not see it."""
        chance = self._world.sim.stream("recovery", machine.id, snapshot.run.epoch)
        cells: dict[str, Cells] = {}
        cut = self._world.truth.guest_cuts[guest_snapshot]
        # A disk that came between the guest's snapshot and this one has no writers in it.
        inside = [disk for disk in machine.disks if disk.id in cut.images]
        for disk in inside:
            count = 0 if machine.disk(disk.id).content.underlay is not None else chance.below(4)
            drawn = sorted({chance.below(len(disk.writable)) for _ in range(count)})
            cells[disk.id] = disk.writable[np.array(drawn, np.int64)]
        machine.recover_inside(guest_snapshot, cells)
        for disk in inside:
            snapshot.images[disk.id] = cut.images[disk.id]
            snapshot.recovered[disk.id] = cells[disk.id]

    async def save(self, node: NodeName, /, *, run: RunTag) -> None:
        """Have the machine stand still with its memory saved."""
        await saving.save(self._world, self._owned(node, run.machine), node, run=run)

    async def resume(self, node: NodeName, /, *, run: RunTag) -> bool:
        """Have a saved machine go on, on this node."""
        return await saving.resume(self._world, self._world.machines[run.machine], node, run=run)

    async def expose(self, snapshot: SnapshotId, disk: DiskId, /) -> Exposure:
        """Return what the host's path for the disk shows."""
        kept = self._world.snapshots.known(snapshot)
        kept.image(disk)
        path = f"/snapshots/{snapshot}/{disk}"
        kept.leads_astray[disk] = kept.machine.mounts_astray
        return Exposure(path=path, shows=None if kept.leads_astray[disk] else snapshot)

    async def auto_recovered(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return what writers changed inside the checkpoint."""
        kept, found = self._world.snapshots.known(snapshot), self._world.disk(disk)
        kept.image(disk)
        cells = kept.recovered.get(disk, np.empty(0, np.int64))
        return ExtentSet.of_pieces(cells, piece=ByteCount(found.cell), size=kept.sizes[disk])

    async def convert_to_reference_point(
        self, node: NodeName, /, *, checkpoint: SnapshotId, run: RunTag
    ) -> ReferencePointId:
        """Remember the checkpoint's instant for RCT."""
        machine, kept = self._owned(node, run.machine), self._world.snapshots.known(checkpoint)
        kept.image(machine.disks[0].id)
        known = next((point for point in machine.references.values() if point.run == run), None)
        if known is None:
            self._made += 1
            point = ReferencePointId(f"{run.machine}-reference-{self._made}")
            known = machine.references[point] = ReferencePoint(point, run, kept.stamp)
            self._world.emit(
                ReferencePointCreated(
                    at=self._world.sim.now(), machine=machine.id, point=point, run=run
                )
            )
        return known.id

    async def drop_reference_point(self, machine: MachineId, point: ReferencePointId, /) -> None:
        """Forget a reference point."""
        known = self._world.machines[machine].references.pop(point, None)
        if known is not None:
            self._world.emit(
                ReferencePointDropped(
                    at=self._world.sim.now(), machine=machine, point=point, run=known.run
                )
            )

    async def release(self, snapshot: SnapshotId, /) -> None:
        """Delete a snapshot or checkpoint; a checkpoint's difference disk then merges."""
        world = self._world
        kept = world.snapshots.get(snapshot)
        if kept is None:
            return  # gone long ago
        machine = kept.machine
        machine.advance()
        if snapshot in machine.checkpoints:
            machine.checkpoints.remove(snapshot)
            chance = world.sim.stream("merge", snapshot)
            merge = chance.between(*world.merge_time)
            machine.merging_until = Instant(world.sim.now() + merge)
        if kept.exists:
            kept.exists = False
            world.emit(
                SnapshotReleased(at=world.sim.now(), snapshot=snapshot, run=kept.run, why="engine")
            )
        machine.canary()

    async def merged(self, machine: MachineId, /) -> bool:
        """Return whether the machine has no difference disk left."""
        found = self._world.machines[machine]
        return not found.checkpoints and found.merging_until <= self._world.sim.now()

    async def leftovers(self, machine: MachineId, /) -> Leftovers:
        """Return what runs left behind for this machine; a host knows snapshots by its identity.

        One that was asked for before the machine moved may be of a copy that runs there instead.
        """
        world, found = self._world, self._world.machines[machine]
        shadow, node = found.guest.shadow, found.node
        is_told = found.guest.frozen_by is not None and node is not None and world.heard(node)
        return Leftovers(
            snapshots=tuple(
                (kept.id, kept.run)
                for kept in world.snapshots.values()
                if kept.exists and kept.machine.id == machine
            ),
            guest_snapshots=() if shadow is None else ((shadow.id, shadow.run),),
            reference_points=tuple((point.id, point.run) for point in found.references.values()),
            frozen_maps=tuple(
                (node, disk.id, run)
                for disk in found.disks
                for node, kept in world.maps.known(disk.id)
                if world.heard(node)
                for run in kept.frozen
            ),
            frozen_guest=found.guest.frozen_by,
            frozen_on=node if is_told else None,
            saved_by=None if found.saved is None else found.saved.run,
            unheard=tuple(
                node for node in world.nodes if world.running(node) and node in world.cut_off
            ),
        )
