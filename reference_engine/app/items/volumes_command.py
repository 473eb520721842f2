"""`twinshot items volumes`: what a point's disks are divided into, and what of it can be read."""

from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.items.opening import UNREST, Asked, volumes_found
from reference_engine.app.output import Output, sized
from reference_engine.app.places import Place
from reference_engine.items.browsing import shown
from reference_engine.items.volume import Volume
from reference_engine.ports.runtime import Runtime


def volumes(
    point: str,
    /,
    *,
    repo: Place,
    disk: str | None = None,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """List the volumes of a point's disks, and say which of them can be read, or why not.

    Args:
        point: A point's id or its beginning, a machine's name, or `latest`.
        repo: Directory of the repository, or s3://bucket/prefix.
        disk: Only this disk.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    asked = Asked(point=point, repository=repo, disk=disk, volume=None, keys=keys)
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_volumes(asked, runtime, output))


async def _volumes(asked: Asked, runtime: Runtime, output: Output) -> ExitCode:
    async with volumes_found(asked, runtime, output) as found:
        for volume in found.volumes:
            _record(volume, output)
        titles = ("DISK", "VOLUME", "OFFSET", "SIZE", "KIND", "LABEL", "FILE SYSTEM", "STATE")
        output.table(titles, [_row(volume) for volume in found.volumes])
        for remark in dict.fromkeys(f"{v.disk}: {v.remark}" for v in found.volumes if v.remark):
            output.remark(remark)
        for volume in found.volumes:
            if volume.tree is not None and volume.tree.unrest:
                output.remark(UNREST.format(title=volume.title, unrest=volume.tree.unrest))
        damaged = sum(bool(volume.damaged or volume.remark) for volume in found.volumes)
        code = ExitCode.FINDING if damaged else ExitCode.OK
        readable = sum(volume.tree is not None for volume in found.volumes)
        output.summary(
            point=found.label.point,
            volumes=len(found.volumes),
            readable=readable,
            exit_code=int(code),
        )
        return code


def _record(volume: Volume, output: Output) -> None:
    tree = volume.tree
    output.record(
        "volume",
        disk=volume.disk,
        number=volume.number,
        offset=volume.start,
        size=volume.length,
        kind=volume.kind,
        label=shown(volume.name),
        file_system=volume.file_system,
        state="readable" if tree is not None else "damaged" if volume.damaged else "unsupported",
        reason=volume.damaged or volume.unsupported,
        at_rest=None if tree is None else not tree.unrest,
        unrest=None if tree is None else tree.unrest,
        remark=volume.remark,
    )


def _row(volume: Volume) -> tuple[str, ...]:
    state = "readable"
    if volume.tree is None:
        state = f"damaged: {volume.damaged}" if volume.damaged else volume.unsupported
    return (
        volume.disk,
        str(volume.number),
        sized(volume.start),
        sized(volume.length),
        volume.kind,
        shown(volume.name),
        volume.file_system or "-",
        state,
    )
