"""Writing one disk of a point into a new image."""

from collections.abc import Callable

from reference_engine.formats.writer import DiskWriter
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.units import ByteCount
from reference_engine.repository.errors import DiskDamagedError
from reference_engine.repository.reader import PointReader


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
    written = 0
    async for stretch in reader.stretches(disk, ExtentSet.whole(reader.size(disk))):
        writer.write(ByteCount(stretch.offset), stretch.content)
        written += len(stretch.content)
        progress(ByteCount(len(stretch.content)))
    return ByteCount(written)
