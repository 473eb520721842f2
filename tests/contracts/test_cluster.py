"""What every cluster promises: it knows where a machine is and who coordinates its volumes."""

from pathlib import Path

import pytest

from reference_engine.model.errors import CoordinatorMoveRefusedError
from reference_engine.model.units import SECOND, Duration
from simulator.world import lifecycle
from tests.strategies.protected_machines import EVERY_KIND, ProtectedMachine, around
from tests.strategies.simulated_clusters import V1, A, B, SimulatedCluster, X, scenario_text


@pytest.fixture(params=EVERY_KIND, ids=lambda make: make.__name__)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> ProtectedMachine:
    """Return a machine of each kind in turn."""
    made: ProtectedMachine = request.param(tmp_path)
    return made


def test_a_machine_at_rest_is_where_its_node_says(machine: ProtectedMachine) -> None:
    """Placement and node agree, and the placement is settled."""

    async def story() -> None:
        placement = await machine.cluster.locate(X)
        assert (placement.machine, placement.owner) == (X, machine.owner)
        assert placement.settled
        assert await machine.host.confirms(placement.owner, X)

    machine.run(story)


def test_as_long_as_nothing_moves_a_placement_stays_the_same(machine: ProtectedMachine) -> None:
    """Two equal answers mean that the machine was not moved in between."""

    async def story() -> None:
        before = await machine.cluster.locate(X)
        await machine.cut()
        assert await machine.cluster.locate(X) == before

    machine.run(story)


def test_every_volume_has_a_coordinator_and_a_speed(machine: ProtectedMachine) -> None:
    """What a route is chosen by is known of each disk's volume."""

    async def story() -> None:
        described = await machine.host.describe(machine.owner, X)
        for volume in sorted({disk.volume for disk in described.disks}):
            state = await machine.cluster.volume(volume)
            assert (state.volume, state.coordinator) == (volume, machine.owner)
            assert state.preferred == state.coordinator
            assert min(state.direct_rate, state.redirected_rate) > 0

    machine.run(story)


def test_moving_a_coordinator_to_where_it_is_changes_nothing(machine: ProtectedMachine) -> None:
    """It is there already."""

    async def story() -> None:
        before = await machine.cluster.volume(machine.volume)
        await machine.cluster.move_coordinator(machine.volume, target=before.coordinator)
        assert await machine.cluster.volume(machine.volume) == before

    machine.run(story)


def test_a_refused_move_leaves_the_coordinator(machine: ProtectedMachine) -> None:
    """A pinned volume is refused by name, and stays where it was."""

    async def story() -> None:
        before = await machine.cluster.volume(machine.pinned)
        with pytest.raises(CoordinatorMoveRefusedError) as caught:
            await machine.cluster.move_coordinator(machine.pinned, target=machine.refused)
        assert (caught.value.volume, caught.value.node) == (machine.pinned, machine.refused)
        assert await machine.cluster.volume(machine.pinned) == before

    machine.run(story)


def test_redirection_can_be_left_as_often_as_one_likes(machine: ProtectedMachine) -> None:
    """Entering and leaving are about a state, not about a count."""

    async def story() -> None:
        await machine.cluster.leave_redirected(machine.volume)
        for _ in range(2):
            await machine.cluster.enter_redirected(machine.volume)
        for _ in range(2):
            await machine.cluster.leave_redirected(machine.volume)
        assert not (await machine.cluster.volume(machine.volume)).redirected

    machine.run(story)


@pytest.fixture
def simulated() -> SimulatedCluster:
    """Return a simulated cluster whose inside can be disturbed."""
    return SimulatedCluster(scenario_text())


def test_a_moved_coordinator_is_where_it_was_moved(simulated: SimulatedCluster) -> None:
    """The new coordinator is known as soon as the move returns; the preferred one stays."""

    async def story() -> None:
        await simulated.cluster.move_coordinator(V1, target=B)
        state = await simulated.cluster.volume(V1)
        assert (state.coordinator, state.preferred) == (B, A)
        await simulated.cluster.enter_redirected(V1)
        assert (await simulated.cluster.volume(V1)).redirected

    simulated.run(story)


def test_a_dead_node_does_not_become_coordinator(simulated: SimulatedCluster) -> None:
    """Asking for it is refused."""

    async def story() -> None:
        simulated.world.crash_node(B)
        with pytest.raises(CoordinatorMoveRefusedError):
            await simulated.cluster.move_coordinator(V1, target=B)

    simulated.run(story)


def test_a_move_there_and_back_is_told_from_no_move(simulated: SimulatedCluster) -> None:
    """The owner is the same again, but the generation is not."""
    found = simulated.world.machines[X]

    async def story() -> None:
        before = await simulated.cluster.locate(X)
        for target in (B, A):
            await simulated.world.migrate(found, target, pre_copy=SECOND, blackout=SECOND)
        after = await simulated.cluster.locate(X)
        assert (after.owner, after.settled) == (before.owner, True)
        assert after.generation != before.generation

    simulated.run(story)


def test_a_machine_on_its_way_is_not_settled(simulated: SimulatedCluster) -> None:
    """While it migrates, and while it waits to be restarted, nothing should be begun."""
    found = simulated.world.machines[X]

    async def story() -> None:
        move = simulated.world.migrate(found, B, pre_copy=Duration(9 * SECOND), blackout=SECOND)
        task = simulated.sim.spawn(move, name="migration")
        await simulated.runtime.sleep(SECOND)
        assert not (await simulated.cluster.locate(X)).settled
        await task
        assert (await simulated.cluster.locate(X)).settled
        simulated.world.crash_node(B)
        placement = await simulated.cluster.locate(X)
        assert (placement.owner, placement.settled) == (B, False)

    simulated.run(story)


def test_the_owner_is_known_by_its_own_node_only(simulated: SimulatedCluster) -> None:
    """After a migration the old node does not confirm the machine any more."""
    machine, found = around(simulated), simulated.world.machines[X]

    async def story() -> None:
        await simulated.world.migrate(found, B, pre_copy=SECOND, blackout=SECOND)
        assert not await machine.host.confirms(A, X)
        assert await machine.host.confirms(B, X)

    simulated.run(story)


def test_the_cluster_lists_its_machines_and_the_nodes_that_are_up(
    simulated: SimulatedCluster,
) -> None:
    """Who was deleted, and what is down, is not listed."""

    async def story() -> None:
        assert await simulated.cluster.machines() == (X,)
        assert await simulated.cluster.nodes() == (A, B)
        simulated.world.crash_node(B)
        assert await simulated.cluster.nodes() == (A,)
        lifecycle.delete(simulated.world, simulated.world.machines[X])
        assert await simulated.cluster.machines() == ()

    simulated.run(story)
