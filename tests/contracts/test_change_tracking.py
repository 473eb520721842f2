"""What every change tracking promises: never too little, or an error that says to compare."""

from pathlib import Path

import pytest

from reference_engine.model.errors import TrackerUnusableError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import ReferencePointId
from reference_engine.model.units import MINUTE, SECOND, ByteCount
from simulator.world.sizes import resize
from simulator.world.stamps import StampImage
from tests.strategies.protected_machines import EVERY_KIND, ProtectedMachine
from tests.strategies.simulated_clusters import A, B, SimulatedCluster, X, run_number, scenario_text

RUN, LATER = run_number(1), run_number(2)


@pytest.fixture(params=EVERY_KIND, ids=lambda make: make.__name__)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> ProtectedMachine:
    """Return a machine of each kind in turn."""
    made: ProtectedMachine = request.param(tmp_path)
    return made


@pytest.fixture
def older() -> SimulatedCluster:
    """Return a simulated cluster whose nodes have filter drivers."""
    return SimulatedCluster(scenario_text(back_end="E1"))


@pytest.fixture
def newer() -> SimulatedCluster:
    """Return a simulated cluster with resilient change tracking."""
    return SimulatedCluster(scenario_text(back_end="E3"))


def live(cluster: SimulatedCluster) -> StampImage:
    """Return the machine's first disk as it is now."""
    found = cluster.world.machines[X]
    found.advance()
    return found.disks[0].stamps.snapshot()


def differing(cluster: SimulatedCluster, one: StampImage, other: StampImage) -> ExtentSet:
    """Return the bytes of the first disk in which two images differ."""
    disk = cluster.world.machines[X].disks[0]
    return ExtentSet.of_pieces(one.differs(other), piece=disk.cell, size=disk.size)


def test_each_tracker_speaks_for_one_node(machine: ProtectedMachine) -> None:
    """No node is listed twice."""

    async def story() -> None:
        for disk in machine.disks:
            states = await machine.tracking.trackers(disk)
            assert len({state.node for state in states}) == len(states)

    machine.run(story)


def test_a_map_that_was_not_frozen_is_no_answer(machine: ProtectedMachine) -> None:
    """An empty delta would be the worst of all answers."""

    async def story() -> None:
        with pytest.raises(TrackerUnusableError):
            await machine.tracking.frozen(machine.owner, machine.disks[0], run=RUN)

    machine.run(story)


def test_an_unknown_reference_point_is_no_answer(machine: ProtectedMachine) -> None:
    """Nobody knows what changed since an instant that was not kept."""

    async def story() -> None:
        cut = await machine.cut()
        with pytest.raises(TrackerUnusableError):
            await machine.tracking.changed_since(
                machine.disks[0], since=ReferencePointId("never-there"), until=cut.id
            )

    machine.run(story)


def test_what_is_not_there_is_dropped_and_merged_in_peace(machine: ProtectedMachine) -> None:
    """Cleaning up needs no bookkeeping."""

    async def story() -> None:
        for disk in machine.disks:
            await machine.tracking.drop(machine.owner, disk, run=RUN)
            await machine.tracking.merge_back(machine.owner, disk, run=RUN)
        assert (await machine.host.leftovers(X)).frozen_maps == ()

    machine.run(story)


def test_a_frozen_map_covers_every_write_between_two_switches() -> None:
    """Switched while the guest is at rest, it tells all that differs, in whole granules."""
    cluster = SimulatedCluster(scenario_text(back_end="E1", guest="fsfreeze"))
    disk = cluster.world.machines[X].disks[0]

    async def switched(epoch: int) -> StampImage:
        run = run_number(epoch)
        await cluster.runtime.sleep(MINUTE)
        await cluster.consistency.freeze(A, run=run)
        await cluster.tracking.switch(A, disk.id, run=run)
        image = live(cluster)
        await cluster.consistency.thaw(A, run=run)
        return image

    async def story() -> None:
        first = await switched(1)
        await cluster.tracking.drop(A, disk.id, run=RUN)
        second = await switched(2)
        told = await cluster.tracking.frozen(A, disk.id, run=LATER)
        assert differing(cluster, second, first)
        assert differing(cluster, second, first) <= told
        assert told == told.clipped(disk.size)

    cluster.run(story)


def test_a_frozen_map_is_of_the_disk_as_it_was() -> None:
    """A disk that becomes smaller takes nothing from a map that was frozen before."""
    cluster = SimulatedCluster(scenario_text(back_end="E1", guest="fsfreeze"))
    machine = cluster.world.machines[X]
    disk = machine.disks[0]
    large = ByteCount(disk.size + 16 * disk.cell)

    async def story() -> None:
        await resize(cluster.world, machine, disk, large)
        await cluster.tracking.switch(A, disk.id, run=RUN)
        told = await cluster.tracking.frozen(A, disk.id, run=RUN)
        assert told != told.clipped(disk.first_size)
        await resize(cluster.world, machine, disk, disk.first_size)
        assert await cluster.tracking.frozen(A, disk.id, run=RUN) == told
        await cluster.tracking.merge_back(A, disk.id, run=RUN)
        await cluster.tracking.switch(A, disk.id, run=LATER)
        merged = await cluster.tracking.frozen(A, disk.id, run=LATER)
        assert told.clipped(disk.first_size) <= merged
        assert merged == merged.clipped(disk.first_size)

    cluster.run(story)


def test_no_map_vouches_for_a_base_that_another_one_begins_with(older: SimulatedCluster) -> None:
    """While an earlier run's map is frozen, what is switched next says nothing of its base."""
    disk = older.world.machines[X].disks[0]

    async def story() -> None:
        await older.tracking.switch(A, disk.id, run=RUN)
        await older.runtime.sleep(MINUTE)
        await older.tracking.switch(A, disk.id, run=LATER)
        with pytest.raises(TrackerUnusableError):
            await older.tracking.frozen(A, disk.id, run=LATER)

    older.run(story)


def test_switching_twice_for_one_run_changes_nothing(older: SimulatedCluster) -> None:
    """A call that is repeated after a lost answer does not throw the first map away."""
    disk = older.world.machines[X].disks[0]

    async def story() -> None:
        await older.runtime.sleep(MINUTE)
        await older.tracking.switch(A, disk.id, run=RUN)
        told = await older.tracking.frozen(A, disk.id, run=RUN)
        await older.runtime.sleep(MINUTE)
        await older.tracking.switch(A, disk.id, run=RUN)
        assert await older.tracking.frozen(A, disk.id, run=RUN) == told
        assert told != EMPTY

    older.run(story)


def test_an_armed_map_is_switched_in_the_hold(older: SimulatedCluster) -> None:
    """Two snapshots' difference is covered by the map that was switched in between them."""
    disk = older.world.machines[X].disks[0]

    async def story() -> None:
        for run in (RUN, LATER):
            await older.tracking.arm(A, disk.id, run=run)
            with pytest.raises(TrackerUnusableError):
                await older.tracking.frozen(A, disk.id, run=run)
            await older.host.take_snapshot(A, run=run, disks=(disk.id,))
            if run == RUN:
                await older.tracking.drop(A, disk.id, run=RUN)
            await older.runtime.sleep(MINUTE)
        told = await older.tracking.frozen(A, disk.id, run=LATER)
        first, second = (older.truth.switched[run, disk.id] for run in (RUN, LATER))
        assert differing(older, second, first)
        assert differing(older, second, first) <= told

    older.run(story)


def test_every_node_that_wrote_is_listed(older: SimulatedCluster) -> None:
    """Also when it is down, with the truth about its map."""
    found = older.world.machines[X]
    disk = found.disks[0]

    async def story() -> None:
        await older.runtime.sleep(MINUTE)
        await older.world.migrate(found, B, pre_copy=SECOND, blackout=SECOND)
        await older.runtime.sleep(MINUTE)
        found.advance()
        states = await older.tracking.trackers(disk.id)
        assert [(s.node, s.reachable, s.intact) for s in states] == [
            (A, True, True),
            (B, True, True),
        ]
        older.world.crash_node(A)
        states = await older.tracking.trackers(disk.id)
        assert [(s.node, s.reachable, s.intact) for s in states] == [
            (A, False, False),
            (B, True, True),
        ]
        older.world.start_node(A)
        states = await older.tracking.trackers(disk.id)
        assert (states[0].reachable, states[0].intact) == (True, False)

    older.run(story)


def test_a_dropped_map_is_gone_and_a_merged_one_is_not_lost(older: SimulatedCluster) -> None:
    """After an abort the next delta holds what the aborted run's would have held."""
    disk = older.world.machines[X].disks[0]

    async def story() -> None:
        await older.runtime.sleep(MINUTE)
        await older.tracking.switch(A, disk.id, run=RUN)
        aborted = await older.tracking.frozen(A, disk.id, run=RUN)
        assert (await older.host.leftovers(X)).frozen_maps == ((A, disk.id, RUN),)
        await older.tracking.merge_back(A, disk.id, run=RUN)
        await older.tracking.switch(A, disk.id, run=LATER)
        assert aborted <= await older.tracking.frozen(A, disk.id, run=LATER)
        await older.tracking.drop(A, disk.id, run=LATER)
        assert (await older.host.leftovers(X)).frozen_maps == ()
        with pytest.raises(TrackerUnusableError):
            await older.tracking.frozen(A, disk.id, run=LATER)

    older.run(story)


@pytest.mark.parametrize("crashed", [False, True])
def test_resilient_tracking_covers_two_checkpoints_difference(
    newer: SimulatedCluster,
    crashed: bool,  # noqa: FBT001 - a parameter of the case
) -> None:
    """Between a reference point and a later checkpoint nothing is missed, coarse or not."""
    found = newer.world.machines[X]
    disk = found.disks[0]

    async def story() -> None:
        first = await newer.host.take_checkpoint(A, run=RUN, at_rest=None)
        point = await newer.host.convert_to_reference_point(A, checkpoint=first.id, run=RUN)
        await newer.host.release(first.id)
        await newer.runtime.sleep(MINUTE)
        if crashed:
            newer.world.crash_node(A)
            await newer.runtime.sleep(MINUTE)
        owner = (await newer.cluster.locate(X)).owner
        second = await newer.host.take_checkpoint(owner, run=LATER, at_rest=None)
        told = await newer.tracking.changed_since(disk.id, since=point, until=second.id)
        one, other = (newer.truth.switched[run, disk.id] for run in (RUN, LATER))
        assert differing(newer, other, one)
        assert differing(newer, other, one) <= told
        assert told == told.clipped(disk.size)

    newer.run(story)


def test_resilient_tracking_that_did_not_survive_is_no_answer() -> None:
    """After a power cut that cost the map, the answer is an error."""
    text = scenario_text(back_end="E3").replace(
        'back_end = "E3"', 'back_end = "E3"\nrct_after_power_cut = "lost"'
    )
    cluster = SimulatedCluster(text)
    disk = cluster.world.machines[X].disks[0]

    async def story() -> None:
        first = await cluster.host.take_checkpoint(A, run=RUN, at_rest=None)
        point = await cluster.host.convert_to_reference_point(A, checkpoint=first.id, run=RUN)
        cluster.world.crash_node(A)
        await cluster.runtime.sleep(MINUTE)
        owner = (await cluster.cluster.locate(X)).owner
        second = await cluster.host.take_checkpoint(owner, run=LATER, at_rest=None)
        with pytest.raises(TrackerUnusableError):
            await cluster.tracking.changed_since(disk.id, since=point, until=second.id)

    cluster.run(story)
