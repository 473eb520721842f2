"""Change tracking of disk files: nobody watches them, but somebody may know what changed."""

from reference_engine.adapters.files.disk_files import LOCAL
from reference_engine.model.errors import TrackerUnusableError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, ReferencePointId, RunTag, SnapshotId
from reference_engine.ports.change_tracking import ChangeTracking, TrackerState


class NoTracking(ChangeTracking):
    """Nobody watches who writes a file."""

    async def trackers(self, disk: DiskId, /) -> tuple[TrackerState, ...]:
        """Return nothing."""
        del disk
        return ()

    async def switch(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Change nothing."""

    async def arm(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Change nothing."""

    async def frozen(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> ExtentSet:
        """Refuse.

        Raises:
            TrackerUnusableError: always.
        """
        del node, run
        raise TrackerUnusableError(disk, "a disk file has no change map")

    async def drop(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Change nothing."""

    async def merge_back(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> None:
        """Change nothing."""

    async def changed_since(
        self, disk: DiskId, /, *, since: ReferencePointId, until: SnapshotId
    ) -> ExtentSet:
        """Refuse.

        Raises:
            TrackerUnusableError: always.
        """
        del since, until
        raise TrackerUnusableError(disk, "a disk file has no change tracking")


class GivenTracking(NoTracking):
    """Somebody says what changed since the newest point, of one disk."""

    def __init__(self, changed: ExtentSet, /) -> None:
        self._changed = changed

    async def trackers(self, disk: DiskId, /) -> tuple[TrackerState, ...]:
        """Return the one who says so."""
        del disk
        return (TrackerState(node=LOCAL, reachable=True, intact=True),)

    async def frozen(self, node: NodeName, disk: DiskId, /, *, run: RunTag) -> ExtentSet:
        """Return what was said."""
        del node, disk, run
        return self._changed
