"""Writing a point's disk into a file of a host, and reading all of it back."""

from typing import Final

from reference_engine.model.errors import RestoreDiffersError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, NodeName
from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.machine_import import MachineImport, PreparedFile
from reference_engine.repository.reader import PointReader

WINDOW: Final = 8 * MIB
"""How much is asked of a host at once."""


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
    for start, end in _windows(reader.size(disk)):
        wanted = ExtentSet.of([(start, end)])
        if not file.fresh:
            length = ByteCount(end - start)
            there = await host.read(node, file.handle, offset=start, length=length)
            wanted &= await reader.differing(disk, wanted, there)
        holes = EMPTY if file.fresh else wanted
        async for stretch in reader.stretches(disk, wanted):
            inside = ExtentSet.of([(stretch.offset, stretch.offset + len(stretch.content))])
            for low, high in (inside & wanted).bounds.tolist():
                piece = bytes(stretch.content[low - stretch.offset : high - stretch.offset])
                await host.write(node, file.handle, offset=ByteCount(low), content=piece)
                written += len(piece)
            holes -= inside
        for low, high in holes.bounds.tolist():
            blank = bytes(high - low)
            await host.write(node, file.handle, offset=ByteCount(low), content=blank)
            written += high - low
    await host.flush(node, file.handle)
    return ByteCount(written)


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
    wrong = 0
    for start, end in _windows(reader.size(disk)):
        length = ByteCount(end - start)
        content = await host.read(node, file.handle, offset=start, length=length)
        window = ExtentSet.of([(start, end)])
        wrong += (await reader.differing(disk, window, content)).total
    await reader.confirm_pages(disk)
    if wrong:
        raise RestoreDiffersError(disk, wrong)


def _windows(size: ByteCount) -> list[tuple[ByteCount, ByteCount]]:
    return [
        (ByteCount(start), ByteCount(min(start + WINDOW, size))) for start in range(0, size, WINDOW)
    ]
