"""Writing a point's disk into a file of a host, and reading all of it back."""

from typing import Final

from reference_engine.model.errors import RestoreDiffersError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, NodeName
from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.machine_import import MachineImport, PreparedFile
from reference_engine.repository.reader import PointReader

_WINDOW: Final = 8 * MIB


async def write_disk(
    reader: PointReader,
    disk: DiskId,
    host: MachineImport,
    /,
    *,
    node: NodeName,
    file: PreparedFile,
) -> ByteCount:
    """Have the file hold the disk, durably; return how many bytes had to be written.

    What an earlier attempt has written is compared by digest, and only what differs is written.
    A file that is new need not be read.

    Raises:
        CorruptionError: the point is damaged; the file holds only a part.
        TransientError: a host or the repository failed.
    """
    reader.confirm(disk)
    written = 0
    for start, end in windows(reader.size(disk)):
        wanted = ExtentSet.of([(start, end)])
        if not file.fresh:
            length = ByteCount(end - start)
            there = await host.read(node, file.handle, offset=start, length=length)
            wanted &= await reader.differing(disk, wanted, there)
        holes = await write_content(reader, disk, host, wanted, node=node, handle=file.handle)
        written += (wanted - holes).total
        for low, high in () if file.fresh else holes.bounds.tolist():
            blank = bytes(high - low)
            await host.write(node, file.handle, offset=ByteCount(low), content=blank)
            written += high - low
    await host.flush(node, file.handle)
    return ByteCount(written)


async def write_content(
    reader: PointReader,
    disk: DiskId,
    host: MachineImport,
    wanted: ExtentSet,
    /,
    *,
    node: NodeName,
    handle: str,
) -> ExtentSet:
    """Have the file hold what the disk has of `wanted`; return its holes, which are not written.

    Raises:
        CorruptionError: the point is damaged; the file holds only a part.
        TransientError: a host or the repository failed.
    """
    holes = wanted
    async for stretch in reader.stretches(disk, wanted):
        inside = ExtentSet.of([(stretch.offset, stretch.offset + len(stretch.content))])
        for low, high in (inside & wanted).bounds.tolist():
            piece = bytes(stretch.content[low - stretch.offset : high - stretch.offset])
            await host.write(node, handle, offset=ByteCount(low), content=piece)
        holes -= inside
    return holes


async def verify_disk(
    reader: PointReader,
    disk: DiskId,
    host: MachineImport,
    /,
    *,
    node: NodeName,
    file: PreparedFile,
) -> None:
    """Return if the host reads the point's disk out of the file, to the last byte.

    Raises:
        RestoreDiffersError: it does not; writing it once more may help.
        CorruptionError: the point's map is damaged.
    """
    wrong = await differing(reader, disk, host, node=node, handle=file.handle)
    await reader.confirm_pages(disk)
    if wrong:
        raise RestoreDiffersError(disk, wrong.total)


async def differing(
    reader: PointReader, disk: DiskId, host: MachineImport, /, *, node: NodeName, handle: str
) -> ExtentSet:
    """Return the blocks of which the host reads out of the file what is not the point's.

    Raises:
        CorruptionError: the point's map is damaged.
        TransientError: a host or the repository failed.
    """
    wrong = EMPTY
    for start, end in windows(reader.size(disk)):
        length = ByteCount(end - start)
        content = await host.read(node, handle, offset=start, length=length)
        wrong |= await reader.differing(disk, ExtentSet.of([(start, end)]), content)
    return wrong


def windows(size: ByteCount) -> list[tuple[ByteCount, ByteCount]]:
    """Return the bounds of the parts in which a disk of this size is asked of a host."""
    return [
        (ByteCount(start), ByteCount(min(start + _WINDOW, size)))
        for start in range(0, size, _WINDOW)
    ]
