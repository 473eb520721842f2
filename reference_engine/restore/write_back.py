"""Writing one disk of a point into a new image."""

from collections.abc import Callable
from typing import Final

from reference_engine.formats.writer import DiskWriter
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.units import MIB, ByteCount
from reference_engine.repository.errors import DiskDamagedError
from reference_engine.repository.reader import PointReader

JOINED_MAX: Final = MIB
"""Neighbouring blocks are joined up to this size before they are written."""


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
    record = reader.point.disk(disk)
    assert record is not None, disk
    assert writer.size == reader.size(disk), (writer.size, reader.size(disk))
    if reader.root_digest(disk) != record.digest:
        raise DiskDamagedError(reader.point.id, disk, "its digest is not the one recorded")
    gathered: list[bytes] = []
    start = end = written = 0

    def flush() -> None:
        if gathered:
            writer.write(ByteCount(start), b"".join(gathered))
            progress(ByteCount(end - start))
            gathered.clear()

    async for number, content in reader.blocks(disk, ExtentSet.whole(reader.size(disk))):
        offset = number * reader.block_size
        if offset != end or end - start >= JOINED_MAX:
            flush()
            start = offset
        gathered.append(content)
        end = offset + len(content)
        written += len(content)
    flush()
    return ByteCount(written)
