"""Restoring onto what exists already: a raw image, a block device, an NBD export."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from reference_engine.adapters.targets.file_target import FileTarget
from reference_engine.adapters.targets.nbd import NbdTarget, is_nbd
from reference_engine.app.output import Output, sized
from reference_engine.app.restoring.holes import Holes
from reference_engine.app.restoring.request import (
    Manner,
    Request,
    is_device,
    refuse_size,
    window_of,
)
from reference_engine.formats.output_file import Existing
from reference_engine.formats.recognition import HEAD_BYTES, known_container
from reference_engine.formats.target import DiskTarget
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.identity import DiskId
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.reader import PointReader
from reference_engine.restore.in_place import InPlace, overwrite, update
from reference_engine.restore.marked_target import MarkedTarget

_CONTAINERS: Final = (".vhd", ".vhdx", ".avhd", ".avhdx", ".qcow2", ".vmdk")


async def restore_onto(
    reader: PointReader,
    disk: DiskId,
    request: Request,
    /,
    *,
    holes: Holes,
    runtime: Runtime,
    output: Output,
) -> InPlace:
    """Let the target be what the point has, and return how much of it was written.

    Raises:
        InputRefusedError: the target is not usable, or there was no consent to overwrite it.
        CorruptionError, TransientError: the target is marked as incomplete; restore it again.
    """
    size = reader.size(disk)
    window = window_of(request.span, size=size)
    [(start, end)] = window.bounds.tolist() or [(0, 0)]
    updates = request.manner is Manner.UPDATE
    if not updates and request.existing is Existing.REFUSE:
        raise InputRefusedError(
            f"all that {request.to} holds would be overwritten",
            "say --overwrite if that is meant, or --in-place to write only what differs",
        )
    with _opened(request.to) as target:
        _check_size(target, request, size=size, length=end - start, output=output)
        if end == start:
            return InPlace(window.total, window.total)
        reader.confirm(disk)
        at = start if updates else 0
        marked = MarkedTarget(target, start=at, end=at + end - start)
        note = partial(holes.note, disk)
        try:
            with output.progress("restoring", end - start) as advance:
                if updates:
                    done = await update(
                        reader,
                        disk,
                        marked,
                        window=window,
                        runtime=runtime,
                        progress=advance,
                        on_damage=note,
                    )
                else:
                    done = await overwrite(
                        reader,
                        disk,
                        marked,
                        window=window,
                        shift=-start,
                        runtime=runtime,
                        progress=advance,
                        on_damage=note,
                    )
            if not holes:
                await reader.confirm_pages(disk)
            await runtime.offload(marked.finish)
        except BaseException:
            if marked.is_marked:
                output.remark(
                    f"{target.name} is incomplete and begins with a mark that says so; "
                    "the same command finishes it"
                )
            raise
        return done


@contextlib.contextmanager
def _opened(to: str) -> Iterator[DiskTarget]:
    target: DiskTarget = NbdTarget(to) if is_nbd(to) else FileTarget(Path(to))
    try:
        yield target
    finally:
        target.close()


def _check_size(
    target: DiskTarget, request: Request, *, size: int, length: int, output: Output
) -> None:
    """Make sure that what is to be restored fits; a file has to have the disk's very size."""
    is_file = not (is_nbd(request.to) or is_device(request.to))
    if is_file:
        head = target.read(0, min(HEAD_BYTES, target.size))
        container = known_container(head)
        if container is not None or Path(request.to).suffix.lower() in _CONTAINERS:
            raise InputRefusedError(
                f"{request.to} is {container or 'named like an image that is no raw one'}",
                "only raw images, devices and NBD exports are written in place",
            )
        if target.size != size:
            raise refuse_size(target.name, target.size, size)
    needed = size if request.manner is Manner.UPDATE else length
    if target.size < needed:
        raise refuse_size(target.name, target.size, needed)
    if target.size > needed:
        output.remark(f"the last {sized(target.size - needed)} of {target.name} stay as they are")


def described(done: InPlace, request: Request, /) -> str:
    """Return what was done, for people."""
    if request.manner is Manner.UPDATE:
        return f"{sized(done.bytes_compared)} compared, {sized(done.bytes_written)} differed"
    return f"{sized(done.bytes_written)} written"
