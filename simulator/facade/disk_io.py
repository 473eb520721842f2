"""The `DiskIo` port over the world's snapshots."""

from typing import Any

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from simulator.facade.door import Address
from simulator.world.cluster import World
from simulator.world.snapshots import machine_of


class DiskIoFacade:
    """Reads snapshots at the speed that the volume's other readers leave."""

    def __init__(self, world: World, /) -> None:
        self._world = world

    def address(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Address:
        """A read is done by the node it goes through."""
        node = kwargs["through"] if operation == "read" else None
        return Address(subject=machine_of(args[0]), node=node)

    async def allocated(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return what may be other than zero."""
        return self._world.snapshots.known(snapshot).allocated(self._world.disk(disk))

    async def read(
        self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /, *, through: NodeName
    ) -> bytes:
        """Return the bytes of `extents`, once they have come over the volume."""
        found = self._world.disk(disk)
        kept = self._world.snapshots.known(snapshot)
        volume = self._world.volumes[kept.volumes[disk]]
        # A checkpoint is a file that any node reads; a host snapshot exists on its coordinator.
        away = not kept.on_volume and through != kept.node
        await volume.transfer(extents.total, redirected=away or volume.redirected)
        return kept.read(found, extents)
