"""The copy: read a window, patch it to the guest's instant, hand its blocks on."""

from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.model.recovery_point import Transfer, TransferKind
from reference_engine.model.units import ByteCount
from reference_engine.ports.disk_io import DiskIo
from reference_engine.ports.runtime import Runtime

WINDOW_BLOCKS: Final = 64
"""How many blocks are read at once; two windows are in memory, one read and one written."""

Patch = Callable[[ExtentSet, bytes], bytes]
"""Returns the image's bytes of a window, given the snapshot's."""

Put = Callable[[ExtentSet, npt.NDArray[np.int64], bytes], Awaitable[object]]
"""Takes a window, the numbers of its blocks, and their contents, one after the other."""


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

    What is not allocated needs no reading by a full copy, which starts from an empty disk, nor by
    a comparison, which is told what is allocated; an incremental one must also learn that a block
    became empty. Whole blocks are read also where a part of one changed: the digest of the block
    is that of its content, not of the history by which it came about.
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
    runtime: Runtime,
) -> ByteCount:
    """Bring `extents`, which are whole blocks, of the reconciled image to `put`; return their size.

    While one window is put the next one is read; windows are put one after the other.

    Raises:
        SnapshotLostError: the snapshot went away; nothing of it may be committed.
    """

    async def fetched(window: ExtentSet) -> bytes:
        raw = await source.read(snapshot, disk, window, through=through)
        assert len(raw) == window.total, (len(raw), window.total)
        return raw

    async def stored(window: ExtentSet, raw: bytes) -> None:
        await put(window, window.pieces(block), patch(window, raw))

    windows = extents.windows(ByteCount(WINDOW_BLOCKS * block))
    window = next(windows, None)
    raw = b"" if window is None else await fetched(window)
    while window is not None:
        ahead = next(windows, None)
        async with runtime.task_group() as group:
            group.spawn(stored(window, raw), name=f"put/{disk}")
            raw = b""
            if ahead is not None:
                raw = await fetched(ahead)
        window = ahead
    return extents.total
