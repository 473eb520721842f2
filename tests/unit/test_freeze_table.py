"""Once a guest was asked to freeze, it is told to thaw, whatever happens in between."""

from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from reference_engine.model.errors import (
    DeadlineExceededError,
    HostUnreachableError,
    NotOwnerError,
    OperationFailedError,
    TwinshotError,
)
from reference_engine.model.extents import EMPTY
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    GuestSnapshotId,
    MachineId,
    NodeName,
    RunTag,
)
from reference_engine.model.units import HOUR, MINUTE, SECOND, ByteCount, Duration, Instant
from reference_engine.ports.consistency import Consistency, GuestSnapshot, PreImages
from reference_engine.ports.runtime import Runtime
from reference_engine.reconcile.freeze import (
    DEFAULT_LIMITS,
    TABLE,
    FreezeDriver,
    FreezeEvent,
    FreezeState,
    moved,
)
from simulator.kernel.runtime import SimRuntime
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode

NODE = NodeName("hv1")
RUN = RunTag(machine=MachineId("x"), epoch=Epoch(1))
SNAPSHOT = GuestSnapshot(id=GuestSnapshotId("x-shadow-1"), run=RUN, clock=Instant(7))

Answer = Callable[[Runtime], Coroutine[Any, Any, None]]


class AnsweringGuest(Consistency):
    """A guest that answers a freeze as it is told to, and remembers when it was thawed."""

    def __init__(self, runtime: Runtime, answer: Answer) -> None:
        self._runtime, self._answer = runtime, answer
        self.asked = 0
        self.thaws: list[Instant] = []

    async def freeze(self, node: NodeName, /, *, run: RunTag) -> GuestSnapshot:
        """Answer, or not."""
        assert (node, run) == (NODE, RUN)
        self.asked += 1
        await self._answer(self._runtime)
        return SNAPSHOT

    async def thaw(self, node: NodeName, /, *, run: RunTag) -> bool:
        """Go on."""
        assert (node, run) == (NODE, RUN)
        self.thaws.append(self._runtime.now())
        return True

    async def pre_images(self, machine: MachineId, disk: DiskId, /, *, run: RunTag) -> PreImages:
        """Return nothing."""
        del machine, disk, run
        return PreImages(extents=EMPTY, content=b"", diff_area=EMPTY, piece=ByteCount(512))

    async def delete_snapshot(self, machine: MachineId, /, *, run: RunTag) -> None:
        """Change nothing."""


async def agrees(runtime: Runtime) -> None:
    """Freeze within a second."""
    await runtime.sleep(SECOND)


async def refuses(runtime: Runtime) -> None:
    """Say no after a second."""
    await runtime.sleep(SECOND)
    raise OperationFailedError("freeze", "a writer failed")


async def is_silent(runtime: Runtime) -> None:
    """Never answer."""
    await runtime.sleep(HOUR)


async def has_moved(runtime: Runtime) -> None:
    """Be somewhere else."""
    await runtime.sleep(SECOND)
    raise NotOwnerError(RUN.machine, NODE)


async def is_unreachable(runtime: Runtime) -> None:
    """Be on a node that went down."""
    await runtime.sleep(SECOND)
    raise HostUnreachableError(NODE)


def drive(
    answer: Answer,
    story: Callable[[Runtime, FreezeDriver, AnsweringGuest], Coroutine[Any, Any, None]],
) -> None:
    """Run a story of one driver and one guest in virtual time."""
    runtime = SimRuntime(Simulation(1), node=SimNode("engine"))
    guest = AnsweringGuest(runtime, answer)
    driver = FreezeDriver(runtime, guest, run=RUN, node=NODE, limits=DEFAULT_LIMITS)
    runtime.run(story(runtime, driver, guest))


def paths_to_done() -> list[tuple[FreezeEvent, ...]]:
    """Return every way from RUNNING to DONE that enters no state twice."""
    found: list[tuple[FreezeEvent, ...]] = []

    def walk(state: FreezeState, seen: set[FreezeState], way: tuple[FreezeEvent, ...]) -> None:
        if state is FreezeState.DONE:
            found.append(way)
            return
        for (source, event), target in TABLE.items():
            if source is state and target not in seen:
                walk(target, seen | {target}, (*way, event))

    walk(FreezeState.RUNNING, {FreezeState.RUNNING}, ())
    return found


def reachable(first: FreezeState, *, without: FreezeEvent | None = None) -> set[FreezeState]:
    """Return the states that can be reached from `first`, never taking the event `without`."""
    known = {first}
    while True:
        more = {
            target
            for (source, event), target in TABLE.items()
            if source in known and event is not without
        }
        if more <= known:
            return known
        known |= more


def test_every_state_is_reachable() -> None:
    """The table has no state that a guest can never be in."""
    assert reachable(FreezeState.RUNNING) == set(FreezeState)


def test_done_is_reachable_from_every_state() -> None:
    """There is no state in which a guest stays frozen for want of a way out."""
    for state in FreezeState:
        assert FreezeState.DONE in reachable(state), state


def test_no_way_to_done_goes_without_a_thaw() -> None:
    """Take the thaw out of the table and DONE cannot be reached: no order of events avoids it."""
    after_asking = reachable(FreezeState.ASKED, without=FreezeEvent.THAW)

    assert FreezeState.DONE not in after_asking
    ways = paths_to_done()
    assert ways
    assert all(way.index(FreezeEvent.THAW) > way.index(FreezeEvent.ASK) for way in ways)


def test_a_thaw_is_allowed_wherever_a_guest_may_be_frozen() -> None:
    """Whoever cleans up need not know how far the run came."""
    for state in set(FreezeState) - {FreezeState.RUNNING}:
        assert moved(state, FreezeEvent.THAW) is FreezeState.THAW_SENT


def test_an_event_that_cannot_happen_is_a_mistake() -> None:
    """A guest cannot confirm what it was not asked for."""
    with pytest.raises(AssertionError):
        moved(FreezeState.RUNNING, FreezeEvent.CONFIRMATION)


def test_a_guest_that_agrees_is_thawed_once() -> None:
    """The snapshot comes back, and one thaw ends the matter."""

    async def story(_: Runtime, driver: FreezeDriver, guest: AnsweringGuest) -> None:
        assert await driver.freeze() == (SNAPSHOT, "")
        assert driver.state is FreezeState.AT_REST
        await driver.thaw()
        await driver.outlast_late_answer()
        assert len(guest.thaws) == 1
        assert driver.state is FreezeState.DONE

    drive(agrees, story)


def test_a_guest_that_was_not_asked_is_left_alone() -> None:
    """Cleaning up after a run that never came to the freeze touches nothing."""

    async def story(_: Runtime, driver: FreezeDriver, guest: AnsweringGuest) -> None:
        await driver.thaw()
        await driver.outlast_late_answer()
        assert guest.thaws == []
        assert driver.state is FreezeState.RUNNING

    drive(agrees, story)


@pytest.mark.parametrize(
    ("answer", "cause"), [(refuses, "a writer failed"), (is_silent, "no answer within 20 s")]
)
def test_a_guest_that_did_not_freeze_is_thawed_again_and_again(answer: Answer, cause: str) -> None:
    """A refusal may be a lost answer, a silence a late one: thaw for as long as either may act."""

    async def story(runtime: Runtime, driver: FreezeDriver, guest: AnsweringGuest) -> None:
        began = runtime.now()
        snapshot, why = await driver.freeze()
        assert snapshot is None
        assert cause in why
        assert runtime.now() - began <= DEFAULT_LIMITS.freeze
        assert driver.state is FreezeState.UNKNOWN
        await driver.thaw()
        first = runtime.now()
        await driver.outlast_late_answer()
        assert guest.thaws[-1] - first >= DEFAULT_LIMITS.late_answer
        gaps = [b - a for a, b in pairwise(guest.thaws)]
        assert gaps
        assert max(gaps) <= DEFAULT_LIMITS.thaw_again
        assert driver.state is FreezeState.DONE

    drive(answer, story)


@pytest.mark.parametrize(
    ("answer", "error"), [(has_moved, NotOwnerError), (is_unreachable, HostUnreachableError)]
)
def test_a_lost_machine_is_an_error_and_still_thawed(
    answer: Answer, error: type[TwinshotError]
) -> None:
    """The run starts over, but first whatever the call has done is undone."""

    async def story(_: Runtime, driver: FreezeDriver, guest: AnsweringGuest) -> None:
        with pytest.raises(error):
            await driver.freeze()
        assert driver.state is FreezeState.UNKNOWN
        await driver.thaw()
        assert len(guest.thaws) == 1
        assert driver.state is FreezeState.DONE

    drive(answer, story)


def test_a_run_that_is_cancelled_while_it_waits_can_thaw() -> None:
    """A deadline outside the driver leaves it in a state from which a thaw is possible."""

    async def story(runtime: Runtime, driver: FreezeDriver, guest: AnsweringGuest) -> None:
        with pytest.raises(DeadlineExceededError) as caught:
            async with runtime.deadline(Duration(3 * SECOND)):
                await driver.freeze()
        assert caught.value.limit == 3 * SECOND
        assert driver.state is FreezeState.ASKED
        await driver.thaw()
        assert len(guest.thaws) == 1
        assert driver.state is FreezeState.DONE

    drive(is_silent, story)


class DeafGuest(Consistency):
    """A guest that freezes at once, and hears a thaw only after so many were sent."""

    def __init__(self, runtime: Runtime, *, deaf_for: int, answer: Answer) -> None:
        self._guest = AnsweringGuest(runtime, agrees)
        self._runtime, self._deaf_for, self._answer = runtime, deaf_for, answer
        self.sent = 0

    async def freeze(self, node: NodeName, /, *, run: RunTag) -> GuestSnapshot:
        """Freeze."""
        return await self._guest.freeze(node, run=run)

    async def thaw(self, node: NodeName, /, *, run: RunTag) -> None:
        """Go on, once it is heard."""
        self.sent += 1
        if self.sent <= self._deaf_for:
            await self._answer(self._runtime)
        await self._guest.thaw(node, run=run)

    async def pre_images(self, machine: MachineId, disk: DiskId, /, *, run: RunTag) -> PreImages:
        """Return nothing."""
        return await self._guest.pre_images(machine, disk, run=run)

    async def delete_snapshot(self, machine: MachineId, /, *, run: RunTag) -> None:
        """Change nothing."""


@pytest.mark.parametrize("answer", [refuses, is_silent, is_unreachable, has_moved])
def test_a_thaw_is_not_done_before_it_is_confirmed(answer: Answer) -> None:
    """As long as nothing confirms it, the guest may be frozen; trying again is always allowed."""
    runtime = SimRuntime(Simulation(1), node=SimNode("engine"))
    guest = DeafGuest(runtime, deaf_for=12, answer=answer)
    driver = FreezeDriver(runtime, guest, run=RUN, node=NODE, limits=DEFAULT_LIMITS)

    async def story() -> None:
        await driver.freeze()
        while guest.sent < 12:
            with pytest.raises(TwinshotError):
                async with runtime.deadline(MINUTE):
                    await driver.thaw()
            assert driver.state is FreezeState.THAW_SENT
        async with runtime.deadline(MINUTE):
            await driver.thaw()
        assert driver.state is FreezeState.DONE
        await driver.thaw()
        assert driver.state is FreezeState.DONE

    runtime.run(story())


def test_a_guest_is_asked_once() -> None:
    """A driver belongs to one run, and a run freezes once."""

    async def story(_: Runtime, driver: FreezeDriver, guest: AnsweringGuest) -> None:
        await driver.freeze()
        with pytest.raises(AssertionError):
            await driver.freeze()
        assert guest.asked == 1

    drive(agrees, story)
