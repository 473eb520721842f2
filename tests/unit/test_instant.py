"""A machine runs from a point: what it wrote is there, what it did not write is the point's."""

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import OverlayFullError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import OrderId, RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.ports.machine_import import MachineImport
from reference_engine.repository.reader import PointReader
from reference_engine.restore.instant import InstantDisk
from simulator.facade.door import Door
from simulator.facade.machine_import import MachineImportFacade
from simulator.kernel.digest import TraceDigest
from tests.strategies.repositories import BLOCK, DISK, block, commit, new_repository
from tests.strategies.simulated_clusters import V1, A, SimulatedCluster, scenario_text

IMAGE = block(1) + block(2) + block(0) + block(4)[:40]
"""The third block is a hole, and the last one ends before its time."""


class Host:
    """A host with room, and a point that a machine can run from."""

    def __init__(self) -> None:
        self.cluster = SimulatedCluster(scenario_text())
        door = Door(self.cluster.world, TraceDigest(), self.cluster.plan)
        self.facade = MachineImportFacade(self.cluster.world)
        self.port: MachineImport = door.opened("machine_import", self.facade)

    async def reader(self) -> PointReader:
        """Return a reader of a point of `IMAGE`."""
        repository = await new_repository(MemoryStore())
        await commit(repository, IMAGE, "a")
        return await repository.reader(RecoveryPointId("a"))

    async def disk(self, reader: PointReader, *, room: int = 1 << 20) -> InstantDisk:
        """Return the disk as its machine has left it."""
        return await InstantDisk.open(
            reader,
            DISK,
            self.port,
            node=A,
            order=OrderId("r1"),
            path="disk",
            volume=V1,
            room=ByteCount(room),
        )


async def whole(disk: InstantDisk) -> bytes:
    """Return everything on a disk."""
    return await disk.read(ByteCount(0), disk.size)


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (0, b"x"),
        (60, b"over a border"),
        (BLOCK, bytes(BLOCK)),
        (2 * BLOCK + 3, b"in a hole"),
        (len(IMAGE) - 1, b"z"),
        (0, b"y" * len(IMAGE)),
    ],
)
def test_what_was_written_is_read_and_all_else_is_the_point(offset: int, content: bytes) -> None:
    """Also by whoever opens the disk again, and in the file that becomes the machine's disk."""
    host = Host()
    expected = IMAGE[:offset] + content + IMAGE[offset + len(content) :]

    async def story() -> None:
        reader = await host.reader()
        disk = await host.disk(reader)
        assert await whole(disk) == IMAGE

        await disk.write(ByteCount(offset), content)

        assert await whole(disk) == expected
        again = await host.disk(reader)
        assert await whole(again) == expected
        await again.fill()
        assert not await again.differing()
        assert host.facade.imports.file(again.handle).durable.tobytes() == expected
        assert await reader.read(DISK, ExtentSet.whole(reader.size(DISK))) == IMAGE

    host.cluster.run(story)


def test_without_room_nothing_of_a_write_is_done() -> None:
    """The machine pauses; blocks that it has already may be written still, and more room helps."""
    host = Host()

    async def story() -> None:
        disk = await host.disk(await host.reader(), room=BLOCK)
        await disk.write(ByteCount(0), b"first")
        with pytest.raises(OverlayFullError, match="add room"):
            await disk.write(ByteCount(BLOCK - 1), b"two blocks")
        assert await whole(disk) == b"first" + IMAGE[5:]

        await disk.write(ByteCount(10), b"again")
        disk.give_room(ByteCount(2 * BLOCK))
        await disk.write(ByteCount(BLOCK), b"more")

        assert disk.written == ExtentSet.of([(0, 2 * BLOCK)])

    host.cluster.run(story)


def test_filling_finds_what_the_host_did_not_keep() -> None:
    """A block that is neither the machine's nor the point's is named."""
    host = Host()

    async def story() -> None:
        disk = await host.disk(await host.reader())
        await disk.fill()
        host.facade.imports.file(disk.handle).content[BLOCK + 1] ^= 1

        assert await disk.differing() == ExtentSet.of([(BLOCK, 2 * BLOCK)])

    host.cluster.run(story)


def test_what_a_write_left_that_came_to_nothing_is_filled_over() -> None:
    """Also in a hole: a block that is not noted is the point's."""
    host = Host()

    async def story() -> None:
        disk = await host.disk(await host.reader())
        file = host.facade.imports.file(disk.handle)
        file.content[BLOCK : 3 * BLOCK] = 7

        await disk.fill()

        assert not await disk.differing()
        assert file.content.tobytes() == IMAGE

    host.cluster.run(story)
