"""The `Cluster` port over the world."""

from typing import Any

from reference_engine.model.errors import (
    CoordinatorMoveRefusedError,
    MachineUnknownError,
    OperationFailedError,
)
from reference_engine.model.identity import MachineId, NodeName, VolumeName
from reference_engine.model.machine import Placement, VolumeState
from reference_engine.model.units import Duration
from reference_engine.trace.cluster import RedirectionChanged
from simulator.facade.door import Address
from simulator.world import room
from simulator.world.cluster import World


class ClusterFacade:
    """Answers as the failover cluster does."""

    def __init__(self, world: World, /) -> None:
        self._world = world
        self._moves = 0

    def address(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Address:  # noqa: ARG002 - the protocol's form
        """The cluster service answers as long as any node runs."""
        return Address(subject=args[0] if args else "cluster", node=None)

    async def locate(self, machine: MachineId, /) -> Placement:
        """Return where the machine is, or was last."""
        world, found = self._world, self._world.machines[machine]
        self._need_quorum("locate")
        if found.deleted:
            raise MachineUnknownError(machine)
        assert found.last_node is not None
        owner = world.stale.get(machine) or found.node or found.last_node
        others: tuple[NodeName, ...] = ()
        twin = world.twins.get(machine)
        if twin is not None and twin.node is not None and twin.node != owner:
            # The inventory names whoever was registered last.
            owner, others = twin.node, (owner,)
        return Placement(
            machine=machine,
            owner=owner,
            others=others,
            generation=found.placements,
            settled=found.settled and not found.migrating and found.home is not None,
        )

    def _need_quorum(self, operation: str) -> None:
        if not self._world.quorate:
            raise OperationFailedError(operation, "the cluster has lost its quorum")

    async def machines(self) -> tuple[MachineId, ...]:
        """Return every machine that was not deleted."""
        self._need_quorum("machines")
        machines = self._world.machines.values()
        return tuple(sorted(machine.id for machine in machines if not machine.deleted))

    async def nodes(self) -> tuple[NodeName, ...]:
        """Return every node that is up."""
        return tuple(node for node in self._world.nodes if self._world.running(node))

    async def volume(self, volume: VolumeName, /) -> VolumeState:
        """Return the volume's state."""
        self._need_quorum("volume")
        found = self._world.volumes[volume]
        return VolumeState(
            volume=volume,
            coordinator=found.coordinator,
            preferred=found.preferred,
            redirected=found.redirected,
            settled=not found.moving,
            redirections=found.redirections,
            free=room.free_of(self._world, found),
            one_host=found.by_storage,
            direct_rate=found.disk.rate,
            redirected_rate=found.network.rate,
        )

    async def move_coordinator(self, volume: VolumeName, /, *, target: NodeName) -> None:
        """Move the coordinator, unless the volume is pinned or the target is down."""
        found = self._world.volumes[volume]
        if found.pinned or not self._world.member(target) or found.moving:
            raise CoordinatorMoveRefusedError(volume, target)
        if found.coordinator == target:
            return
        found.moving = True
        self._moves += 1
        chance = self._world.sim.stream("move", volume, self._moves)
        await self._world.sim.sleep(Duration(chance.between(*self._world.move_time)))
        found.moving = False
        if not self._world.running(target):
            raise OperationFailedError("move_coordinator", f"{target} went down")
        self._world.set_coordinator(found, target, why="engine")

    async def enter_redirected(self, volume: VolumeName, /) -> None:
        """Send every write through the coordinator."""
        self._redirect(volume, redirected=True)

    async def leave_redirected(self, volume: VolumeName, /) -> None:
        """Let nodes write directly."""
        self._redirect(volume, redirected=False)

    def _redirect(self, volume: VolumeName, *, redirected: bool) -> None:
        found = self._world.volumes[volume]
        if found.redirected != redirected:
            found.redirected = redirected
            if not redirected:
                found.redirections += 1
            self._world.emit(
                RedirectionChanged(at=self._world.sim.now(), volume=volume, redirected=redirected)
            )
