"""What every host promises to whom machines come: nothing is a machine before it is whole."""

import pytest

from reference_engine.model.errors import (
    MachinePresentError,
    OperationFailedError,
    VolumeFullError,
)
from reference_engine.model.identity import DiskId, MachineId, OrderId
from reference_engine.model.machine import BackEnd, GuestKind, Machine, VirtualDisk
from reference_engine.model.units import ByteCount
from reference_engine.ports.machine_import import MachineImport, PreparedFile
from simulator.facade.door import Door
from simulator.facade.machine_import import MachineImportFacade
from simulator.kernel.digest import TraceDigest
from tests.strategies.simulated_clusters import V1, A, B, SimulatedCluster, X, scenario_text

SIZE = ByteCount(1 << 20)
ORDER, OTHER = OrderId("r1"), OrderId("r2")
NEW = Machine(
    id=MachineId("new"),
    name="new",
    guest=GuestKind.NONE,
    back_end=BackEnd.HOST_SNAPSHOT,
    disks=(VirtualDisk(id=DiskId("new-disk0"), size=SIZE, volume=V1),),
)


class Host:
    """A simulated cluster, and its port for machines that come."""

    def __init__(self, *, room: str = "") -> None:
        text = scenario_text().replace('coordinator = "A"', f'coordinator = "A"\n{room}')
        self.cluster = SimulatedCluster(text)
        door = Door(self.cluster.world, TraceDigest(), self.cluster.plan)
        self.facade = MachineImportFacade(self.cluster.world)
        self.port: MachineImport = door.opened("machine_import", self.facade)

    async def prepared(self, order: OrderId = ORDER) -> PreparedFile:
        """Return an order's file, prepared once more."""
        return await self.port.prepare(A, order=order, path="disk", volume=V1, size=SIZE)

    async def read(self, file: PreparedFile) -> bytes:
        """Return the whole file."""
        return await self.port.read(A, file.handle, offset=ByteCount(0), length=SIZE)


def test_a_new_file_is_zero_and_holds_what_is_written() -> None:
    """What was not written stays zero."""
    host = Host()

    async def story() -> None:
        file = await host.prepared()
        assert file.fresh
        await host.port.write(A, file.handle, offset=ByteCount(4096), content=b"abc")
        await host.port.flush(A, file.handle)
        assert await host.read(file) == bytes(4096) + b"abc" + bytes(SIZE - 4099)

    host.cluster.run(story)


def test_whoever_prepares_a_file_last_is_the_only_one_to_write_it() -> None:
    """The content stays, and an earlier handle is worth nothing any more."""
    host = Host()

    async def story() -> None:
        first = await host.prepared()
        await host.port.write(A, first.handle, offset=ByteCount(0), content=b"abc")
        second = await host.prepared()

        assert not second.fresh
        assert (await host.read(second))[:3] == b"abc"
        with pytest.raises(OperationFailedError):
            await host.port.write(A, first.handle, offset=ByteCount(0), content=b"old")
        with pytest.raises(OperationFailedError):
            await host.port.realize(
                A, order=ORDER, machine=NEW, handles=(first.handle,), replace=False
            )
        assert await host.port.present(NEW.id) == ()

    host.cluster.run(story)


def test_a_machine_is_made_once_and_its_files_are_no_order_s_any_more() -> None:
    """Realizing again, because the answer was lost, changes nothing; nor does a late discard."""
    host = Host()

    async def story() -> None:
        file = await host.prepared()
        assert await host.port.realized(ORDER) is None
        for _ in range(2):
            await host.port.realize(
                A, order=ORDER, machine=NEW, handles=(file.handle,), replace=False
            )
        await host.port.discard(A, order=ORDER)

        assert await host.port.realized(ORDER) == NEW
        assert await host.port.present(NEW.id) == (A,)
        described = await host.cluster.host.describe(A, NEW.id)
        assert (described.name, described.guest) == (NEW.name, NEW.guest)
        assert [(disk.id, disk.size) for disk in described.disks] == [("new-disk0", SIZE)]
        with pytest.raises(OperationFailedError):
            await host.read(file)

    host.cluster.run(story)


def test_a_machine_that_is_there_stays_unless_it_is_to_be_replaced() -> None:
    """Its disks are what they were, and the files are the order's still."""
    host = Host()

    async def story() -> None:
        original = await host.cluster.host.describe(A, X)
        file = await host.prepared()
        with pytest.raises(MachinePresentError):
            await host.port.realize(
                A, order=ORDER, machine=original, handles=(file.handle,), replace=False
            )
        assert await host.cluster.host.describe(A, X) == original
        assert await host.read(file) == bytes(SIZE)

        one_disk = Machine(
            id=X,
            name=original.name,
            guest=original.guest,
            back_end=original.back_end,
            disks=original.disks[:1],
        )
        await host.port.realize(
            B, order=ORDER, machine=one_disk, handles=(file.handle,), replace=True
        )
        now = await host.cluster.host.describe(B, X)
        assert [(disk.id, disk.size) for disk in now.disks] == [(original.disks[0].id, SIZE)]
        assert now.disks[0].lineage != original.disks[0].lineage

    host.cluster.run(story)


def test_what_is_discarded_gives_its_room_back() -> None:
    """Without room there is no file, and a file that goes makes room for another one."""
    host = Host(room='room = "1 MiB"')

    async def story() -> None:
        await host.prepared()
        with pytest.raises(VolumeFullError):
            await host.prepared(OTHER)
        await host.port.discard(A, order=ORDER)
        assert (await host.prepared(OTHER)).fresh

    host.cluster.run(story)


def test_a_power_cut_takes_what_was_not_flushed_and_every_handle() -> None:
    """What was flushed is there; of the rest each write is, or is not."""
    host = Host()

    async def story() -> None:
        file = await host.prepared()
        await host.port.write(A, file.handle, offset=ByteCount(0), content=b"kept")
        await host.port.flush(A, file.handle)
        await host.port.write(A, file.handle, offset=ByteCount(8192), content=b"lost")
        host.cluster.world.crash_node(A)
        host.cluster.world.start_node(A)

        with pytest.raises(OperationFailedError):
            await host.read(file)
        again = await host.prepared()
        content = await host.read(again)
        assert not again.fresh
        assert content[:4] == b"kept"
        assert content[8192:8196] in {b"lost", bytes(4)}

    host.cluster.run(story)
