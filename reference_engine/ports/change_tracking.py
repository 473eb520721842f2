"""Change tracking: filter maps on nodes (E1) and Resilient Change Tracking in the disk (E3).

A tracker belongs to the disk, not to the node that answers: what changed is the union over every
node that wrote the disk since the base.
"""

from typing import Protocol

import msgspec

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, ReferencePointId, RunTag, SnapshotId


class TrackerState(msgspec.Struct, frozen=True, kw_only=True):
    """One node's word on one disk."""

    node: NodeName
    reachable: bool
    intact: bool
    """False once the node lost its map (power cut, driver reload) since the last switch."""

    since: RunTag | None = None
    """The run whose switch began the running map; None where it began with the disk itself."""


class ChangeTracking(Protocol):
    """What can be asked of the trackers of one disk."""

    async def trackers(self, disk: DiskId, /) -> tuple[TrackerState, ...]:
        """Return the state of every node that has written the disk since its maps were dropped.

        The list is the cluster's own record and is complete also for nodes that are down.
        """

    async def switch(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Freeze the node's map under the run's tag and start an empty one, in one instant.

        While another run's map is frozen, part of what changed since the base is in that one, and
        may come back after this run has looked: then `frozen` has no answer for this run.
        """

    async def arm(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Have the node switch its map inside the hold of this run's host snapshot."""

    async def frozen(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> ExtentSet:
        """Return the map that `switch` froze, of the disk as large as it was then.

        Raises:
            TrackerUnusableError: there is none under this tag, or it was lost, or another run's was
                frozen when this one was switched; compare instead.
        """

    async def drop(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Forget a frozen map after its run has committed; true also where it is gone."""

    async def merge_back(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Join a frozen map with the running one, after its run was aborted."""

    async def changed_since(
        self, disk: DiskId, /, *, since: ReferencePointId, until: SnapshotId
    ) -> ExtentSet:
        """Return every byte that may differ between the two instants: never too little.

        Raises:
            TrackerUnusableError: the reference point is unknown, or its map was lost.

        Source: Msvm_ImageManagementService.GetVirtualDiskChanges.
        """
