"""What every reader of snapshots promises: all bytes of one instant, as often as asked."""

from pathlib import Path

import pytest

from reference_engine.model.errors import HostUnreachableError, SnapshotLostError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import MINUTE, ByteCount
from tests.strategies.protected_machines import EVERY_KIND, ProtectedMachine
from tests.strategies.simulated_clusters import A, SimulatedCluster, run_number, scenario_text


@pytest.fixture(params=EVERY_KIND, ids=lambda make: make.__name__)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> ProtectedMachine:
    """Return a machine of each kind in turn."""
    made: ProtectedMachine = request.param(tmp_path)
    return made


def test_what_is_not_allocated_is_zero(machine: ProtectedMachine) -> None:
    """Everything that may be other than zero is told, within the disk; the ends are in use here."""

    async def story() -> None:
        cut = await machine.cut()
        for disk in machine.disks:
            size = await machine.size_of(disk)
            allocated = await machine.disk_io.allocated(cut.id, disk)
            content = await machine.whole(cut, disk)
            assert len(content) == size
            assert allocated
            assert allocated == allocated.clipped(size)
            for part in allocated.complement(size):
                assert not any(content[part.offset : part.end])
            assert any(content[-512:])

    machine.run(story)


def test_ranges_come_one_after_the_other(machine: ProtectedMachine) -> None:
    """A read of several ranges is the whole disk's bytes there, in their order, none added."""

    async def story() -> None:
        cut = await machine.cut()
        disk = machine.disks[0]
        size = await machine.size_of(disk)
        content = await machine.whole(cut, disk)
        ranges = ExtentSet.of([(0, 1), (511, 4097), (20_000, 21_000), (size - 700, size)])
        read = await machine.disk_io.read(cut.id, disk, ranges, through=machine.owner)
        assert read == b"".join(content[part.offset : part.end] for part in ranges)
        assert await machine.disk_io.read(cut.id, disk, EMPTY, through=machine.owner) == b""

    machine.run(story)


def test_it_does_not_matter_how_a_disk_is_split(machine: ProtectedMachine) -> None:
    """Windows of any length add up to the disk."""

    async def story() -> None:
        cut = await machine.cut()
        for disk in machine.disks:
            whole = ExtentSet.whole(await machine.size_of(disk))
            parts = [
                await machine.disk_io.read(cut.id, disk, window, through=machine.owner)
                for window in whole.windows(ByteCount(30_001))
            ]
            assert b"".join(parts) == await machine.whole(cut, disk)

    machine.run(story)


def test_a_released_snapshot_is_not_read(machine: ProtectedMachine) -> None:
    """Neither its bytes nor its allocation; and never other bytes in their place."""

    async def story() -> None:
        cut = await machine.cut()
        await machine.host.release(cut.id)
        with pytest.raises(SnapshotLostError):
            await machine.whole(cut, machine.disks[0])
        with pytest.raises(SnapshotLostError):
            await machine.disk_io.allocated(cut.id, machine.disks[0])

    machine.run(story)


@pytest.mark.parametrize("back_end", ["E1", "E3"])
def test_a_snapshot_stands_still_while_its_guest_writes(back_end: str) -> None:
    """What is read minutes later is what the disks held when they were cut."""
    cluster = SimulatedCluster(scenario_text(back_end=back_end))
    found = cluster.world.machines[run_number(1).machine]
    disks = tuple(disk.id for disk in found.disks)

    async def cut(epoch: int) -> str:
        tag = run_number(epoch)
        if back_end == "E1":
            return (await cluster.host.take_snapshot(A, run=tag, disks=disks)).id
        return (await cluster.host.take_checkpoint(A, run=tag, at_rest=None)).id

    async def read(snapshot: str) -> list[bytes]:
        kept = cluster.world.snapshots
        return [
            await cluster.disk_io.read(
                kept[next(n for n in kept if n == snapshot)].id,
                disk.id,
                ExtentSet.whole(disk.size),
                through=A,
            )
            for disk in found.disks
        ]

    async def story() -> None:
        first = await cut(1)
        before = await read(first)
        await cluster.runtime.sleep(MINUTE)
        second = await cut(2)
        assert await read(first) == before
        assert await read(second) != before

    cluster.run(story)


def test_a_dead_node_reads_nothing() -> None:
    """A read through it says so; a host snapshot on it is gone for good."""
    cluster = SimulatedCluster(scenario_text())
    found = cluster.world.machines[run_number(1).machine]
    disk = found.disks[0]

    async def story() -> None:
        cut = await cluster.host.take_snapshot(A, run=run_number(1), disks=(disk.id,))
        whole = ExtentSet.whole(disk.size)
        cluster.world.crash_node(A)
        with pytest.raises(HostUnreachableError):
            await cluster.disk_io.read(cut.id, disk.id, whole, through=A)
        cluster.world.start_node(A)
        with pytest.raises(SnapshotLostError):
            await cluster.disk_io.read(cut.id, disk.id, whole, through=A)

    cluster.run(story)
