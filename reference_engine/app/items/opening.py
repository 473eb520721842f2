"""The volume that a person means, opened; and what is said about it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from reference_engine.app.broken_log import open_to_read
from reference_engine.app.credentials import Keyholder, KeyOptions
from reference_engine.app.output import Output
from reference_engine.catalogue.points import PointLabel, chosen_point
from reference_engine.items.disk_view import DiskView
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.tree import FileTree
from reference_engine.items.volume import Volume
from reference_engine.items.volumes import volumes_of
from reference_engine.model.errors import CorruptionError, InputRefusedError
from reference_engine.model.identity import DiskId
from reference_engine.model.wording import listed
from reference_engine.ports.runtime import Runtime

UNREST: Final = "{title} was not at rest: {unrest}; what only its journal holds is not seen here"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Of which point which volume is meant."""

    point: str
    repository: str
    disk: str | None
    volume: int | None
    keys: KeyOptions


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A point's volumes, as far as they were asked for."""

    label: PointLabel
    volumes: tuple[Volume, ...]


@contextlib.asynccontextmanager
async def volumes_found(asked: Asked, runtime: Runtime, output: Output, /) -> AsyncIterator[Found]:
    """Open the point and look at its volumes; the block reads from them.

    Raises:
        RefusedError: there is no such point or disk.
        CorruptionError: the point cannot be read back as it was written.
    """
    holder = Keyholder(asked.keys)
    repository = await open_to_read(asked.repository, runtime, holder, output)
    label = await chosen_point(repository, asked.point)
    try:
        reader = await repository.reader(label.point)
        if asked.disk is not None and asked.disk not in reader.disks:
            raise InputRefusedError(
                f"the point has no disk {asked.disk!r}", f"choose from {', '.join(reader.disks)}"
            )
        views = {disk: DiskView(reader, disk) for disk in reader.disks}
        only = None if asked.disk is None else DiskId(asked.disk)
        yield Found(label=label, volumes=await volumes_of(views, only=only))
    except TreeDamagedError:
        raise
    except CorruptionError as error:
        raise await repository.manifests.explained(label.point, error) from error


def chosen_tree(found: Found, asked: Asked, output: Output, /) -> tuple[Volume, FileTree]:
    """Return the volume that is meant: the one that was named, or the only one to be read.

    Raises:
        InputRefusedError: there are several, or none of this number.
        TreeUnsupportedError, TreeDamagedError: it cannot be read.
    """
    meant = [each for each in found.volumes if asked.volume in {None, each.number}]
    readable = [each for each in meant if each.tree is not None]
    if not meant:
        numbers = ", ".join(str(each.number) for each in found.volumes)
        raise InputRefusedError(f"there is no volume {asked.volume}", f"choose from {numbers}")
    if len(readable) > 1:
        names = listed([_described(each) for each in readable])
        option = "--volume" if asked.volume is None else "--disk"
        raise InputRefusedError(
            f"{len(readable)} volumes can be read", f"name one with {option}: {names}"
        )
    if not readable:
        raise _unreadable(meant)
    [volume] = readable
    tree = volume.tree
    assert tree is not None
    if tree.unrest:
        output.remark(UNREST.format(title=volume.title, unrest=tree.unrest))
    return volume, tree


def _described(volume: Volume) -> str:
    label = f" {volume.name!r}" if volume.name else ""
    return f"{volume.number} of {volume.disk} ({volume.file_system}{label})"


def _unreadable(meant: list[Volume]) -> Exception:
    if len(meant) == 1:
        [one] = meant
        if one.damaged:
            return TreeDamagedError(one.damaged, one.title)
        return TreeUnsupportedError(one.unsupported, one.title)
    reasons = "; ".join(f"{each.number} {each.damaged or each.unsupported}" for each in meant)
    if any(each.damaged for each in meant):
        return TreeDamagedError(reasons, "every volume that could be read")
    return TreeUnsupportedError(f"no volume can be read ({reasons})")
