"""A limit on reading holds over every stretch of time, and bad limits are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.app.backup_command import read_rate
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, NodeName, SnapshotId
from reference_engine.model.units import SECOND, ByteCount, Duration
from reference_engine.ports.disk_io import DiskIo
from reference_engine.sync.pacing import PacedDiskIo
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
