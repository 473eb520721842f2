"""`twinshot backup`: disk files as one machine, fully once and then what differs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.files.disk_files import DiskFiles
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.file_backup import back_up_files
from reference_engine.app.output import Output, sized
from reference_engine.app.repositories import (
    CountingStore,
    open_or_create_repository,
    open_store,
)
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.identity import MachineId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.ports.runtime import Runtime


def backup(
    *files: Path,
    repo: str,
    name: str | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Back up disk files as one machine; the first time in full, later what differs.

    Args:
        files: Disk images that nobody writes meanwhile: raw, VHD or VHDX.
        repo: Directory of the repository, or s3://bucket/prefix; made when it does not exist.
        name: The machine's name; without it, the files' names.
        output: Where results go.
    """
    if not files:
        raise InputRefusedError("no file was named", "give the paths of disk images")
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_backup(files, repo, name, runtime, output))


async def _backup(
    files: tuple[Path, ...], place: str, name: str | None, runtime: Runtime, output: Output
) -> ExitCode:
    source = DiskFiles(MachineId(name or "+".join(path.stem for path in files)), files)
    # Sources come first: a mistyped path should not leave an empty repository behind.
    machine = await source.describe()
    store = CountingStore(open_store(place))
    repository = await open_or_create_repository(place, store, runtime=runtime, output=output)
    with output.progress("backing up", sum(disk.size for disk in machine.disks)) as advance:
        point = await back_up_files(repository, source, runtime=runtime, progress=advance)
    _report(point, store.created, output)
    return ExitCode.OK


def _report(point: RecoveryPoint, stored: ByteCount, output: Output) -> None:
    read = sum(record.bytes_read for record in point.disks)
    sent = sum(record.bytes_sent for record in point.disks)
    for record in point.disks:
        output.record(
            "disk",
            id=record.disk,
            size=record.size,
            transfer=record.transfer.kind.value,
            reason=record.transfer.reason.value,
            bytes_read=record.bytes_read,
            bytes_sent=record.bytes_sent,
            digest=record.digest,
        )
        output.say(
            f"{record.disk}: {record.transfer.kind.value} ({record.transfer.reason.value}), "
            f"{sized(record.bytes_read)} read, {sized(record.bytes_sent)} new"
        )
    output.say(f"{sized(read)} read, {sized(sent)} new, {sized(stored)} stored")
    output.say(f"point {point.id}")
    output.summary(
        point=point.id,
        vm=point.machine.name,
        base=point.base,
        bytes_read=read,
        bytes_sent=sent,
        bytes_stored=stored,
        exit_code=int(ExitCode.OK),
    )
