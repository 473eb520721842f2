"""The copy: read a window, patch it to the guest's instant, hand its blocks on.

Three windows are under way at once: one is read, one is hashed, one is put; what is put comes in
order. Beside them at most one full pack is being made durable. So cores do not wait for disks, nor
disks for cores, and memory does not depend on the disk's size.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.model.recovery_point import Transfer, TransferKind
from reference_engine.model.units import ByteCount
from reference_engine.ports.disk_io import Content, DiskIo
from reference_engine.ports.runtime import Runtime

WINDOW_BLOCKS: Final = 64
"""How many blocks are read at once; three windows are in memory."""

Digested = TypeVar("Digested")

Patch = Callable[[ExtentSet, Content], Content]
"""Returns the image's bytes of a window, given the snapshot's."""


class Sink(Protocol[Digested]):
    """Where the blocks of one disk go."""

    async def digest(
        self, window: ExtentSet, numbers: npt.NDArray[np.int64], content: Content, /
    ) -> Digested:
        """Return the blocks of a window with their digests; this may run ahead of `put`."""

    async def put(self, digested: Digested, /) -> bool:
        """Take the blocks of a window; return whether anything now waits for `publish`."""

    async def publish(self) -> None:
        """Make durable what waits for it; never called twice at once."""


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
    sink: Sink[Digested],
    runtime: Runtime,
) -> ByteCount:
    """Bring `extents`, whole blocks of the reconciled image, to `sink`; return their size.

    Raises:
        SnapshotLostError: the snapshot went away; nothing of it may be committed.
    """
    turn = runtime.semaphore(1)
    read: list[tuple[ExtentSet, Content]] = []
    hashed: list[Digested] = []
    placed = [False]

    async def fetch(window: ExtentSet) -> None:
        raw = await source.read(snapshot, disk, window, through=through)
        assert len(raw) == window.total, (len(raw), window.total)
        read.append((window, raw))

    async def digest(window: ExtentSet, raw: Content) -> None:
        hashed.append(await sink.digest(window, window.pieces(block), patch(window, raw)))

    async def put(digested: Digested) -> None:
        placed.append(await sink.put(digested))

    async def publish() -> None:
        async with turn:
            await sink.publish()

    windows = extents.windows(ByteCount(WINDOW_BLOCKS * block))
    ahead = next(windows, None)
    async with runtime.task_group() as behind:
        while ahead is not None or read or hashed:
            async with runtime.task_group() as group:
                if hashed:
                    group.spawn(put(hashed.pop()), name=f"put/{disk}")
                if read:
                    group.spawn(digest(*read.pop()), name=f"digest/{disk}")
                if ahead is not None:
                    await fetch(ahead)
            ahead = next(windows, None)
            if placed.pop():
                # Before another pack may go on its way the one before it has arrived.
                async with turn:
                    behind.spawn(publish(), name=f"publish/{disk}")
            placed[:] = [False]
    return extents.total
