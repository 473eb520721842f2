"""`twinshot restore`: a point's disks as images, or onto disks that exist."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.broken_log import open_to_read
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, sized
from reference_engine.app.places import Place
from reference_engine.app.repositories import CountingStore, open_store
from reference_engine.app.restoring.holes import Holes
from reference_engine.app.restoring.images import image_directory, image_paths, image_writer
from reference_engine.app.restoring.onto import described, restore_onto
from reference_engine.app.restoring.request import Manner, Request, window_of
from reference_engine.catalogue.points import PointLabel, chosen_point
from reference_engine.formats.output_file import Existing
from reference_engine.model.errors import CorruptionError, InputRefusedError
from reference_engine.model.identity import DiskId
from reference_engine.model.units import ByteCount
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.reader import PointReader
from reference_engine.repository.repository import Repository
from reference_engine.restore.write_back import restore_range

_READERS: Final = 2
"""Parts of a disk that are read at the same time; a third gained nothing on two cores."""


def restore(
    point: str,
    /,
    *,
    repo: Place,
    to: str,
    disk: str | None = None,
    span: Annotated[str | None, Parameter(name="--range")] = None,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    in_place: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    accept_damage: Path | None = None,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Write a point's disks to new images, or one of them onto a disk that exists.

    New images appear whole, all of them, or not at all. A disk that exists begins with a mark while
    it is incomplete, and running the command again finishes it.

    Args:
        point: A point's id or its beginning, a machine's name, or `latest`.
        repo: Directory of the repository, or s3://bucket/prefix.
        to: An image (`.vhdx`, `.raw`, `.img`), a directory for all disks, a block device, or an
            NBD export: nbd://host:port/export, nbd+unix:///export?socket=PATH.
        disk: The one disk to restore.
        span: The one range of bytes to restore, START-END, such as 1MiB-3MiB.
        overwrite: Replace images that exist, or all that a device holds.
        in_place: Compare what exists with the point, and write only what differs.
        accept_damage: Restore what is left of a damaged point, zeros for the rest (in place: what
            was there), and write to this file, as JSON, what is missing.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    request = Request(
        point=point,
        repository=repo,
        to=to,
        disk=disk,
        span=span,
        existing=Existing.REPLACE if overwrite else Existing.REFUSE,
        manner=Manner.UPDATE if in_place else Manner.ANEW,
        holes=accept_damage,
        keys=keys,
    )
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_restore(request, runtime, output))


async def _restore(request: Request, runtime: Runtime, output: Output) -> ExitCode:
    store = CountingStore(open_store(request.repository))
    repository = await open_to_read(
        request.repository, runtime, Keyholder(request.keys), output, store=store
    )
    label = await chosen_point(repository, request.point)
    try:
        return await _write(repository, store, label, request, runtime, output)
    except CorruptionError as error:
        raise await repository.manifests.explained(label.point, error) from error


async def _write(  # noqa: PLR0917 - from where, what, and where to
    repository: Repository,
    store: CountingStore,
    label: PointLabel,
    request: Request,
    runtime: Runtime,
    output: Output,
) -> ExitCode:
    reader = await repository.reader(label.point)
    disks = _chosen(reader, request.disk)
    if len(disks) > 1 and (request.is_onto or request.span is not None):
        raise InputRefusedError(
            f"the point has {len(disks)} disks", "name the one to restore with --disk"
        )
    holes = Holes(label.point, request.holes)
    if request.is_onto:
        [each] = disks
        done = await restore_onto(
            reader, each, request, holes=holes, runtime=runtime, output=output
        )
        _report(
            output,
            label,
            each,
            path=request.to,
            size=reader.size(each),
            written=done.bytes_written,
            compared=done.bytes_compared,
        )
        output.say(f"{each} restored to {request.to}: {described(done, request)}")
    else:
        await _to_images(request, label, reader, disks, holes, runtime, output)
    code = ExitCode.OK
    if holes:
        holes.write()
        code = ExitCode.PARTIAL
        output.say(f"{sized(holes.total)} could not be read; {request.holes} says which")
    for name, sectors in sorted(repository.mended.items()):
        output.remark(f"{name}: {sectors} damaged sectors, restored from parity")
    output.summary(
        point=label.point,
        disks=len(disks),
        bytes_lost=holes.total,
        requests=msgspec.to_builtins(store.requests),
        exit_code=int(code),
    )
    return code


async def _to_images(  # noqa: PLR0917 - all that a restore is made of
    request: Request,
    label: PointLabel,
    reader: PointReader,
    disks: tuple[DiskId, ...],
    holes: Holes,
    runtime: Runtime,
    output: Output,
) -> None:
    """Write new images, give them their names when all are complete, and say so."""
    chance = runtime.random("restore")
    targets = image_paths(request, disks)
    windows = {each: window_of(request.span, size=reader.size(each)) for each in disks}
    sizes = {each: windows[each].total for each in disks}
    total = sum([((await reader.allocated(each)) & windows[each]).total for each in disks])
    readers = [reader, *(reader.beside() for _ in range(_READERS - 1))]
    with contextlib.ExitStack() as stack:
        if request.is_directory:
            stack.enter_context(image_directory(Path(request.to)))
        # Leaving the stack abandons every image that was not finished.
        writers = {
            each: stack.enter_context(
                image_writer(targets[each], sizes[each], existing=request.existing, chance=chance)
            )
            for each in disks
        }
        written: dict[DiskId, ByteCount] = {}
        with output.progress("restoring", total) as advance:
            for each in disks:
                written[each] = await restore_range(
                    readers,
                    each,
                    writers[each],
                    window=windows[each],
                    runtime=runtime,
                    progress=advance,
                    on_damage=partial(holes.note, each),
                )
                if not holes:
                    await reader.confirm_pages(each)
        for each in disks:
            writers[each].finish()
    for each in disks:
        path = str(targets[each])
        _report(output, label, each, path=path, size=sizes[each], written=written[each])
        output.say(
            f"{each}: {sized(written[each])} of {sized(sizes[each])} "
            f"restored to {path}, every block checked"
        )


def _report(
    output: Output,
    label: PointLabel,
    disk: DiskId,
    /,
    *,
    path: str,
    size: ByteCount,
    written: ByteCount,
    compared: int = 0,
) -> None:
    output.record(
        "disk",
        point=label.point,
        vm=label.name,
        disk=disk,
        path=path,
        size=size,
        bytes_written=written,
        bytes_compared=compared,
    )


def _chosen(reader: PointReader, disk: str | None) -> tuple[DiskId, ...]:
    if disk is None:
        return reader.disks
    if disk not in reader.disks:
        raise InputRefusedError(
            f"the point has no disk {disk!r}", f"choose from {', '.join(reader.disks)}"
        )
    return (DiskId(disk),)
