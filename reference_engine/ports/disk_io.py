"""Reading the disks of a snapshot. There is no way to write a production disk."""

from typing import Protocol

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId

Content = bytes | memoryview
"""Bytes of a disk, as whoever read them has them: a view is of bytes, contiguous, read-only."""


class DiskIo(Protocol):
    """Bytes of a snapshot, read through one node."""

    async def allocated(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return every byte that may be other than zero."""

    async def read(
        self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /, *, through: NodeName
    ) -> Content:
        """Return the bytes of `extents`, one range after the other.

        Raises:
            SnapshotLostError: the snapshot is gone; what was read from it before is void.
        """
