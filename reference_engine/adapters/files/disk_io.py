"""Reading disk files that a checkpoint holds open."""

from reference_engine.adapters.files.disk_files import DiskFiles
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.ports.disk_io import Content, DiskIo


class FileDiskIo(DiskIo):
    """Reads in threads, so that the engine goes on hashing meanwhile."""

    def __init__(self, files: DiskFiles, /) -> None:
        self._files = files

    async def allocated(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return every byte that may be other than zero.

        Raises:
            SnapshotLostError: the checkpoint was released.
        """
        return await self._files.allocated(snapshot, disk)

    async def read(
        self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /, *, through: NodeName
    ) -> Content:
        """Return the bytes of `extents`, one range after the other.

        Raises:
            SnapshotLostError: the checkpoint was released.
            SourceChangedError: the file has shrunk.
        """
        del through
        return await self._files.read(snapshot, disk, extents)
