"""A backup of disk files: the engine's own job over file ports, watched for what people see."""

from typing import Final

import msgspec

from reference_engine.adapters.asyncio_runtime import wall_clock
from reference_engine.adapters.files.cluster import FileCluster
from reference_engine.adapters.files.consistency import NoGuest
from reference_engine.adapters.files.disk_files import DiskFiles
from reference_engine.adapters.files.disk_io import FileDiskIo
from reference_engine.adapters.files.host import FileHost
from reference_engine.jobs.backup import BackupRun
from reference_engine.jobs.surroundings import Concession, Policy, Ports, VolumeLedger
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import HOUR, ByteCount, Duration
from reference_engine.ports.change_tracking import ChangeTracking
from reference_engine.ports.disk_io import Content, DiskIo
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.pack import Level
from reference_engine.repository.reader import Progress
from reference_engine.repository.repository import Repository
from reference_engine.sync.pacing import ConsiderateDiskIo, PacedDiskIo
from reference_engine.trace import Event

_POLICY: Final = msgspec.structs.replace(
    # Nothing waits for a file, however large it is: there is no guest and no snapshot to grow.
    Policy(),
    copy_limit=Duration(1000 * HOUR),
    step_limit=Duration(24 * HOUR),
)


class _WatchedDiskIo(DiskIo):
    """Says how much has been read."""

    def __init__(self, source: DiskIo, progress: Progress, /) -> None:
        self._source = source
        self._progress = progress

    async def allocated(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return what the source returns."""
        return await self._source.allocated(snapshot, disk)

    async def read(
        self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /, *, through: NodeName
    ) -> Content:
        """Return what the source returns, and count it."""
        content = await self._source.read(snapshot, disk, extents, through=through)
        self._progress(extents.total)
        return content


async def back_up_files(
    repository: Repository,
    files: DiskFiles,
    /,
    *,
    tracking: ChangeTracking,
    level: Level,
    runtime: Runtime,
    progress: Progress,
    rate: ByteCount | None,
    latency_budget: Duration | None,
    domain: str | None = None,
) -> RecoveryPoint:
    """Return the new point of the machine that the files are, committed.

    `tracking` knows what changed since the machine's newest point, or that nobody does. `domain`
    is the name of the point's dedup domain; None: that of the machine's newest point. `rate` is
    how many bytes a second may be read; None: as fast as they come. Where a read takes longer than
    `latency_budget`, the source is read more slowly; None: nobody asks.

    Raises:
        SourceChangedError: a file was written meanwhile; nothing was committed.
        SupersededError: a newer run of the same machine was opened; nothing was committed.
        RefusedError, TransientError: a source or the repository is not usable.
    """
    source: DiskIo = FileDiskIo(files)
    if latency_budget is not None:
        source = ConsiderateDiskIo(source, runtime, budget=latency_budget)
    if rate is not None:
        source = PacedDiskIo(source, runtime, rate=rate)
    ports = Ports(
        runtime=runtime,
        cluster=FileCluster(files),
        host=FileHost(files),
        consistency=NoGuest(),
        tracking=tracking,
        disk_io=_WatchedDiskIo(source, progress),
        repository=repository,
        tracer=_forget,
        wall_clock=wall_clock,
    )
    policy = msgspec.structs.replace(_POLICY, level=level, domain=domain)
    return await BackupRun(
        ports, policy, VolumeLedger(), files.machine, concession=Concession.NONE
    ).back_up()


def _forget(event: Event) -> None:
    """Take a fact; the point itself holds everything that this command reports."""
    del event
