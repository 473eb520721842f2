"""Restoring onto a disk that exists: all of it anew, or only what differs."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.reader import Damage, PointReader, Progress
from reference_engine.restore.marked_target import MarkedTarget

WINDOW: Final = 8 * MIB
"""How much is read and compared at once."""

SECTOR: Final = 4096
"""Of a block that differs, what is equal in units of this size is not written."""

OnDamage = Callable[[Damage], None]
"""Takes what cannot be read; raises, or lets the restore go on without it."""


class InPlace(NamedTuple):
    """What a restore onto an existing disk came to."""

    bytes_compared: ByteCount
    bytes_written: ByteCount


async def overwrite(
    reader: PointReader,
    disk: DiskId,
    target: MarkedTarget,
    /,
    *,
    window: ExtentSet,
    shift: int,
    runtime: Runtime,
    progress: Progress,
    on_damage: OnDamage,
) -> InPlace:
    """Write the one range `window` of the disk to the target, `shift` bytes further on, zeros too.

    The target bears its mark until `finish`, which is the caller's.
    """
    writing = _Writing(reader, disk, target, shift, on_damage)
    for start, end in _windows(window):
        part = ExtentSet.of([(start, end)])
        await writing.write(part, runtime)
        progress(ByteCount(end - start))
    return InPlace(ByteCount(0), ByteCount(window.total))


async def update(
    reader: PointReader,
    disk: DiskId,
    target: MarkedTarget,
    /,
    *,
    window: ExtentSet,
    runtime: Runtime,
    progress: Progress,
    on_damage: OnDamage,
) -> InPlace:
    """Read the range `window` of the target, and write what the point has other than it is there.

    Blocks are compared by their digests; only those that differ are fetched from the repository,
    and of these only the sectors that differ are written.
    """
    windows = _windows(window.aligned(reader.block_size, size=reader.size(disk)))
    writing = _Writing(reader, disk, target, 0, on_damage)
    read = target.target.read
    ahead: list[bytes] = []

    async def fetch(start: int, end: int) -> None:
        ahead.append(await runtime.offload(lambda: read(start, end - start)))

    for index, (start, end) in enumerate(windows):
        if not ahead:
            await fetch(start, end)
        content = ahead.pop()
        whole = differing = ExtentSet.of([(start, end)])
        async with runtime.task_group() as group:
            if index + 1 < len(windows):
                group.spawn(fetch(*windows[index + 1]), name="reading ahead")
            # A page that cannot be read says nothing about its blocks: they are damage, not equal.
            with suppress(CorruptionError):
                differing = await reader.differing(disk, whole, content)
        if differing:
            await writing.write(differing & window, runtime, held=(start, content))
        progress(ByteCount(end - start))
    return InPlace(ByteCount(window.total), ByteCount(target.bytes_written))


def _windows(window: ExtentSet) -> list[tuple[int, int]]:
    return [
        (at, min(at + WINDOW, end))
        for start, end in window.bounds.tolist()
        for at in range(start, end, WINDOW)
    ]


def _runs(piece: memoryview, there: bytes) -> list[tuple[int, int]]:
    """Return which ranges of `piece` differ from what is there, in sectors; all if nobody knows."""
    usable = len(piece) // SECTOR * SECTOR
    if len(there) != len(piece) or not usable:
        return [(0, len(piece))]
    new = np.frombuffer(piece, np.uint8, usable).reshape(-1, SECTOR)
    old = np.frombuffer(there, np.uint8, usable).reshape(-1, SECTOR)
    sectors = np.flatnonzero((new != old).any(axis=1)) * SECTOR
    found = [(int(at), int(at) + SECTOR) for at in sectors]
    if piece[usable:] != there[usable:]:
        found.append((usable, len(piece)))
    runs: list[tuple[int, int]] = []
    for low, high in found:
        if runs and runs[-1][1] == low:
            runs[-1] = (runs[-1][0], high)
        else:
            runs.append((low, high))
    return runs


class _Writing(NamedTuple):
    """From where to where."""

    reader: PointReader
    disk: DiskId
    target: MarkedTarget
    shift: int
    on_damage: OnDamage

    async def write(
        self, part: ExtentSet, runtime: Runtime, *, held: tuple[int, bytes] = (0, b"")
    ) -> None:
        """Write `part` of the disk, holes as zeros; what is damaged is left as it is.

        What is known to be held there already, from an offset on, is not written again.
        """
        first, content = held
        works: list[Callable[[], None]] = []
        rest = part
        async for each in self.reader.surveyed(self.disk, part):
            if isinstance(each, Damage):
                self.on_damage(each)
                rest -= ExtentSet.of([(each.offset, each.offset + each.length)])
                continue
            inside = ExtentSet.of([(each.offset, each.offset + len(each.content))]) & part
            rest -= inside
            for start, end in inside.bounds.tolist():
                piece = each.content[start - each.offset : end - each.offset]
                there = content[start - first : end - first]
                for low, high in _runs(piece, there):
                    works.append(
                        partial(self.target.write, start + self.shift + low, piece[low:high])
                    )
        for start, end in rest.bounds.tolist():
            works.append(partial(self.target.zero, start + self.shift, end - start))

        def write() -> None:
            for work in works:
                work()

        await runtime.offload(write)
