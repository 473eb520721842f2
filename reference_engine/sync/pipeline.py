"""The copy: read a window, patch it to the guest's instant, hand its blocks on."""

from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.model.recovery_point import Transfer, TransferKind
from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.disk_io import DiskIo

WINDOW: Final = ByteCount(1 * MIB)


Patch = Callable[[ExtentSet, bytes], bytes]
"""Returns the image's bytes of a window, given the snapshot's."""

Put = Callable[[npt.NDArray[np.int64], bytes], Awaitable[object]]
"""Takes the contents of these blocks, one after the other."""


def needed(
    transfer: Transfer,
    /,
    *,
    delta: ExtentSet,
    allocated: ExtentSet,
    block: ByteCount,
    size: ByteCount,
) -> ExtentSet:
    """Return what has to be read: whole blocks, the last one as long as the disk lasts.

    A full copy and a comparison start from an empty disk, so what is not allocated needs no
    reading; an incremental one must also learn that a block became empty.
    """
    wanted = delta if transfer.kind is TransferKind.INCREMENTAL else allocated
    return wanted.aligned(block, size=size)


async def copy_disk(
    disk: DiskId,
    /,
    *,
    source: DiskIo,
    snapshot: SnapshotId,
    through: NodeName,
    extents: ExtentSet,
    block: ByteCount,
    patch: Patch,
    put: Put,
) -> ByteCount:
    """Bring `extents`, which are whole blocks, of the reconciled image to `put`; return their size.

    Raises:
        SnapshotLostError: the snapshot went away; nothing of it may be committed.
    """
    read = 0
    for window in extents.windows(ByteCount(max(WINDOW // block, 1) * block)):
        raw = await source.read(snapshot, disk, window, through=through)
        assert len(raw) == window.total, (len(raw), window.total)
        read += len(raw)
        await put(window.pieces(block), patch(window, raw))
    return ByteCount(read)
