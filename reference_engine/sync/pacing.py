"""Reading no faster than asked, for the sake of whoever else uses the storage."""

from typing import Final

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.model.units import KIB, MIB, SECOND, ByteCount, Duration
from reference_engine.ports.disk_io import Content, DiskIo
from reference_engine.ports.runtime import Runtime

PORTION_MIN: Final = ByteCount(64 * KIB)
PORTION_MAX: Final = ByteCount(4 * MIB)
"""Between these is what is read at once: the less, the sooner it is somebody else's turn."""

RESTS_MAX: Final = 16
"""The source is left alone for at most so many times as long as the last read took."""


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
    ) -> Content:
        """Return what the source returns, when it is this read's turn.

        Raises:
            SnapshotLostError: as the source does.
        """
        begin = max(self._free_at, self._runtime.now())
        self._free_at = type(begin)(begin + -(-extents.total * SECOND // self._rate))
        if begin > self._runtime.now():
            await self._runtime.sleep(Duration(begin - self._runtime.now()))
        return await self._source.read(snapshot, disk, extents, through=through)


class ConsiderateDiskIo(DiskIo):
    """A source that is left alone where it answers later than `budget`: others need it more.

    A read that was late halves what is read at once: whoever waits behind a read waits as long as
    that takes. Each that was not lets it grow by `PORTION_MIN`. Where the next one is late all the
    same, the source is left alone for as long as that took, then for twice as long, and so on up to
    `RESTS_MAX` times. So however long others keep it busy, reading goes on, at a seventeenth of the
    time, and some dozens of reads after they are done it is as fast as before.
    """

    def __init__(self, source: DiskIo, runtime: Runtime, /, *, budget: Duration) -> None:
        """Take the latency from which on a read of a portion is late; it is positive."""
        assert budget > 0, budget
        self._source, self._runtime, self._budget = source, runtime, budget
        self._portion = PORTION_MAX
        self._rests = 0
        self._was_late = False

    async def allocated(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return what the source returns."""
        return await self._source.allocated(snapshot, disk)

    async def read(
        self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /, *, through: NodeName
    ) -> Content:
        """Return what the source returns, asked for in portions.

        Raises:
            SnapshotLostError: as the source does.
        """
        found: list[Content] = []
        for portion in extents.windows(self._portion):
            asked = self._runtime.now()
            found.append(await self._source.read(snapshot, disk, portion, through=through))
            took = Duration(self._runtime.now() - asked)
            self._learn(took)
            if self._rests:
                await self._runtime.sleep(Duration(self._rests * took))
        return found[0] if len(found) == 1 else b"".join(found)

    def _learn(self, took: Duration) -> None:
        is_late = took > self._budget
        if is_late:
            self._portion = max(ByteCount(self._portion // 2), PORTION_MIN)
            if self._was_late:
                self._rests = min(max(2 * self._rests, 1), RESTS_MAX)
        else:
            self._portion = min(ByteCount(self._portion + PORTION_MIN), PORTION_MAX)
            self._rests //= 2
        self._was_late = is_late
