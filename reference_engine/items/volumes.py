"""The volumes of a point's disks, each with its file tree, or with the reason why it has none."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from reference_engine.items.disk_view import Bytes, Window
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.logical_volumes import LvmPart, with_logical_volumes
from reference_engine.items.partitions import Partition, partition_table
from reference_engine.items.signatures import HEAD, Known, Unsupported, recognised
from reference_engine.items.volume import Volume, looked_into
from reference_engine.model.identity import DiskId

_WHOLE: Final = "whole disk"


async def volumes_of(
    disks: Mapping[DiskId, Bytes], /, *, only: DiskId | None = None
) -> tuple[Volume, ...]:
    """Return the volumes of disks: of each at least one, if only to say that nothing is known.

    With `only` those of this one disk; the others are looked at where it holds a part of a volume
    group.

    Raises:
        CorruptionError: blocks of the point cannot be read back as they were written.
    """
    found: list[Volume] = []
    for disk in disks if only is None else [only]:
        found += await _on_disk(disks[disk], disk)
    if not any(each.file_system == Known.LVM.value for each in found):
        return tuple(found)
    places = {disk: await _on_disk_of_lvm(view) for disk, view in disks.items()}
    return await with_logical_volumes(found, places)


async def _on_disk(view: Bytes, disk: DiskId) -> list[Volume]:
    try:
        parts, remark = await _parts(view)
    except TreeDamagedError as error:
        return [_whole(view, disk, damaged=error.cause)]
    if not parts:
        return [_whole(view, disk, unsupported="an empty partition table", remark=remark)]
    return [await _opened(view, disk, number, part, remark) for number, part in enumerate(parts, 1)]


async def _on_disk_of_lvm(view: Bytes) -> list[LvmPart]:
    """Return where on a disk physical volumes lie."""
    try:
        parts, _ = await _parts(view)
    except TreeDamagedError:
        return []
    windows = [
        (part.start, Window(view, start=part.start, length=part.length))
        for part in parts
        if part.length and part.start + part.length <= view.size
    ]
    return [
        LvmPart(start, window)
        for start, window in windows
        if recognised(await window.head(HEAD)) is Known.LVM
    ]


async def _parts(view: Bytes) -> tuple[tuple[Partition, ...], str]:
    """Return a disk's partitions, or all of it as one, and what is to be said of their table."""
    head = await Window(view, start=0, length=view.size).head(HEAD)
    table = None if _is_boot_sector(head) else await partition_table(view)
    if table is None:
        return (Partition(start=0, length=view.size, kind=_WHOLE),), ""
    return table.partitions, table.remark


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
    return await looked_into(Window(view, start=part.start, length=part.length), shown)
