"""Writing one disk of a point into a new image."""

from collections.abc import Callable, Sequence
from typing import Final

from reference_engine.formats.writer import DiskWriter
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.assembling import Stretch
from reference_engine.repository.reader import Damage, PointReader

WINDOW: Final = 4 * MIB
"""How much of a disk one task reads at once, and as much of the last frame as lies behind it.
Twice as much a task is in memory: the rest waits to be written."""


async def restore_disk(
    reader: PointReader,
    disk: DiskId,
    writer: DiskWriter,
    /,
    *,
    progress: Callable[[ByteCount], None],
) -> ByteCount:
    """Write the whole disk and return how many bytes were other than zero.

    Nothing is written that does not have the digest that was recorded. Whether the image is
    finished or abandoned is the caller's decision, who may have other disks to wait for.

    Raises:
        CorruptionError: the point is damaged; the image holds only a part, abandon it.
        OperationFailedError: the image's storage is full or faulty, or the repository's is.
    """
    assert writer.size == reader.size(disk), (writer.size, reader.size(disk))
    reader.confirm(disk)
    written = 0
    async for stretch in reader.stretches(disk, ExtentSet.whole(reader.size(disk))):
        writer.write(ByteCount(stretch.offset), stretch.content)
        written += len(stretch.content)
        progress(ByteCount(len(stretch.content)))
    await reader.confirm_pages(disk)
    return ByteCount(written)


async def restore_range(
    readers: Sequence[PointReader],
    disk: DiskId,
    writer: DiskWriter,
    /,
    *,
    window: ExtentSet,
    runtime: Runtime,
    progress: Callable[[ByteCount], None],
    on_damage: Callable[[Damage], None],
) -> ByteCount:
    """Write the one range `window` of the disk, from the image's start; return what was not zero.

    Each of `readers`, all of the same point, reads a part of its own; while the next parts are
    read, the last ones are written, in order. Damage that `on_damage` does not raise becomes zeros.

    Raises:
        CorruptionError, OperationFailedError: as `restore_disk`.
    """
    readers[0].confirm(disk)
    [(first, end)] = window.bounds.tolist() or [(0, 0)]
    assert writer.size == end - first, (writer.size, first, end)
    ready: list[list[Stretch]] = []
    written = 0

    async def read(reader: PointReader, start: int, stop: int, into: list[Stretch]) -> None:
        async for each in reader.surveyed(disk, ExtentSet.of([(start, stop)])):
            if isinstance(each, Damage):
                on_damage(each)
                continue
            low, high = max(each.offset, start), min(each.offset + len(each.content), stop)
            content = each.content[low - each.offset : high - each.offset]
            into.append(Stretch(low - first, content))
            progress(ByteCount(len(content)))

    async def write(parts: list[list[Stretch]]) -> None:
        def work() -> None:
            for part in parts:
                for each in part:
                    writer.write(ByteCount(each.offset), each.content)

        await runtime.offload(work)

    at, is_over = first, False
    while not is_over:
        # Once everything is read the last parts are still to be written.
        is_over = at == end
        done, ready = ready, [[] for _ in readers]
        async with runtime.task_group() as group:
            group.spawn(write(done), name="writing")
            for reader, into in zip(readers, ready, strict=True):
                if at < end:
                    # Of a frame that is cut in two both readers would decompress the whole.
                    stop = min(await reader.uncut(disk, ByteCount(at + WINDOW)), end)
                    group.spawn(read(reader, at, stop, into), name="reading")
                    at = stop
        written += sum(len(each.content) for part in done for each in part)
    return ByteCount(written)
