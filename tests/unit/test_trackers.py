"""Change trackers tell every write since a switch, perhaps more, and say when they cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.model.errors import TrackerUnusableError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    MachineId,
    NodeName,
    ReferencePointId,
    RunTag,
)
from reference_engine.model.units import ByteCount
from simulator.world.disk import SimDisk
from simulator.world.stamps import TRIMMED, Cells
from simulator.world.trackers import FilterMap, FilterMaps, ReferencePoint, rct_changes
from tests.strategies.simulated_clusters import SimulatedCluster, scenario_text

CELL, CELLS, GRANULE = 1024, 203, 4
A, B = NodeName("A"), NodeName("B")
FIRST, SECOND_RUN = (RunTag(machine=MachineId("x"), epoch=Epoch(epoch)) for epoch in (1, 2))


def disk_named(name: str = "x-disk0") -> SimDisk:
    """Return a disk whose last cell is half a cell."""
    text = scenario_text(disks=(f"{CELLS * CELL - CELL // 2} B", "1 MiB"), cell=f"{CELL} B")
    return SimulatedCluster(text).world.disk(DiskId(name))


def map_of(disk: SimDisk) -> FilterMap:
    """Return a map that has seen nothing."""
    return FilterMap(disk, granule_cells=GRANULE)


def bytes_of(disk: SimDisk, cells: list[int]) -> ExtentSet:
    """Return the bytes of cells."""
    return ExtentSet.of_pieces(
        np.unique(np.array(cells, np.int64)), piece=disk.cell, size=disk.size
    )


def noted(kept: FilterMap, cells: list[int]) -> None:
    """Write cells through the map's node."""
    kept.note(np.array(cells, np.int64))


def cell_lists() -> st.SearchStrategy[list[int]]:
    """Cells of one write after the other."""
    return st.lists(st.integers(0, CELLS - 1), max_size=12)


@given(cell_lists(), cell_lists())
def test_a_frozen_map_covers_its_writes_and_no_later_ones(
    before: list[int], after: list[int]
) -> None:
    """All writes up to the switch are in it, in whole granules; those after it are in the next."""
    disk = disk_named()
    kept = map_of(disk)
    granule = ByteCount(GRANULE * CELL)
    noted(kept, before)
    kept.switch(FIRST)
    noted(kept, after)

    assert kept.extents(FIRST) == bytes_of(disk, before).aligned(granule, size=disk.size)
    del kept.frozen[FIRST]
    kept.switch(SECOND_RUN)
    assert kept.extents(SECOND_RUN) == bytes_of(disk, after).aligned(granule, size=disk.size)


@given(cell_lists(), cell_lists())
def test_an_aborted_run_takes_nothing_away(before: list[int], after: list[int]) -> None:
    """A map that is merged back is as if it had never been switched."""
    disk = disk_named()
    kept, untouched = map_of(disk), map_of(disk)
    noted(kept, before)
    kept.switch(FIRST)
    noted(kept, after)
    noted(untouched, before + after)

    kept.merge_back(FIRST)
    kept.switch(SECOND_RUN)
    untouched.switch(SECOND_RUN)

    assert FIRST not in kept.frozen
    assert kept.extents(SECOND_RUN) == untouched.extents(SECOND_RUN)


def test_a_map_that_was_never_frozen_tells_nothing() -> None:
    """There is no answer for a run that did not switch."""
    with pytest.raises(TrackerUnusableError, match="x-disk0"):
        map_of(disk_named()).extents(FIRST)


def test_a_power_cut_loses_what_was_in_memory() -> None:
    """Running and frozen maps are gone, what was armed is forgotten, and nobody pretends."""
    kept = map_of(disk_named())
    noted(kept, [1])
    kept.switch(FIRST)
    kept.armed = SECOND_RUN
    kept.lose()

    assert not kept.intact
    assert not kept.frozen
    assert kept.armed is None
    with pytest.raises(TrackerUnusableError):
        kept.extents(FIRST)


def test_a_reloaded_driver_loses_the_running_map_only() -> None:
    """A frozen map is still there; the writes since the switch are unknown."""
    disk = disk_named()
    kept = map_of(disk)
    noted(kept, [1])
    kept.switch(FIRST)
    kept.lose_running()
    noted(kept, [9])

    assert not kept.intact
    assert kept.extents(FIRST) == bytes_of(disk, [0, 1, 2, 3])


def test_a_lost_part_makes_the_whole_lost() -> None:
    """Merging an unknown with a known map gives an unknown one, until the next switch."""
    kept = map_of(disk_named())
    kept.switch(FIRST)
    kept.lose_running()
    kept.merge_back(FIRST)

    assert not kept.intact
    kept.switch(SECOND_RUN)
    assert kept.intact
    with pytest.raises(TrackerUnusableError):
        kept.extents(SECOND_RUN)


def test_a_new_map_after_a_loss_is_sound_again() -> None:
    """Since the switch every write is known, whatever was lost before it."""
    disk = disk_named()
    kept = map_of(disk)
    kept.lose()
    kept.switch(FIRST)
    noted(kept, [CELLS - 1])
    del kept.frozen[FIRST]
    kept.switch(SECOND_RUN)

    assert kept.extents(SECOND_RUN) == ExtentSet.of([((CELLS - 3) * CELL, disk.size)])


def test_a_second_run_learns_nothing_while_the_first_holds_its_map() -> None:
    """Part of what changed since the base is in the first map, which may come back later."""
    kept = map_of(disk_named())
    kept.switch(FIRST)
    kept.switch(SECOND_RUN)

    with pytest.raises(TrackerUnusableError):
        kept.extents(SECOND_RUN)


def test_a_run_switches_once() -> None:
    """A second switch under the same tag would throw the first map away."""
    kept = map_of(disk_named())
    kept.switch(FIRST)

    with pytest.raises(AssertionError):
        kept.switch(FIRST)


def test_maps_belong_to_a_node_and_a_disk() -> None:
    """Every node that wrote a disk is known by name, and losing one leaves the others."""
    maps = FilterMaps(granule_cells=GRANULE)
    disk, other = disk_named(), disk_named("x-disk1")
    for node, on in ((B, disk), (A, disk), (A, other)):
        assert maps.of(node, on) is maps.of(node, on)

    maps.lose(A)

    assert [node for node, _ in maps.known(disk.id)] == [A, B]
    assert [kept.intact for _, kept in maps.known(disk.id)] == [False, True]
    assert [kept.intact for _, kept in maps.known(other.id)] == [False]
    assert maps.known(DiskId("elsewhere")) == []


def written_disk(before: Cells, after: Cells, *, trim: bool) -> tuple[SimDisk, ReferencePoint]:
    """Return a disk with writes before and after a reference point."""
    disk = disk_named()
    # The first content of the disk has smaller stamps than these.
    instant = 1_000_000 + len(before)
    disk.stamps.write(before, np.arange(1_000_000, instant, dtype=np.uint64))
    point = ReferencePoint(ReferencePointId("x-reference-1"), FIRST, instant - 1)
    stamps = np.arange(instant, instant + len(after), dtype=np.uint64)
    disk.stamps.write(after, stamps | np.uint64(TRIMMED) if trim else stamps)
    return disk, point


@given(cell_lists(), cell_lists(), st.booleans(), st.booleans())
def test_resilient_tracking_covers_writes_and_trims(
    before: list[int],
    after: list[int],
    trim: bool,  # noqa: FBT001 - Hypothesis passes it by name
    coarse: bool,  # noqa: FBT001 - Hypothesis passes it by name
) -> None:
    """Every cell written or trimmed since the point is told, in fine granules or in coarse ones."""
    earlier, later = (np.unique(np.array(cells, np.int64)) for cells in (before, after))
    disk, point = written_disk(earlier, later, trim=trim)
    if coarse:
        point.coarse.add(disk.id)

    changed = rct_changes(
        disk, disk.stamps.snapshot(), point, granule_cells=GRANULE, size=disk.size
    )

    granule = ByteCount(GRANULE * CELL * (16 if coarse else 1))
    assert changed == bytes_of(disk, after).aligned(granule, size=disk.size)


def test_resilient_tracking_says_when_its_map_was_lost() -> None:
    """After an unclean failover without a coarse map there is no answer, not an empty one."""
    disk, point = written_disk(np.array([1]), np.array([5]), trim=False)
    point.lost.add(disk.id)

    with pytest.raises(TrackerUnusableError, match="unclean failover"):
        rct_changes(disk, disk.stamps.snapshot(), point, granule_cells=GRANULE, size=disk.size)


def test_nothing_changed_is_an_answer() -> None:
    """A reference point without a write since has an empty delta."""
    disk, point = written_disk(np.array([1, 2]), np.empty(0, np.int64), trim=False)

    assert (
        rct_changes(disk, disk.stamps.snapshot(), point, granule_cells=GRANULE, size=disk.size)
        == EMPTY
    )
