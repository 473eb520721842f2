"""The files of one machine, and the checkpoints in which they are open."""

import asyncio  # noqa: TID251 - adapters are where blocking calls meet the event loop
import os
import time  # noqa: TID251 - a checkpoint shows people when it was taken
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from reference_engine.formats.image import DiskImage
from reference_engine.formats.opening import open_disk_image
from reference_engine.model.errors import (
    InputRefusedError,
    NotOwnerError,
    SnapshotLostError,
    SourceChangedError,
)
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    MachineId,
    NodeName,
    RunTag,
    SnapshotId,
    VolumeName,
)
from reference_engine.model.machine import BackEnd, GuestKind, Machine, VirtualDisk
from reference_engine.model.units import ByteCount, Instant
from reference_engine.ports.disk_io import Content

LOCAL: Final = NodeName("local")
"""The only node there is: this machine."""

VOLUME: Final = VolumeName("local")


class FileIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What changes when somebody writes or replaces a file."""

    device: int
    inode: int
    size: int
    modified_ns: int


class OpenDisk(msgspec.Struct, frozen=True, kw_only=True):
    """One file, open since its checkpoint was taken."""

    path: Path
    image: DiskImage
    identity: FileIdentity


class OpenCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one checkpoint."""

    run: RunTag
    clock: Instant
    disks: dict[DiskId, OpenDisk]


class DiskFiles:
    """One machine made of disk files; each disk is known by its file's name."""

    def __init__(self, machine: MachineId, paths: Sequence[Path], /) -> None:
        """Take the machine's files as they are named.

        Raises:
            InputRefusedError: two of the files have the same name.
        """
        twice = [name for name, count in Counter(path.name for path in paths).items() if count > 1]
        if twice:
            raise InputRefusedError(
                f"two of the files are called {twice[0]}", "rename one or back them up apart"
            )
        self._machine = machine
        self._paths = {DiskId(path.name): path for path in paths}
        self._checkpoints: dict[SnapshotId, OpenCheckpoint] = {}
        self._unconfirmed: set[SnapshotId] = set()
        """Checkpoints of which something was read since the files were last looked at."""

        self._taken = 0

    @property
    def machine(self) -> MachineId:
        """The machine that these files are."""
        return self._machine

    def check_machine(self, machine: MachineId, /) -> None:
        """Make sure that `machine` is the one that is made of these files.

        Raises:
            NotOwnerError: it is another one.
        """
        if machine != self._machine:
            raise NotOwnerError(machine, LOCAL)

    async def describe(self) -> Machine:
        """Return the machine with the sizes that its images state now.

        Raises:
            InputRefusedError: a file is missing, or is no disk.
            CorruptionError: a file is a damaged disk image.
        """
        sizes = await asyncio.to_thread(self._sizes)
        return Machine(
            id=self._machine,
            name=str(self._machine),
            guest=GuestKind.NONE,
            back_end=BackEnd.DISK_FILE,
            disks=tuple(
                VirtualDisk(id=disk, size=size, volume=VOLUME) for disk, size in sizes.items()
            ),
        )

    def _sizes(self) -> dict[DiskId, ByteCount]:
        sizes: dict[DiskId, ByteCount] = {}
        for disk, path in self._paths.items():
            with open_disk_image(path) as image:
                sizes[disk] = image.size
        return sizes

    async def open(self, disks: Sequence[DiskId], /, *, run: RunTag) -> SnapshotId:
        """Open `disks` and remember what their files are like.

        Raises:
            InputRefusedError, CorruptionError: as `describe`.
            SourceChangedError: a file was replaced while it was being opened.
        """
        checkpoint = await asyncio.to_thread(self._open, disks, run)
        self._taken += 1
        snapshot = SnapshotId(f"{run}-{self._taken}")
        self._checkpoints[snapshot] = checkpoint
        return snapshot

    def _open(self, disks: Sequence[DiskId], run: RunTag) -> OpenCheckpoint:
        clock = Instant(time.time_ns() // 1000)
        opened: dict[DiskId, OpenDisk] = {}
        try:
            for disk in disks:
                opened[disk] = _open_disk(self._paths[disk])
        except BaseException:
            for done in opened.values():
                done.image.close()
            raise
        return OpenCheckpoint(run=run, clock=clock, disks=opened)

    @property
    def disks(self) -> tuple[DiskId, ...]:
        """The machine's disks in the order in which they were named."""
        return tuple(self._paths)

    @property
    def open_checkpoints(self) -> tuple[tuple[SnapshotId, RunTag], ...]:
        """The checkpoints whose files are open."""
        return tuple((snapshot, held.run) for snapshot, held in self._checkpoints.items())

    def clock(self, snapshot: SnapshotId, /) -> Instant:
        """Return when the checkpoint was taken, on this machine's wall clock."""
        return self._found(snapshot).clock

    def _found(self, snapshot: SnapshotId) -> OpenCheckpoint:
        found = self._checkpoints.get(snapshot)
        if found is None:
            raise SnapshotLostError(snapshot)
        return found

    async def allocated(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return every byte of the disk that may be other than zero.

        Raises:
            SnapshotLostError: the checkpoint was released.
        """
        return await asyncio.to_thread(self._found(snapshot).disks[disk].image.allocated)

    async def read(self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /) -> Content:
        """Return the bytes of `extents`, one range after the other.

        Raises:
            SnapshotLostError: the checkpoint was released.
            SourceChangedError: the file has shrunk.
        """
        checkpoint = self._found(snapshot)
        self._unconfirmed.add(snapshot)
        image = checkpoint.disks[disk].image

        def gather() -> Content:
            # Bytes would be filled with zeros first, or be put together from copies.
            content, at = np.empty(extents.total, np.uint8).data, 0
            for part in extents:
                image.read_into(part.offset, content[at : at + part.length])
                at += part.length
            return content.toreadonly()

        return await asyncio.to_thread(gather)

    async def confirm(self) -> None:
        """Make sure that no open file has changed since its checkpoint was taken.

        Raises:
            SourceChangedError: one has; what was read of it is no one image.
        """
        for snapshot, checkpoint in self._checkpoints.items():
            await asyncio.to_thread(_check_unchanged, checkpoint)
            self._unconfirmed.discard(snapshot)

    async def close(self, snapshot: SnapshotId, /) -> None:
        """Close a checkpoint's files; true also where it is already gone.

        Raises:
            SourceChangedError: what was read since the last `confirm` is no one image.
        """
        checkpoint = self._checkpoints.pop(snapshot, None)
        if checkpoint is None:
            return
        try:
            if snapshot in self._unconfirmed:
                await asyncio.to_thread(_check_unchanged, checkpoint)
        finally:
            self._unconfirmed.discard(snapshot)
            for disk in checkpoint.disks.values():
                disk.image.close()


def _open_disk(path: Path) -> OpenDisk:
    """Open one file as the file that it was before and after."""
    before = _identity(path)
    image = open_disk_image(path)
    after = _identity(path)
    if before is None or before != after:
        image.close()
        raise SourceChangedError(str(path))
    return OpenDisk(path=path, image=image, identity=before)


def _identity(path: Path) -> FileIdentity | None:
    """Return what the file is like now; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links, as opening does
    except OSError:
        return None
    return FileIdentity(
        device=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        modified_ns=found.st_mtime_ns,
    )


def _check_unchanged(checkpoint: OpenCheckpoint) -> None:
    for disk in checkpoint.disks.values():
        if _identity(disk.path) != disk.identity:
            raise SourceChangedError(str(disk.path))
