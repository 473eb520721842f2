"""A disk that a machine runs from before it is restored: the point below, what is written above.

What the machine writes goes into a file on its host, whole blocks at a time; which blocks are there
stands in a second file. A block counts from the instant in which both are durable, so that neither
the machine's nor the engine's end leaves a block of which nobody knows. The point is only read.
"""

import numpy as np

from reference_engine.model.errors import OverlayFullError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, OrderId, VolumeName
from reference_engine.model.units import ByteCount
from reference_engine.ports.machine_import import MachineImport, PreparedFile
from reference_engine.repository.reader import PointReader
from reference_engine.restore.onto_host import differing, windows, write_content


class InstantDisk:
    """One disk; made by `open`, and again by whoever goes on after the engine's end."""

    def __init__(  # noqa: PLR0917 - what it lies on, below and above
        self,
        reader: PointReader,
        disk: DiskId,
        host: MachineImport,
        node: NodeName,
        files: tuple[PreparedFile, PreparedFile],
        present: bytearray,
        /,
        *,
        room: ByteCount,
    ) -> None:
        self._reader, self.disk, self._host, self._node = reader, disk, host, node
        self._file, self._map = files
        self._present = present
        self._room = room
        self._block = reader.block_size
        self.size = reader.size(disk)

    @classmethod
    async def open(
        cls,
        reader: PointReader,
        disk: DiskId,
        host: MachineImport,
        /,
        *,
        node: NodeName,
        order: OrderId,
        path: str,
        volume: VolumeName,
        room: ByteCount,
    ) -> "InstantDisk":
        """Return the disk as its machine has left it; `room`: how much it may write, in bytes.

        Raises:
            TransientError, RefusedError: the host or the repository failed.
        """
        size = reader.size(disk)
        blocks = ByteCount(-(-size // reader.block_size))
        file = await host.prepare(node, order=order, path=path, volume=volume, size=size)
        noted = await host.prepare(
            node, order=order, path=f"{path}.map", volume=volume, size=blocks
        )
        present = bytearray(blocks)
        if not noted.fresh:
            present[:] = await host.read(node, noted.handle, offset=ByteCount(0), length=blocks)
        return cls(reader, disk, host, node, (file, noted), present, room=room)

    @property
    def handle(self) -> str:
        """The file that will be the machine's disk."""
        return self._file.handle

    @property
    def written(self) -> ExtentSet:
        """The blocks that the machine wrote."""
        return self._written_in(ByteCount(0), self.size)

    def _written_in(self, offset: ByteCount, length: ByteCount) -> ExtentSet:
        """Return those of them that these bytes touch."""
        first, last = offset // self._block, -(-(offset + length) // self._block)
        found = np.flatnonzero(np.frombuffer(self._present[first:last], np.uint8)) + first
        return ExtentSet.of_pieces(found, piece=self._block, size=self.size)

    def give_room(self, room: ByteCount, /) -> None:
        """Let the machine write so many bytes in all."""
        self._room = room

    async def read(self, offset: ByteCount, length: ByteCount, /) -> bytes:
        """Return bytes of the disk as it is now.

        Raises:
            TransientError: the host or the repository does not answer; the machine has to wait.
            CorruptionError: the point is damaged there.
        """
        window = ExtentSet.of([(offset, offset + length)])
        content = bytearray(length)
        own = self._written_in(offset, length) & window
        for low, high in (window - own).bounds.tolist():
            part = await self._reader.read(self.disk, ExtentSet.of([(low, high)]))
            content[low - offset : high - offset] = part
        for low, high in own.bounds.tolist():
            part = await self._host.read(
                self._node, self.handle, offset=ByteCount(low), length=ByteCount(high - low)
            )
            content[low - offset : high - offset] = part
        return bytes(content)

    async def write(self, offset: ByteCount, content: bytes, /) -> None:
        """Put bytes onto the disk, durably.

        Raises:
            OverlayFullError: nothing was written; the machine has to pause until there is room.
            TransientError: it may be written or not; the machine has to write it again.
        """
        first, last = offset // self._block, -(-(offset + len(content)) // self._block)
        start, end = first * self._block, min(last * self._block, self.size)
        fresh = sum(not self._present[block] for block in range(first, last)) * self._block
        if fresh and self.written.total + fresh > self._room:
            raise OverlayFullError(self.disk, self._room)
        whole = bytearray(await self.read(ByteCount(start), ByteCount(end - start)))
        whole[offset - start : offset - start + len(content)] = content
        await self._put(start, bytes(whole), first, last)

    async def _put(self, start: int, whole: bytes, first: int, last: int) -> None:
        node, host = self._node, self._host
        await host.write(node, self.handle, offset=ByteCount(start), content=whole)
        await host.flush(node, self.handle)
        mark = bytes([1]) * (last - first)
        if self._present[first:last] != mark:
            await host.write(node, self._map.handle, offset=ByteCount(first), content=mark)
            await host.flush(node, self._map.handle)
            self._present[first:last] = mark

    async def fill(self) -> None:
        """Bring what the machine did not write, so that the file is the whole disk, durably.

        Nobody may write meanwhile.

        Raises:
            TransientError: filling again does no harm.
            CorruptionError: the point is damaged.
        """
        rest = ExtentSet.whole(self.size) - self.written
        for start, end in windows(self.size):
            wanted = ExtentSet.of([(start, end)]) & rest
            if wanted:
                holes = await write_content(
                    self._reader,
                    self.disk,
                    self._host,
                    wanted,
                    node=self._node,
                    handle=self.handle,
                )
                await self._blank(holes)
        await self._host.flush(self._node, self.handle)

    async def _blank(self, holes: ExtentSet) -> None:
        """Have nothing in the holes, where a write that came to nothing may have left something."""
        for low, high in holes.bounds.tolist():
            length = ByteCount(high - low)
            there = await self._host.read(
                self._node, self.handle, offset=ByteCount(low), length=length
            )
            if any(there):
                await self._host.write(
                    self._node, self.handle, offset=ByteCount(low), content=bytes(length)
                )

    async def differing(self) -> ExtentSet:
        """Return the blocks that the machine did not write and that are not the point's."""
        wrong = await differing(
            self._reader, self.disk, self._host, node=self._node, handle=self.handle
        )
        return wrong - self.written
