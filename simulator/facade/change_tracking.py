"""The `ChangeTracking` port over the world's trackers."""

from typing import Any

from reference_engine.model.errors import MachineUnknownError, TrackerUnusableError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, ReferencePointId, RunTag, SnapshotId
from reference_engine.ports.change_tracking import TrackerState
from reference_engine.trace.cluster import MapDropped, MapMerged, MapSwitched
from simulator.facade.door import Address
from simulator.world.cluster import World
from simulator.world.trackers import FilterMap, rct_changes


class ChangeTrackingFacade:
    """Answers as the filter drivers of the nodes, or the RCT of a disk file, do."""

    def __init__(self, world: World, /) -> None:
        self._world = world

    def address(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Address:  # noqa: ARG002 - the protocol's form
        """A map is asked for on its node, RCT on the node that runs the machine."""
        if operation == "trackers":
            return Address(subject=self._world.machine_of_disk(args[0]).id, node=None)
        if operation == "changed_since":
            machine = self._world.machine_of_disk(args[0])
            return Address(subject=machine.id, node=machine.node)
        return Address(subject=self._world.machine_of_disk(args[1]).id, node=args[0])

    def _map(self, node: NodeName, disk: DiskId) -> FilterMap:
        machine = self._world.machine_of_disk(disk)
        machine.advance()
        return self._world.maps.of(node, machine.disk(disk))

    async def trackers(self, disk: DiskId, /) -> tuple[TrackerState, ...]:
        """Return the state of every node that ever wrote the disk."""
        return tuple(
            TrackerState(
                node=node,
                reachable=self._world.running(node),
                intact=kept.intact,
                since=kept.since,
            )
            for node, kept in self._world.maps.known(disk)
        )

    async def switch(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Freeze the node's map now; repeating it for the same run changes nothing."""
        kept = self._map(node, disk)
        if run not in kept.frozen:
            kept.switch(run)
            self._world.emit(MapSwitched(at=self._world.sim.now(), node=node, disk=disk, run=run))

    async def arm(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Have the map switched in the hold of the run's snapshot."""
        self._map(node, disk).armed = run

    async def frozen(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> ExtentSet:
        """Return a frozen map."""
        return self._map(node, disk).extents(run)

    async def drop(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Forget a frozen map."""
        kept = self._map(node, disk)
        if run in kept.frozen:
            del kept.frozen[run]
            self._world.emit(
                MapDropped(at=self._world.sim.now(), node=node, disk=disk, run=run, why="engine")
            )

    async def merge_back(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Join a frozen map with the running one."""
        kept = self._map(node, disk)
        if run in kept.frozen:
            kept.merge_back(run)
            self._world.emit(MapMerged(at=self._world.sim.now(), node=node, disk=disk, run=run))

    async def changed_since(
        self, disk: DiskId, /, *, since: ReferencePointId, until: SnapshotId
    ) -> ExtentSet:
        """Return what RCT noted between a reference point and a checkpoint."""
        machine = self._world.machine_of_disk(disk)
        if machine.deleted:
            raise MachineUnknownError(machine.id)
        point = machine.references.get(since)
        if point is None:
            raise TrackerUnusableError(disk, f"reference point {since} is unknown")
        snapshot = self._world.snapshots.known(until)
        snapshot.image(disk)
        return rct_changes(
            machine.disk(disk),
            snapshot.live[disk],
            point,
            granule_cells=self._world.rct_granule_cells,
            size=snapshot.sizes[disk],
        )
