"""What every host promises: cuts of one instant that carry their run's tag until released."""

from pathlib import Path

import pytest

from reference_engine.model.errors import (
    HostUnreachableError,
    NotOwnerError,
    OperationFailedError,
    SnapshotLostError,
)
from reference_engine.model.identity import ReferencePointId
from reference_engine.model.machine import BackEnd
from reference_engine.model.units import MINUTE, SECOND, Duration
from simulator.faults.plan import Answer, AnswerKind
from simulator.oracle.evidence import replay
from simulator.world.lifecycle import delete
from tests.strategies.protected_machines import EVERY_KIND, ProtectedMachine
from tests.strategies.simulated_clusters import A, B, SimulatedCluster, X, run_number, scenario_text

RUN = run_number(1)


@pytest.fixture(params=EVERY_KIND, ids=lambda make: make.__name__)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> ProtectedMachine:
    """Return a machine of each kind in turn."""
    made: ProtectedMachine = request.param(tmp_path)
    return made


@pytest.fixture
def newer() -> SimulatedCluster:
    """Return a simulated cluster of hosts with checkpoints and reference points."""
    return SimulatedCluster(scenario_text(back_end="E3"))


@pytest.fixture
def older() -> SimulatedCluster:
    """Return a simulated cluster of hosts with host snapshots."""
    return SimulatedCluster(scenario_text(back_end="E1"))


def test_only_the_owner_confirms_a_machine(machine: ProtectedMachine) -> None:
    """A node has the last word about what runs on it."""

    async def story() -> None:
        assert await machine.host.confirms(machine.owner, X)

    machine.run(story)


def test_a_machine_is_described_by_its_owner(machine: ProtectedMachine) -> None:
    """Disks have identities and whole sectors; the same question has the same answer."""

    async def story() -> None:
        described = await machine.host.describe(machine.owner, X)
        assert described.id == X
        assert described.back_end is machine.back_end
        assert tuple(disk.id for disk in described.disks) == machine.disks
        assert all(disk.size > 0 and disk.size % 512 == 0 for disk in described.disks)
        assert await machine.host.describe(machine.owner, X) == described

    machine.run(story)


def test_a_cut_carries_its_runs_tag(machine: ProtectedMachine) -> None:
    """What a run creates says whose it is, and is found again by whoever asks."""

    async def story() -> None:
        cut = await machine.cut(7)
        assert cut.run == run_number(7)
        assert cut.node == machine.owner
        left = await machine.host.leftovers(X)
        assert left.snapshots == ((cut.id, run_number(7)),)

    machine.run(story)


def test_cuts_have_different_names(machine: ProtectedMachine) -> None:
    """No two cuts share an identity, and both are held until they are released."""

    async def story() -> None:
        cuts = [await machine.cut(epoch) for epoch in (1, 2)]
        assert cuts[0].id != cuts[1].id
        left = await machine.host.leftovers(X)
        assert sorted(left.snapshots) == sorted((cut.id, cut.run) for cut in cuts)

    machine.run(story)


def test_a_cut_is_released_as_often_as_one_likes(machine: ProtectedMachine) -> None:
    """Releasing what is gone is no error, and nothing is left."""

    async def story() -> None:
        cut = await machine.cut()
        for _ in range(2):
            await machine.host.release(cut.id)
        left = await machine.host.leftovers(X)
        assert (left.snapshots, left.guest_snapshots) == ((), ())
        assert not left.frozen_guest

    machine.run(story)


def test_merging_ends(machine: ProtectedMachine) -> None:
    """Some time after the last release no difference disk is left."""

    async def story() -> None:
        cut = await machine.cut()
        await machine.host.release(cut.id)
        async with machine.runtime.deadline(MINUTE):
            while not await machine.host.merged(X):
                await machine.runtime.sleep(SECOND)

    machine.run(story)


def test_what_writers_recovered_lies_within_the_disk(machine: ProtectedMachine) -> None:
    """Without a guest at rest nothing was recovered inside a cut."""

    async def story() -> None:
        cut = await machine.cut()
        for disk in machine.disks:
            assert not await machine.host.auto_recovered(cut.id, disk)

    machine.run(story)


def test_a_reference_point_that_is_gone_can_be_dropped(machine: ProtectedMachine) -> None:
    """Dropping what nobody has is no error."""

    async def story() -> None:
        await machine.host.drop_reference_point(X, ReferencePointId("never-there"))
        assert (await machine.host.leftovers(X)).reference_points == ()

    machine.run(story)


def test_another_node_does_not_answer_for_the_machine(machine: ProtectedMachine) -> None:
    """It neither confirms nor describes nor cuts what runs elsewhere."""

    async def story() -> None:
        assert not await machine.host.confirms(machine.elsewhere, X)
        with pytest.raises(NotOwnerError) as caught:
            await machine.host.describe(machine.elsewhere, X)
        assert caught.value.machine == X
        if machine.back_end is not BackEnd.HOST_SNAPSHOT:
            with pytest.raises(NotOwnerError):
                await machine.host.take_checkpoint(machine.elsewhere, run=RUN, at_rest=None)
        assert (await machine.host.leftovers(X)).snapshots == ()

    machine.run(story)


def test_a_checkpoint_keeps_its_instant_as_a_reference_point(newer: SimulatedCluster) -> None:
    """Converting twice gives the same point; the checkpoint stays until it is released."""

    async def story() -> None:
        cut = await newer.host.take_checkpoint(A, run=RUN, at_rest=None)
        points = [
            await newer.host.convert_to_reference_point(A, checkpoint=cut.id, run=RUN)
            for _ in range(2)
        ]
        left = await newer.host.leftovers(X)
        assert left.reference_points == ((points[0], RUN),)
        assert points[0] == points[1]
        assert left.snapshots == ((cut.id, RUN),)
        for _ in range(2):
            await newer.host.drop_reference_point(X, points[0])
        assert (await newer.host.leftovers(X)).reference_points == ()

    newer.run(story)


def test_a_released_checkpoint_is_no_reference_point(newer: SimulatedCluster) -> None:
    """An instant that is gone cannot be kept."""

    async def story() -> None:
        cut = await newer.host.take_checkpoint(A, run=RUN, at_rest=None)
        await newer.host.release(cut.id)
        with pytest.raises(SnapshotLostError):
            await newer.host.convert_to_reference_point(A, checkpoint=cut.id, run=RUN)

    newer.run(story)


def test_a_checkpoint_at_rest_is_the_guests_instant(newer: SimulatedCluster) -> None:
    """It names the guest's snapshot, holds its image, and the guest's copy is not left behind."""

    async def story() -> None:
        guest = await newer.consistency.freeze(A, run=RUN)
        cut = await newer.host.take_checkpoint(A, run=RUN, at_rest=guest.id)
        await newer.consistency.thaw(A, run=RUN)
        assert (cut.guest_snapshot, cut.guest_clock) == (guest.id, guest.clock)
        truth, taken = newer.truth.guest_cuts[guest.id], newer.world.snapshots[cut.id]
        for disk in newer.world.machines[X].disks:
            assert len(taken.images[disk.id].differs(truth.images[disk.id])) == 0
            recovered = await newer.host.auto_recovered(cut.id, disk.id)
            assert recovered == recovered.clipped(disk.size)
        assert (await newer.host.leftovers(X)).guest_snapshots == ()

    newer.run(story)


def test_a_guest_that_went_on_is_not_cut_at_rest(newer: SimulatedCluster) -> None:
    """VSS lets go by itself after ten seconds; a later checkpoint may not claim its instant."""

    async def story() -> None:
        guest = await newer.consistency.freeze(A, run=RUN)
        await newer.runtime.sleep(Duration(11 * SECOND))
        with pytest.raises(OperationFailedError, match="too early"):
            await newer.host.take_checkpoint(A, run=RUN, at_rest=guest.id)

    newer.run(story)


def test_a_snapshot_is_taken_by_the_coordinator(older: SimulatedCluster) -> None:
    """A node that does not coordinate the volume cannot cut it."""
    disks = tuple(disk.id for disk in older.world.machines[X].disks)

    async def story() -> None:
        with pytest.raises(OperationFailedError, match="does not coordinate"):
            await older.host.take_snapshot(B, run=RUN, disks=disks)

    older.run(story)


def test_all_disks_of_a_snapshot_are_one_instant(older: SimulatedCluster) -> None:
    """The cut is the write order up to one stamp, on every disk."""
    found = older.world.machines[X]
    disks = tuple(disk.id for disk in found.disks)

    async def story() -> None:
        async def look() -> None:
            # Somebody who looks at the disks all the time makes every write show at once.
            for _ in range(200):
                await older.runtime.sleep(Duration(SECOND // 10))
                found.advance()

        async with older.runtime.task_group() as group:
            group.spawn(look(), name="look")
            cut = await older.host.take_snapshot(A, run=RUN, disks=disks)
        assert cut.disks == disks
        stamp = older.truth.host_cuts[cut.id].stamp
        for disk in found.disks:
            held = older.world.snapshots[cut.id].images[disk.id]
            assert len(held.differs(older.truth.initial[disk.id])) > 0
            assert len(held.differs(replay(older.truth, X, disk.id, stamp))) == 0

    older.run(story)


def test_a_node_that_is_down_does_not_answer(newer: SimulatedCluster) -> None:
    """The caller is told which one."""

    async def story() -> None:
        newer.world.crash_node(A)
        with pytest.raises(HostUnreachableError) as caught:
            await newer.host.take_checkpoint(A, run=RUN, at_rest=None)
        assert caught.value.node == A

    newer.run(story)


def test_a_node_that_dies_while_it_works_does_not_answer(newer: SimulatedCluster) -> None:
    """The call ends at once, and what it had not finished was not done."""

    async def story() -> None:
        async def crash() -> None:
            await newer.runtime.sleep(Duration(SECOND // 20))
            newer.world.crash_node(A)

        async with newer.runtime.task_group() as group:
            group.spawn(crash(), name="crash")
            with pytest.raises(HostUnreachableError):
                await newer.host.take_checkpoint(A, run=RUN, at_rest=None)
        assert (await newer.host.leftovers(X)).snapshots == ()

    newer.run(story)


@pytest.mark.parametrize(("kind", "done"), [(AnswerKind.FAIL, 0), (AnswerKind.LOSE, 1)])
def test_a_failed_call_was_done_or_not(
    newer: SimulatedCluster, kind: AnswerKind, done: int
) -> None:
    """A failure and a lost answer look alike; only looking again tells them apart."""
    newer.plan.disturb("x", "take_checkpoint", 1, Answer(kind=kind))

    async def story() -> None:
        with pytest.raises(OperationFailedError):
            await newer.host.take_checkpoint(A, run=RUN, at_rest=None)
        assert len((await newer.host.leftovers(X)).snapshots) == done
        await newer.host.take_checkpoint(A, run=RUN, at_rest=None)

    newer.run(story)


def test_a_saved_machine_stands_still_until_it_is_resumed(older: SimulatedCluster) -> None:
    """Its run finds it, two cuts of it are equal, and it goes on where there is room."""

    async def story() -> None:
        await older.host.save(A, run=RUN)
        assert (await older.host.leftovers(X)).saved_by == RUN
        assert await older.host.confirms(A, X)
        disks = tuple(disk.id for disk in older.world.machines[X].disks)
        cuts = [await older.host.take_snapshot(A, run=RUN, disks=disks) for _ in range(2)]
        first, second = (older.world.snapshots[cut.id] for cut in cuts)
        assert all(len(first.images[d].differs(second.images[d])) == 0 for d in disks)
        older.world.full.add(A)
        with pytest.raises(OperationFailedError, match="lacks memory"):
            await older.host.resume(A, run=RUN)
        assert await older.host.resume(B, run=RUN)
        assert not await older.host.resume(B, run=RUN)
        assert (await older.host.leftovers(X)).saved_by is None
        assert await older.host.confirms(B, X)

    older.run(story)


def test_a_machine_that_is_gone_does_not_go_on(older: SimulatedCluster) -> None:
    """Whoever has it resumed is told so: it stood still to its end."""

    async def story() -> None:
        await older.host.save(A, run=RUN)
        delete(older.world, older.world.machines[X])
        for node in (A, B):
            with pytest.raises(OperationFailedError, match="deleted"):
                await older.host.resume(node, run=RUN)

    older.run(story)


def test_nobody_saves_for_a_run_that_was_resumed(older: SimulatedCluster) -> None:
    """A request that comes late, after its run has given up, is refused."""

    async def story() -> None:
        assert not await older.host.resume(A, run=RUN)
        with pytest.raises(OperationFailedError):
            await older.host.save(A, run=RUN)
        assert older.world.machines[X].node == A

    older.run(story)


def test_a_host_says_what_it_exposes(older: SimulatedCluster) -> None:
    """A path shows the snapshot that was asked for, or the production disk, and says which."""

    async def story() -> None:
        disks = tuple(disk.id for disk in older.world.machines[X].disks)
        cut = await older.host.take_snapshot(A, run=RUN, disks=disks)
        assert (await older.host.expose(cut.id, disks[0])).shows == cut.id
        older.world.machines[X].mounts_astray = True
        assert (await older.host.expose(cut.id, disks[0])).shows is None

    older.run(story)
