"""The volumes of a point's disks, each with its file tree, or with the reason why it has none."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from reference_engine.items.disk_view import Bytes, Window
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.file_systems.exfat import ExfatTree
from reference_engine.items.file_systems.ext import ExtTree
from reference_engine.items.file_systems.fat import FatTree
from reference_engine.items.file_systems.ntfs import NtfsTree
from reference_engine.items.file_systems.xfs import XfsTree
from reference_engine.items.partitions import Partition, partition_table
from reference_engine.items.signatures import HEAD, Known, Unsupported, recognised
from reference_engine.items.tree import FileTree
from reference_engine.model.identity import DiskId

_OPENERS: Final[dict[Known, Callable[[Window], Awaitable[FileTree]]]] = {
    Known.EXT: ExtTree.open,
    Known.NTFS: NtfsTree.open,
    Known.FAT: FatTree.open,
    Known.EXFAT: ExfatTree.open,
    Known.XFS: XfsTree.open,
}

_WHOLE: Final = "whole disk"


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of a disk."""

    disk: DiskId
    number: int
    """Counted from 1, as its table has them."""

    start: int
    length: int
    kind: str
    """What the partition table calls it; `whole disk` where there is none."""

    name: str = ""
    file_system: str = ""
    tree: FileTree | None = None
    unsupported: str = ""
    damaged: str = ""
    remark: str = ""
    """What is wrong with the disk's table, and did not keep it from being read."""

    @property
    def title(self) -> str:
        """How sentences call it."""
        return f"volume {self.number} of {self.disk}"


async def volumes_of(view: Bytes, disk: DiskId, /) -> tuple[Volume, ...]:
    """Return the volumes of a disk: at least one, if only to say that nothing is known of it.

    Raises:
        CorruptionError: blocks of the point cannot be read back as they were written.
    """
    whole = Partition(start=0, length=view.size, kind=_WHOLE)
    try:
        head = await Window(view, start=0, length=view.size).head(HEAD)
        table = None if _is_boot_sector(head) else await partition_table(view)
    except TreeDamagedError as error:
        return (_whole(view, disk, damaged=error.cause),)
    parts = (whole,) if table is None else table.partitions
    remark = "" if table is None else table.remark
    if not parts:
        return (_whole(view, disk, unsupported="an empty partition table", remark=remark),)
    return tuple(
        [await _opened(view, disk, number, part, remark) for number, part in enumerate(parts, 1)]
    )


def _whole(
    view: Bytes, disk: DiskId, *, unsupported: str = "", damaged: str = "", remark: str = ""
) -> Volume:
    return Volume(
        disk=disk,
        number=1,
        start=0,
        length=view.size,
        kind=_WHOLE,
        unsupported=unsupported,
        damaged=damaged,
        remark=remark,
    )


def _is_boot_sector(head: bytes) -> bool:
    """Return whether the disk begins with a file system that has its code where tables lie."""
    found = recognised(head)
    return found in {Known.NTFS, Known.EXFAT, Known.FAT, Known.XFS} or (
        isinstance(found, Unsupported) and found.name in {"BitLocker", "ReFS", "LUKS"}
    )


async def _opened(view: Bytes, disk: DiskId, number: int, part: Partition, remark: str) -> Volume:
    shown = Volume(
        disk=disk,
        number=number,
        start=part.start,
        length=part.length,
        kind=part.kind,
        name=part.name,
        remark=remark,
        unsupported=part.without,
    )
    if part.without:
        return shown
    if part.start + part.length > view.size or not part.length:
        cause = f"it ends at {part.start + part.length}, the disk at {view.size}"
        return replace(shown, damaged=cause)
    window = Window(view, start=part.start, length=part.length)
    head = await window.head(HEAD)
    found = recognised(head)
    if found is None:
        why = "unknown" if any(head) else "empty: it begins with zeros"
        shown = replace(shown, unsupported=why)
    elif isinstance(found, Unsupported):
        why = f"{found.name}: {found.why}"
        shown = replace(shown, file_system=found.name, unsupported=why)
    else:
        shown = await _read(window, found, replace(shown, file_system=found.value))
    return shown


async def _read(window: Window, found: Known, shown: Volume) -> Volume:
    """Return the volume with its tree; that is one only if its root can be read."""
    try:
        tree = await _OPENERS[found](window)
        await tree.entries(await tree.root())
    except TreeUnsupportedError as error:
        return replace(shown, unsupported=error.what)
    except TreeDamagedError as error:
        return replace(shown, damaged=error.cause)
    return replace(shown, file_system=tree.name, tree=tree, name=tree.label or shown.name)
