"""The `Consistency` port over the world's guests."""

from typing import Any

from reference_engine.model.errors import (
    GuestSnapshotLostError,
    MachineBusyError,
    NotOwnerError,
    OperationFailedError,
    SnapshotLostError,
)
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, MachineId, NodeName, RunTag
from reference_engine.model.units import MILLISECOND, SECOND, ByteCount, Duration
from reference_engine.ports.consistency import GuestSnapshot, PreImages
from simulator.facade.door import Address
from simulator.world.cluster import World


class ConsistencyFacade:
    """Answers as the integration services of the machine's guest do."""

    def __init__(self, world: World, /) -> None:
        self._world = world
        self._asked_in: dict[RunTag, int] = {}
        """In which session of the engine a run's freeze was asked for, however late it comes."""

    def address(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Address:
        """Freeze and thaw go through the named node, the rest to wherever the machine runs."""
        run: RunTag = kwargs["run"]
        if operation == "freeze":
            self._asked_in[run] = self._world.session
        if operation in {"freeze", "thaw"}:
            return Address(subject=run.machine, node=args[0])
        return Address(subject=run.machine, node=self._world.machines[run.machine].node)

    async def freeze(self, node: NodeName, /, *, run: RunTag) -> GuestSnapshot:
        """Bring the guest to rest and take its snapshot."""
        machine = self._world.machine_at(node, run.machine)
        if machine.home != node:
            raise NotOwnerError(run.machine, node)
        if machine.off:
            raise OperationFailedError("freeze", "the machine is shut down")
        if machine.obstacles:
            raise OperationFailedError("freeze", "; ".join(machine.obstacles))
        if machine.blackout:
            raise MachineBusyError(run.machine, "migrating")
        machine.advance()
        machine.canary()
        machine.guest.session = self._asked_in[run]
        chance = self._world.sim.stream("flush", run.machine, run.epoch)
        shadow, clock = await machine.guest.freeze(
            run,
            node=self._world.nodes[node],
            flush=Duration(chance.between(20 * MILLISECOND, 1500 * MILLISECOND)),
            cut=machine.cut,
        )
        machine.canary()
        return GuestSnapshot(id=shadow.id, run=run, clock=clock)

    async def thaw(self, node: NodeName, /, *, run: RunTag) -> bool:
        """Let the guest go on."""
        machine = self._world.machine_at(node, run.machine)
        if machine.home != node:
            raise NotOwnerError(run.machine, node)
        newest = machine.guest.frozen_by
        stood = newest is not None and newest.epoch <= run.epoch
        if stood:
            machine.guest.go_on("engine")
        machine.canary()
        return stood

    async def pre_images(self, machine: MachineId, disk: DiskId, /, *, run: RunTag) -> PreImages:
        """Return what the diff area, as the host snapshot cut it, holds."""
        found = self._world.disk(disk)
        snapshot = next(
            (
                kept
                for kept in self._world.snapshots.values()
                if kept.run == run and disk in kept.pre_images and kept.exists
            ),
            None,
        )
        if snapshot is None:
            raise SnapshotLostError(f"of the guest of {machine}")
        if snapshot.shadow_lost:
            raise GuestSnapshotLostError(machine)
        # Mounting the disk on the host is what makes this step slow on real hosts.
        chance = self._world.sim.stream("mount", machine, disk, run.epoch)
        await self._world.sim.sleep(Duration(chance.between(200 * MILLISECOND, 4 * SECOND)))
        snapshot.image(disk)
        if snapshot.leads_astray.get(disk, snapshot.machine.mounts_astray):
            # A mounted file system replays its log, wherever the path led as it was resolved.
            snapshot.machine.damage(disk)
        cells, stamps, area = snapshot.pre_images[disk]
        piece, size = ByteCount(found.cell), snapshot.sizes[disk]
        extents = ExtentSet.of_pieces(cells, piece=piece, size=size)
        content = found.content.expand(cells, stamps).tobytes()[: extents.total]
        return PreImages(
            extents=extents,
            content=content,
            diff_area=ExtentSet.of_pieces(area, piece=piece, size=size),
            piece=ByteCount(found.cell * found.cow_cells),
        )

    async def delete_snapshot(self, machine: MachineId, /, *, run: RunTag) -> None:
        """Delete the guest snapshot of this run."""
        found = self._world.machines[machine]
        found.advance()
        found.guest.forget_shadow(run)
        found.canary()
