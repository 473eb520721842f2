"""A limit on reading holds over every stretch of time, and bad limits are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.app.backup_command import read_latency, read_rate
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.model.units import MIB, MILLISECOND, SECOND, ByteCount, Duration
from reference_engine.ports.disk_io import DiskIo
from reference_engine.sync.pacing import PORTION_MAX, ConsiderateDiskIo, PacedDiskIo
from simulator.kernel.bandwidth import SharedLink
from simulator.kernel.runtime import SimRuntime
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode

RATE = ByteCount(1000)


class Source(DiskIo):
    """Zeros, at once; it notes when how much was read."""

    def __init__(self, runtime: Any, /) -> None:
        self._runtime = runtime
        self.reads: list[tuple[int, int]] = []

    async def allocated(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return nothing."""
        del snapshot, disk
        return EMPTY

    async def read(
        self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /, *, through: NodeName
    ) -> bytes:
        """Return zeros."""
        del snapshot, disk, through
        self.reads.append((self._runtime.now(), extents.total))
        return bytes(extents.total)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5000)), min_size=1, max_size=8))
def test_no_stretch_of_time_sees_more_than_the_limit(steps: list[tuple[int, int]]) -> None:
    """Between any two reads there is time for all that was read from the first one on."""
    runtime = SimRuntime(Simulation(1), node=SimNode("engine"))
    source = Source(runtime)
    paced = PacedDiskIo(source, runtime, rate=RATE)

    async def scenario() -> None:
        for pause, size in steps:
            await runtime.sleep(Duration(pause * SECOND))
            whole = ExtentSet.whole(ByteCount(size))
            content = await paced.read(SnapshotId("s"), DiskId("d"), whole, through=NodeName("n"))
            assert content == bytes(size)

    runtime.run(scenario())

    reads = source.reads
    for first in range(len(reads)):
        for last in range(first + 1, len(reads)):
            budget = (reads[last][0] - reads[first][0]) * RATE / SECOND
            assert sum(size for _, size in reads[first:last]) <= budget


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50MB/s", 50_000_000), ("20MiB/s", 20 << 20), ("1kB/s", 1000), ("1.5 GB/s", 1_500_000_000)],
)
def test_rates_are_read_with_their_units(text: str, rate: int) -> None:
    """Decimal and binary units mean what they say."""
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "0MB/s", "-5MB/s", "50", "1B/s", "9" * 400 + "MB/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """One sentence names what was wrong."""
    with pytest.raises(InputRefusedError, match="no rate"):
        read_rate(text)


class BusyDisk(Source):
    """A disk of 100 MiB/s that serves one after the other: a backup, and a guest."""

    def __init__(self, runtime: SimRuntime, simulation: Simulation, /) -> None:
        super().__init__(runtime)
        self._link = SharedLink(simulation, ByteCount(100 * MIB))
        self._turn = runtime.semaphore(1)
        self.guest: list[tuple[int, int]] = []
        """When each write of the guest was done, and how long it took."""

    async def read(
        self, snapshot: SnapshotId, disk: DiskId, extents: ExtentSet, /, *, through: NodeName
    ) -> bytes:
        """Return zeros when the disk has passed them."""
        async with self._turn:
            await self._link.transfer(extents.total)
        return await super().read(snapshot, disk, extents, through=through)

    async def write(self, size: int) -> None:
        """Write as a guest does, now and then, from the first second to the third."""
        await self._runtime.sleep(SECOND)
        while self._runtime.now() < 3 * SECOND:
            asked = self._runtime.now()
            async with self._turn:
                await self._link.transfer(ByteCount(size))
            self.guest.append((self._runtime.now(), self._runtime.now() - asked))
            await self._runtime.sleep(7 * len(self.guest) % 40 * MILLISECOND)


def beside_a_guest(budget: Duration | None, *, writes: int) -> tuple[BusyDisk, int]:
    """Read 400 MiB beside a guest; return the disk, and when all was read."""
    simulation = Simulation(1)
    runtime = SimRuntime(simulation, node=SimNode("engine"))
    disk = BusyDisk(runtime, simulation)
    source = disk if budget is None else ConsiderateDiskIo(disk, runtime, budget=budget)

    async def scenario() -> int:
        async with runtime.task_group() as group:
            group.spawn(disk.write(writes), name="guest")
            for window in ExtentSet.whole(ByteCount(400 * MIB)).windows(PORTION_MAX):
                content = await source.read(
                    SnapshotId("s"), DiskId("d"), window, through=NodeName("n")
                )
                assert len(content) == window.total
            return runtime.now()

    return disk, runtime.run(scenario())


def test_a_latency_budget_is_kept_for_whoever_waits_behind_a_read() -> None:
    """A guest never waits half as long, at the price of a third more time for the copy."""
    alone, alone_end = beside_a_guest(None, writes=256 * 1024)
    beside, beside_end = beside_a_guest(Duration(12 * MILLISECOND), writes=256 * 1024)

    assert max(took for _, took in alone.guest) > 35 * MILLISECOND
    assert max(took for _, took in beside.guest) < 20 * MILLISECOND
    assert beside_end < alone_end * 4 // 3


def test_a_disk_that_others_need_is_left_alone_until_they_are_done() -> None:
    """Where small reads are late too, a guest gets more done; afterwards all is as before."""
    alone, _ = beside_a_guest(None, writes=8 * MIB)
    beside, beside_end = beside_a_guest(Duration(41 * MILLISECOND), writes=8 * MIB)

    assert len(beside.guest) > len(alone.guest)
    during = sum(size for at, size in beside.reads if SECOND < at < 3 * SECOND)
    assert during < sum(size for at, size in alone.reads if SECOND < at < 3 * SECOND)
    assert [size for at, size in beside.reads if at < SECOND] == [PORTION_MAX] * 24
    assert beside.reads[-1] == (beside_end, PORTION_MAX)


def test_a_source_that_is_always_late_is_still_read_to_its_end() -> None:
    """At a budget that nothing can meet, a read takes no more than seventeen times as long."""
    alone, alone_end = beside_a_guest(None, writes=1)
    beside, beside_end = beside_a_guest(Duration(1), writes=1)

    assert sum(size for _, size in beside.reads) == sum(size for _, size in alone.reads)
    assert beside_end <= 17 * alone_end


@pytest.mark.parametrize("milliseconds", [0, -5, 60_001, 10**30])
def test_what_is_no_latency_is_refused(milliseconds: int) -> None:
    """One sentence names what was wrong."""
    with pytest.raises(InputRefusedError, match="no latency"):
        read_latency(milliseconds)


def test_a_latency_is_read_as_milliseconds() -> None:
    """Twenty are twenty thousand microseconds."""
    assert read_latency(20) == 20 * MILLISECOND
