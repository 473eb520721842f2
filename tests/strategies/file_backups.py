"""Backups of disk files, as the command makes them without any options."""

from reference_engine.adapters.files.change_tracking import NoTracking
from reference_engine.adapters.files.disk_files import DiskFiles
from reference_engine.app.file_backup import back_up_files
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.pack import Level
from reference_engine.repository.reader import Progress
from reference_engine.repository.repository import Repository


async def back_up_all(
    repository: Repository,
    files: DiskFiles,
    runtime: Runtime,
    *,
    progress: Progress = lambda _: None,
) -> RecoveryPoint:
    """Return the new point of the machine that the files are; every byte of them was read."""
    return await back_up_files(
        repository,
        files,
        tracking=NoTracking(),
        level=Level.DEFAULT,
        rate=None,
        latency_budget=None,
        runtime=runtime,
        progress=progress,
    )
