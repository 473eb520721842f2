"""What every runtime promises. Add one to `RUNTIMES` and it is held to the same words."""

# ruff: noqa: PT012 - what a group or a deadline raises, it raises when its block is left

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.model.errors import DeadlineExceededError, OperationFailedError
from reference_engine.model.units import MILLISECOND, MINUTE, Duration
from reference_engine.ports.runtime import Runtime
from simulator.kernel.runtime import SimRuntime
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode

SHORT = Duration(40 * MILLISECOND)


class RunnableRuntime(Runtime):
    """A runtime that can be given something to run."""

    def run(self, work: Coroutine[Any, Any, Any], /) -> Any:
        """Return what `work` returns."""


def on_asyncio() -> Any:
    """Return the real world's runtime."""
    return AsyncioRuntime(seed=1)


def in_virtual_time() -> Any:
    """Return the simulator's runtime."""
    return SimRuntime(Simulation(1), node=SimNode("engine"))


RUNTIMES: tuple[Callable[[], Any], ...] = (on_asyncio, in_virtual_time)


@pytest.fixture(params=RUNTIMES, ids=lambda make: make.__name__)
def make_runtime(request: pytest.FixtureRequest) -> Callable[[], RunnableRuntime]:
    """Return how a runtime of each kind in turn is made, always with the same seed."""
    make: Callable[[], RunnableRuntime] = request.param
    return make


@pytest.fixture
def runtime(make_runtime: Callable[[], RunnableRuntime]) -> RunnableRuntime:
    """Return a runtime of each kind in turn."""
    return make_runtime()


def run(runtime: RunnableRuntime, scenario: Callable[[Runtime], Coroutine[Any, Any, None]]) -> None:
    """Run one scenario to its end."""
    runtime.run(scenario(runtime))


async def forever(runtime: Runtime, seen: list[str], name: str) -> None:
    """Sleep until cancelled, and clean up with an await of its own."""
    try:
        await runtime.sleep(MINUTE)
        seen.append(f"{name} slept")
    finally:
        await runtime.sleep(Duration(0))
        seen.append(f"{name} cleaned up")


async def failing(runtime: Runtime, after: Duration, name: str) -> None:
    """Fail after a while."""
    await runtime.sleep(after)
    raise OperationFailedError(name, "planned")


def test_time_passes_by_sleeping(runtime: RunnableRuntime) -> None:
    """A sleeper wakes no earlier than it asked for."""

    async def scenario(runtime: Runtime) -> None:
        before = runtime.now()
        await runtime.sleep(SHORT)
        assert runtime.now() - before >= SHORT

    run(runtime, scenario)


def test_sleepers_wake_in_the_order_of_their_instants(runtime: RunnableRuntime) -> None:
    """Who sleeps less wakes first, whoever was started first."""

    async def scenario(runtime: Runtime) -> None:
        woken: list[int] = []

        async def sleeper(factor: int) -> None:
            await runtime.sleep(Duration(factor * 4 * SHORT))
            woken.append(factor)

        async with runtime.task_group() as group:
            for factor in (3, 1, 2):
                group.spawn(sleeper(factor), name=f"sleeper {factor}")
        assert woken == [1, 2, 3]

    run(runtime, scenario)


def test_a_block_within_its_deadline_is_not_disturbed(runtime: RunnableRuntime) -> None:
    """A deadline that is kept leaves no trace."""

    async def scenario(runtime: Runtime) -> None:
        async with runtime.deadline(MINUTE):
            await runtime.sleep(SHORT)
        await runtime.sleep(SHORT)

    run(runtime, scenario)


def test_a_missed_deadline_is_an_error_with_its_limit(runtime: RunnableRuntime) -> None:
    """The block is cancelled, cleans up with awaits, and the deadline says what it was."""

    async def scenario(runtime: Runtime) -> None:
        seen: list[str] = []
        with pytest.raises(DeadlineExceededError) as caught:
            async with runtime.deadline(SHORT):
                await forever(runtime, seen, "block")
        assert caught.value.limit == SHORT
        assert seen == ["block cleaned up"]

    run(runtime, scenario)


def test_the_inner_deadline_fires_inside_the_outer(runtime: RunnableRuntime) -> None:
    """The shorter inner deadline is caught inside, and the outer block goes on."""

    async def scenario(runtime: Runtime) -> None:
        async with runtime.deadline(MINUTE):
            with pytest.raises(DeadlineExceededError) as caught:
                async with runtime.deadline(SHORT):
                    await runtime.sleep(MINUTE)
            assert caught.value.limit == SHORT
            await runtime.sleep(SHORT)

    run(runtime, scenario)


def test_the_outer_deadline_passes_through_the_inner(runtime: RunnableRuntime) -> None:
    """A block inside two deadlines is ended by the one that fires, and that one is named."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(DeadlineExceededError) as caught:
            async with runtime.deadline(SHORT), runtime.deadline(MINUTE):
                await runtime.sleep(MINUTE)
        assert caught.value.limit == SHORT

    run(runtime, scenario)


def test_an_error_inside_a_deadline_stays_what_it_is(runtime: RunnableRuntime) -> None:
    """A deadline renames nothing but its own expiry; not even a time-out from elsewhere."""

    async def scenario(runtime: Runtime) -> None:
        with pytest.raises(TimeoutError):
            async with runtime.deadline(MINUTE):
                raise TimeoutError

    run(runtime, scenario)


def test_a_group_waits_for_its_tasks(runtime: RunnableRuntime) -> None:
    """Behind the block every task has ended."""

    async def scenario(runtime: Runtime) -> None:
        done: list[int] = []

        async def work(number: int) -> None:
            await runtime.sleep(SHORT)
            done.append(number)

        async with runtime.task_group() as group:
            for number in range(3):
                group.spawn(work(number), name=f"work {number}")
            assert done == []
        assert sorted(done) == [0, 1, 2]

    run(runtime, scenario)


def test_the_first_error_ends_the_group_and_is_raised_itself(runtime: RunnableRuntime) -> None:
    """Not a group of errors comes out, but the first one; the other tasks have cleaned up."""

    async def scenario(runtime: Runtime) -> None:
        seen: list[str] = []
        with pytest.raises(OperationFailedError, match="early"):
            async with runtime.task_group() as group:
                group.spawn(failing(runtime, Duration(10 * SHORT), "late"), name="late")
                group.spawn(failing(runtime, SHORT, "early"), name="early")
                group.spawn(forever(runtime, seen, "bystander"), name="bystander")
        assert seen == ["bystander cleaned up"]

    run(runtime, scenario)


def test_an_error_during_the_clean_up_does_not_displace_the_first(runtime: RunnableRuntime) -> None:
    """What goes wrong while tasks are cancelled is a consequence, and not what is raised."""

    async def scenario(runtime: Runtime) -> None:
        async def clumsy() -> None:
            try:
                await runtime.sleep(MINUTE)
            finally:
                raise OperationFailedError("cleaning up", "planned")

        with pytest.raises(OperationFailedError, match="early"):
            async with runtime.task_group() as group:
                group.spawn(clumsy(), name="clumsy")
                group.spawn(failing(runtime, SHORT, "early"), name="early")

    run(runtime, scenario)


def test_an_error_of_the_block_ends_its_tasks(runtime: RunnableRuntime) -> None:
    """The body of a group counts like a task of it."""

    async def scenario(runtime: Runtime) -> None:
        seen: list[str] = []
        with pytest.raises(OperationFailedError, match="body"):
            async with runtime.task_group() as group:
                group.spawn(forever(runtime, seen, "task"), name="task")
                await failing(runtime, SHORT, "body")
        assert seen == ["task cleaned up"]

    run(runtime, scenario)


def test_a_failing_task_ends_the_waiting_block(runtime: RunnableRuntime) -> None:
    """The body is cancelled where it waits, and its own clean-up runs."""

    async def scenario(runtime: Runtime) -> None:
        seen: list[str] = []
        with pytest.raises(OperationFailedError, match="task"):
            async with runtime.task_group() as group:
                group.spawn(failing(runtime, SHORT, "task"), name="task")
                await forever(runtime, seen, "body")
        assert seen == ["body cleaned up"]

    run(runtime, scenario)


def test_a_deadline_around_a_group_cancels_and_awaits_its_tasks(runtime: RunnableRuntime) -> None:
    """No task outlives its group, even when a deadline outside fires while it is being left."""

    async def scenario(runtime: Runtime) -> None:
        seen: list[str] = []
        with pytest.raises(DeadlineExceededError):
            async with runtime.deadline(SHORT), runtime.task_group() as group:
                for name in ("one", "two"):
                    group.spawn(forever(runtime, seen, name), name=name)
        assert sorted(seen) == ["one cleaned up", "two cleaned up"]

    run(runtime, scenario)


def test_a_deadline_inside_a_task_is_the_tasks_error(runtime: RunnableRuntime) -> None:
    """A deadline missed in a task comes out of the group as that error."""

    async def scenario(runtime: Runtime) -> None:
        async def limited() -> None:
            async with runtime.deadline(SHORT):
                await runtime.sleep(MINUTE)

        with pytest.raises(DeadlineExceededError):
            async with runtime.task_group() as group:
                group.spawn(limited(), name="limited")

    run(runtime, scenario)


def test_groups_nest(runtime: RunnableRuntime) -> None:
    """An error in the inner group ends both, and is still itself."""

    async def scenario(runtime: Runtime) -> None:
        seen: list[str] = []
        with pytest.raises(OperationFailedError, match="inner"):
            async with runtime.task_group() as outer:
                outer.spawn(forever(runtime, seen, "outer"), name="outer")
                async with runtime.task_group() as inner:
                    inner.spawn(failing(runtime, SHORT, "inner"), name="inner")
        assert seen == ["outer cleaned up"]

    run(runtime, scenario)


def test_a_semaphore_admits_so_many_in_the_order_of_their_coming(runtime: RunnableRuntime) -> None:
    """Never more than `permits` hold it, and nobody is overtaken."""

    async def scenario(runtime: Runtime) -> None:
        order: list[int] = []
        holding = 0
        gate = runtime.semaphore(2)

        async def work(number: int) -> None:
            nonlocal holding
            # Staggered arrivals make the order one that every runtime must keep.
            await runtime.sleep(Duration(number * SHORT))
            async with gate:
                holding += 1
                order.append(number)
                assert holding <= 2
                await runtime.sleep(Duration(20 * SHORT))
                holding -= 1

        async with runtime.task_group() as group:
            for number in range(6):
                group.spawn(work(number), name=f"work {number}")
        assert order == [0, 1, 2, 3, 4, 5]

    run(runtime, scenario)


def test_a_permit_is_not_lost_with_a_cancelled_waiter(runtime: RunnableRuntime) -> None:
    """Who gives up waiting, even at the instant of being admitted, passes the permit on."""

    async def scenario(runtime: Runtime) -> None:
        gate = runtime.semaphore(1)
        admitted: list[str] = []

        async def holder() -> None:
            async with gate:
                await runtime.sleep(Duration(4 * SHORT))

        async def impatient() -> None:
            await runtime.sleep(SHORT)
            with pytest.raises(DeadlineExceededError):
                async with runtime.deadline(SHORT), gate:
                    admitted.append("impatient")

        async def patient() -> None:
            await runtime.sleep(Duration(2 * SHORT))
            async with gate:
                admitted.append("patient")

        async with runtime.deadline(MINUTE), runtime.task_group() as group:
            for work in (holder(), impatient(), patient()):
                group.spawn(work, name="contender")
        assert admitted == ["patient"]

    run(runtime, scenario)


def test_a_holder_that_fails_gives_its_permit_back(runtime: RunnableRuntime) -> None:
    """An error inside the block releases the semaphore."""

    async def scenario(runtime: Runtime) -> None:
        gate = runtime.semaphore(1)
        with pytest.raises(OperationFailedError):
            async with gate:
                await failing(runtime, SHORT, "holder")
        async with runtime.deadline(MINUTE), gate:
            pass

    run(runtime, scenario)


def test_streams_repeat_by_seed_and_name(make_runtime: Callable[[], RunnableRuntime]) -> None:
    """With a seed a draw depends on the name and on how many came before, and on nothing else."""
    one, other = make_runtime(), make_runtime()
    first, second = one.random("a"), one.random("b")
    alone = [first.below(1 << 60) for _ in range(5)]

    mine, theirs = other.random("a"), other.random("b")
    mixed = [(mine.below(1 << 60), theirs.token())[0] for _ in range(5)]

    assert mixed == alone
    assert [second.below(1 << 60) for _ in range(5)] != alone


def test_draws_lie_within_their_limit(runtime: RunnableRuntime) -> None:
    """Every number below the limit occurs, no other does, and tokens are 32 digits."""
    stream = runtime.random("dice")

    assert {stream.below(6) for _ in range(200)} == set(range(6))
    assert stream.below(1) == 0
    token = stream.token()
    assert len(token) == 32
    assert int(token, 16) >= 0


def test_offloaded_work_answers_or_fails_as_if_called(runtime: RunnableRuntime) -> None:
    """What the work returns or raises comes back to the caller."""

    async def scenario(runtime: Runtime) -> None:
        assert await runtime.offload(lambda: 6 * 7) == 42
        with pytest.raises(ZeroDivisionError):
            await runtime.offload(lambda: 1 // 0)

    run(runtime, scenario)


def test_work_offloaded_together_answers_in_order(runtime: RunnableRuntime) -> None:
    """Results come in the order of the works, and the first error is raised."""

    async def scenario(runtime: Runtime) -> None:
        assert await runtime.offload_all([lambda n=n: n * n for n in range(20)]) == [
            n * n for n in range(20)
        ]
        with pytest.raises(ZeroDivisionError):
            await runtime.offload_all([lambda: 1, lambda: 1 // 0])

    run(runtime, scenario)


def test_questions_are_answered_in_their_order(runtime: RunnableRuntime) -> None:
    """However long each answer takes; an error is raised when all that were begun have ended."""

    async def scenario(runtime: Runtime) -> None:
        ended: list[int] = []

        async def answer(number: int) -> int:
            await runtime.sleep(Duration((5 - number) * MILLISECOND))
            ended.append(number)
            if number == 1:
                raise OperationFailedError("answering", str(number))
            return number

        asked = [lambda number=number: answer(number) for number in (0, 2, 3, 4)]
        assert await runtime.ask_all(asked) == [0, 2, 3, 4]
        ended.clear()
        with pytest.raises(OperationFailedError, match="1"):
            await runtime.ask_all([lambda: answer(0), lambda: answer(1)])
        assert sorted(ended) == [0, 1]

    run(runtime, scenario)
