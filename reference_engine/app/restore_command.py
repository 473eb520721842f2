"""`twinshot restore`: a point's disks as image files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, sized
from reference_engine.app.repositories import open_repository
from reference_engine.catalogue.points import point_labels, select_point
from reference_engine.formats.output_file import Existing
from reference_engine.formats.raw_writer import RawWriter
from reference_engine.formats.vhdx_writer import VhdxIdentity, VhdxWriter
from reference_engine.formats.writer import DiskWriter
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.identity import DiskId
from reference_engine.model.units import ByteCount
from reference_engine.ports.runtime import RandomStream, Runtime
from reference_engine.repository.reader import PointReader
from reference_engine.restore.write_back import restore_disk

_RAW: Final = (".raw", ".img")
_VHDX: Final = ".vhdx"


def restore(
    point: str,
    /,
    *,
    repo: str,
    to: str,
    disk: str | None = None,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Write a point's disks to new images; they appear whole, all of them, or not at all.

    Args:
        point: A point's id or its beginning, a machine's name, or `latest`.
        repo: Directory of the repository, or s3://bucket/prefix.
        to: An image (`.vhdx`, `.raw`, `.img`) for one disk, or a directory for all of them.
        disk: The one disk to restore.
        overwrite: Replace images that exist.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    request = _Request(
        point=point,
        repository=repo,
        to=to,
        disk=disk,
        existing=Existing.REPLACE if overwrite else Existing.REFUSE,
        keys=keys,
    )
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_restore(request, runtime, output))


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be restored, and where to."""

    point: str
    repository: str
    to: str
    disk: str | None
    existing: Existing
    keys: KeyOptions


async def _restore(request: _Request, runtime: Runtime, output: Output) -> ExitCode:
    chance = runtime.random("restore")
    repository = await open_repository(request.repository, runtime, request.keys)
    label = select_point(await point_labels(repository), request.point)
    reader = await repository.reader(label.point)
    disks = _chosen(reader, request.disk)
    targets = _targets(request.to, disks)
    total = sum([(await reader.allocated(each)).total for each in disks])
    with contextlib.ExitStack() as stack:
        if _is_directory(request.to):
            stack.enter_context(_directory(Path(request.to)))
        # Leaving the stack abandons every image that was not finished.
        writers = {
            each: stack.enter_context(
                _writer(targets[each], reader.size(each), request.existing, chance)
            )
            for each in disks
        }
        with output.progress("restoring", total) as advance:
            written = {
                each: await restore_disk(reader, each, writers[each], progress=advance)
                for each in disks
            }
        for each in disks:
            writers[each].finish()
    for each in disks:
        output.record(
            "disk",
            point=label.point,
            vm=label.name,
            disk=each,
            path=str(targets[each]),
            size=reader.size(each),
            bytes_written=written[each],
        )
        output.say(
            f"{each}: {sized(written[each])} of {sized(reader.size(each))} "
            f"restored to {targets[each]}, every block checked"
        )
    for name, sectors in sorted(repository.mended.items()):
        output.remark(f"{name}: {sectors} damaged sectors, restored from parity")
    output.summary(point=label.point, disks=len(disks), exit_code=int(ExitCode.OK))
    return ExitCode.OK


def _chosen(reader: PointReader, disk: str | None) -> tuple[DiskId, ...]:
    if disk is None:
        return reader.disks
    if disk not in reader.disks:
        raise InputRefusedError(
            f"the point has no disk {disk!r}", f"choose from {', '.join(reader.disks)}"
        )
    return (DiskId(disk),)


def _is_directory(to: str) -> bool:
    return to.endswith("/") or Path(to).is_dir()


def _targets(to: str, disks: tuple[DiskId, ...]) -> dict[DiskId, Path]:
    if _is_directory(to):
        targets = {disk: Path(to) / _file_name(disk) for disk in disks}
        if len(set(targets.values())) < len(disks):
            raise InputRefusedError(
                "two disks would get the same file name", "restore them one by one with --disk"
            )
        return targets
    if len(disks) > 1:
        raise InputRefusedError(
            f"the point has {len(disks)} disks", "give a directory (DIR/), or one of them (--disk)"
        )
    if Path(to).suffix.lower() not in {_VHDX, *_RAW}:
        raise InputRefusedError(
            f"{to} names no image format", "end it in .vhdx, .raw or .img, or in / for a directory"
        )
    return {disks[0]: Path(to)}


def _file_name(disk: DiskId) -> str:
    name = disk.replace("/", "_").replace("\\", "_").lstrip(".") or "disk"
    return name if Path(name).suffix.lower() in {_VHDX, *_RAW} else f"{name}{_VHDX}"


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[None]:
    """Have the directory exist while images are written; a new one goes again with them."""
    made = not path.exists()
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise InputRefusedError(
            f"{path} cannot be made a directory", "choose another place"
        ) from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _writer(target: Path, size: ByteCount, existing: Existing, chance: RandomStream) -> DiskWriter:
    if target.suffix.lower() in _RAW:
        return RawWriter.create(target, size, existing=existing)
    identity = VhdxIdentity(
        disk_id=bytes.fromhex(chance.token()),
        data_write_id=bytes.fromhex(chance.token()),
        file_write_id=bytes.fromhex(chance.token()),
    )
    return VhdxWriter.create(target, size, identity=identity, existing=existing)
