"""`twinshot items list`: which files a point holds."""

import datetime as dt
from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.items.opening import Asked, chosen_tree, volumes_found
from reference_engine.app.output import Output
from reference_engine.app.places import Place
from reference_engine.items.browsing import Located, entries, find, joined, shown, walk
from reference_engine.items.tree import ItemKind
from reference_engine.ports.runtime import Runtime

_KINDS = {
    ItemKind.FILE: "file",
    ItemKind.DIRECTORY: "dir",
    ItemKind.LINK: "link",
    ItemKind.OTHER: "other",
}


def list_(
    point: str,
    path: str = "/",
    /,
    *,
    repo: Place,
    disk: str | None = None,
    volume: int | None = None,
    recursive: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """List what is in a directory of a point, or below it.

    Sizes are bytes, times UTC. What cannot be read is listed with the reason, and never left out.

    Args:
        point: A point's id or its beginning, a machine's name, or `latest`.
        path: The directory or file; the whole volume's root if left out.
        repo: Directory of the repository, or s3://bucket/prefix.
        disk: The disk that it is on, where the point has several.
        volume: The number of the volume, as `items volumes` has it.
        recursive: List everything below, too.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    asked = Asked(point=point, repository=repo, disk=disk, volume=volume, keys=keys)
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_list(asked, path, runtime, output, deep=recursive))


async def _list(
    asked: Asked, path: str, runtime: Runtime, output: Output, *, deep: bool
) -> ExitCode:
    async with volumes_found(asked, runtime, output) as found:
        volume, tree = chosen_tree(found, asked, output)
        start = await find(tree, path)
        told = _Told(output)
        if deep:
            async for each in walk(tree, start):
                if each.path or each.item.damaged or each.item.unsupported:
                    told.item(each)
        elif start.item.kind is ItemKind.DIRECTORY:
            for each in await entries(tree, start):
                told.item(each)
        else:
            told.item(start)
        if told.damaged:
            output.remark(f"{told.damaged} items are damaged; what is in them is not listed")
        if told.closed:
            output.remark(
                f"{told.closed} directories cannot be read; what is in them is not listed"
            )
        if not told.count:
            output.say(f"{joined(start.path)} is empty")
        code = ExitCode.FINDING if told.damaged else ExitCode.OK
        if deep and told.closed and not told.damaged:
            code = ExitCode.PARTIAL
        output.summary(
            point=found.label.point,
            disk=volume.disk,
            volume=volume.number,
            file_system=tree.name,
            at_rest=not tree.unrest,
            unrest=tree.unrest,
            items=told.count,
            damaged=told.damaged,
            unsupported=told.unsupported,
            exit_code=int(code),
        )
        return code


class _Told:
    """What was said of items, one line each."""

    def __init__(self, output: Output, /) -> None:
        self._output = output
        self.count = self.damaged = self.unsupported = self.closed = 0

    def item(self, each: Located, /) -> None:
        """Say one item, and its streams."""
        item = each.item
        self.count += 1
        self.damaged += bool(item.damaged)
        self.unsupported += bool(item.unsupported)
        self.closed += bool(item.unsupported) and item.kind is ItemKind.DIRECTORY
        path = joined(each.path)
        self._output.record(
            "item",
            path=path,
            kind=item.kind.value,
            size=item.size,
            modified=_written(item.modified_ns),
            links=item.links,
            target=shown(item.target),
            note=item.note,
            unsupported=item.unsupported,
            damaged=item.damaged,
            streams=[{"name": shown(each.name), "size": each.size} for each in item.streams],
        )
        when = _written(item.modified_ns) or "-"
        size = str(item.size) if item.kind is ItemKind.FILE else "-"
        rest = f" -> {shown(item.target)}" if item.target else ""
        rest += f"  [{item.links} names]" if item.links > 1 and item.kind is ItemKind.FILE else ""
        rest += f"  [{item.note}]" if item.note else ""
        rest += f"  [not supported: {item.unsupported}]" if item.unsupported else ""
        rest += f"  [damaged: {item.damaged}]" if item.damaged else ""
        self._output.say(f"{_KINDS[item.kind]:<6} {size:>14}  {when:<20}  {path}{rest}")
        for stream in item.streams:
            name = f"{path}:{shown(stream.name)}"
            self._output.say(f"stream {stream.size:>14}  {'':<20}  {name}")


def _written(modified_ns: int | None) -> str:
    """Return an instant as people read it; empty where it is none."""
    if modified_ns is None:
        return ""
    try:
        moment = dt.datetime.fromtimestamp(modified_ns // 1_000_000_000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
