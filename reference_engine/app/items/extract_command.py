"""`twinshot items extract`: files out of a point, into a directory."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.targets.item_directory import ItemDirectory
from reference_engine.app.credentials import NO_OPTIONS, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.items.opening import Asked, chosen_tree, volumes_found
from reference_engine.app.output import Output, sized
from reference_engine.app.places import Place
from reference_engine.formats.output_file import Existing
from reference_engine.items.browsing import Located, find, walk
from reference_engine.items.extracting import Extraction, Streams
from reference_engine.items.tree import FileTree
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.wording import counted
from reference_engine.ports.runtime import Runtime


def extract(
    point: str,
    /,
    *path: str,
    repo: Place,
    to: Path,
    disk: str | None = None,
    volume: int | None = None,
    streams: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Take files and whole directories out of a point, each below its own last name.

    A file appears when it is whole. What could not be had is named in the end, and the exit code
    says that something is missing. Owners, rights and attributes are not taken along.

    Args:
        point: A point's id or its beginning, a machine's name, or `latest`.
        path: What to take; / takes everything.
        repo: Directory of the repository, or s3://bucket/prefix.
        to: The directory that they go into; it is made if it is not there.
        disk: The disk that they are on, where the point has several.
        volume: The number of the volume, as `items volumes` has it.
        streams: Write alternate streams of NTFS beside their files, as NAME:STREAM.
        overwrite: Replace files that exist.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    if not path:
        raise InputRefusedError("nothing to take out", "name paths as `items list` shows them")
    asked = Asked(point=point, repository=repo, disk=disk, volume=volume, keys=keys)
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(
        _extract(
            asked,
            path,
            to,
            Existing.REPLACE if overwrite else Existing.REFUSE,
            Streams.BESIDE if streams else Streams.LEFT_OUT,
            runtime=runtime,
            output=output,
        )
    )


async def _extract(
    asked: Asked,
    paths: tuple[str, ...],
    to: Path,
    existing: Existing,
    streams: Streams,
    /,
    *,
    runtime: Runtime,
    output: Output,
) -> ExitCode:
    async with volumes_found(asked, runtime, output) as found:
        volume, tree = chosen_tree(found, asked, output)
        starts = [await find(tree, path) for path in paths]
        total = await _total(tree, starts)
        target = ItemDirectory(to, existing=existing)
        with output.progress("extracting", total) as advance:
            work = Extraction(tree, target, streams=streams, progress=advance)
            for start in starts:
                await work.take(start)
        for missed in work.missed:
            output.record("missed", path=missed.path, cause=missed.cause, damaged=missed.is_damage)
            output.say(f"not extracted: {missed.path}: {missed.cause}")
        done = f"{counted(work.files, 'file')} and {counted(work.links, 'link')}"
        missing = f"; {counted(len(work.missed), 'item')} missing" if work.missed else ""
        output.say(f"{done} extracted to {to}, {sized(work.bytes)}{missing}")
        if work.streams_left:
            left = counted(work.streams_left, "stream")
            output.remark(f"{left} left out; --streams writes them as NAME:STREAM")
        code = ExitCode.PARTIAL if work.missed else ExitCode.OK
        output.summary(
            point=found.label.point,
            disk=volume.disk,
            volume=volume.number,
            at_rest=not tree.unrest,
            unrest=tree.unrest,
            files=work.files,
            directories=work.directories,
            links=work.links,
            bytes=work.bytes,
            streams_left=work.streams_left,
            missed=len(work.missed),
            exit_code=int(code),
        )
        return code


async def _total(tree: FileTree, starts: list[Located]) -> int:
    """Return about how many bytes there are to be taken; holes count like bytes."""
    total = 0
    for start in starts:
        async for each in walk(tree, start):
            total += each.item.size
    return total
