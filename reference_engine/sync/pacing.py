"""Reading no faster than asked, for the sake of whoever else uses the storage."""

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.model.units import SECOND, ByteCount, Duration
from reference_engine.ports.disk_io import DiskIo
from reference_engine.ports.runtime import Runtime


class PacedDiskIo(DiskIo):
    """A source that is read at `rate` bytes a second at most, over every stretch of time.

    Time in which nothing was read is not saved up: a burst would be what was to be avoided.
    """

    def __init__(self, source: DiskIo, runtime: Runtime, /, *, rate: ByteCount) -> None:
        """Take the rate, which is positive."""
        assert rate > 0, rate
        self._source, self._runtime, self._rate = source, runtime, rate
        self._free_at = runtime.now()

    async def allocated(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return what the source returns."""
        return await self._source.allocated(snapshot, disk)

    async def read(
        self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /, *, through: NodeName
    ) -> bytes:
        """Return what the source returns, when it is this read's turn.

        Raises:
            SnapshotLostError: as the source does.
        """
        begin = max(self._free_at, self._runtime.now())
        self._free_at = type(begin)(begin + -(-extents.total * SECOND // self._rate))
        if begin > self._runtime.now():
            await self._runtime.sleep(Duration(begin - self._runtime.now()))
        return await self._source.read(snapshot, disk, extents, through=through)
