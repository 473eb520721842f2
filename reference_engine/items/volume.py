"""One volume: its file tree, or the reason why it has none."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.file_systems.exfat import ExfatTree
from reference_engine.items.file_systems.ext import ExtTree
from reference_engine.items.file_systems.fat import FatTree
from reference_engine.items.file_systems.ntfs import NtfsTree
from reference_engine.items.file_systems.xfs import XfsTree
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


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of a disk: all of it, a partition, or a logical volume that begins on it."""

    disk: DiskId
    number: int
    """Counted from 1, as its table has them; logical volumes follow."""

    start: int
    """Where it begins on the disk; it need not go on there if it is a logical volume."""

    length: int
    kind: str
    """What the partition table calls it; `whole disk` where there is none; of a logical
    volume its group and its name."""

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


async def looked_into(window: Window, shown: Volume, /) -> Volume:
    """Return the volume with what its bytes are.

    Raises:
        CorruptionError: blocks of the point cannot be read back as they were written.
    """
    try:
        head = await window.head(HEAD)
    except TreeDamagedError as error:
        return replace(shown, damaged=error.cause)
    found = recognised(head)
    if found is None:
        why = "unknown" if any(head) else "empty: it begins with zeros"
        return replace(shown, unsupported=why)
    if isinstance(found, Unsupported):
        why = f"{found.name}: {found.why}"
        return replace(shown, file_system=found.name, unsupported=why)
    shown = replace(shown, file_system=found.value)
    if found is Known.LVM:
        return replace(shown, unsupported="LVM: not put together inside of a logical volume")
    return await _read(window, found, shown)


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
