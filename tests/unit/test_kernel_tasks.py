"""Tasks in virtual time: power cuts, who may stop whom, and how a run ends."""

import pytest

from reference_engine.model.errors import DeadlineExceededError, OperationFailedError
from reference_engine.model.units import HOUR, MINUTE, SECOND, Duration, Instant
from simulator.kernel.runtime import SimRuntime
from simulator.kernel.simulation import Simulation, StalledError
from simulator.kernel.task import SimNode, SimTask, TaskCancelledError


async def sleeper(sim: Simulation, seen: list[str], name: str) -> None:
    """Sleep for an hour and clean up without waiting."""
    try:
        await sim.sleep(HOUR)
        seen.append(f"{name} slept")
    finally:
        seen.append(f"{name} cleaned up")


async def failing(sim: Simulation, after: Duration) -> None:
    """Fail after a while."""
    await sim.sleep(after)
    raise OperationFailedError("work", "planned")


def test_a_run_returns_what_its_main_task_returns() -> None:
    """Virtual time passes by sleeping, to the microsecond, and costs none of ours."""
    sim = Simulation(1)

    async def main() -> Instant:
        await sim.sleep(Duration(1000 * HOUR + 7))
        return sim.now()

    assert sim.run(main()) == 1000 * HOUR + 7


def test_a_power_cut_leaves_tasks_where_they_stand() -> None:
    """A dead node cleans nothing up; its `finally` blocks run when the simulation is closed."""
    sim, node, seen = Simulation(1), SimNode("hv1"), list[str]()

    async def main() -> list[SimTask]:
        for name in ("one", "two"):
            sim.spawn(sleeper(sim, seen, name), name=name, node=node)
        await sim.sleep(SECOND)
        lost = node.power_off()
        await sim.sleep(Duration(2 * HOUR))
        return lost

    lost = sim.run(main())

    assert [task.name for task in lost] == ["one", "two"]
    assert all(task.done for task in lost)
    assert seen == []
    sim.close()
    assert sorted(seen) == ["one cleaned up", "two cleaned up"]


def test_a_power_cut_spares_other_nodes() -> None:
    """Only the tasks of the node that lost its power stop."""
    sim, node, seen = Simulation(1), SimNode("hv1"), list[str]()

    async def main() -> None:
        sim.spawn(sleeper(sim, seen, "here"), name="here", node=node)
        sim.spawn(sleeper(sim, seen, "there"), name="there", node=SimNode("hv2"))
        node.power_off()
        await sim.sleep(Duration(2 * HOUR))

    sim.run(main())
    sim.close()

    assert seen == ["there slept", "there cleaned up"]


def test_a_task_that_cuts_its_own_power_goes_no_further() -> None:
    """It runs to its next await, which never returns, and what it ran last is not undone."""
    sim, node, seen = Simulation(1), SimNode("hv1"), list[str]()

    async def suicidal() -> None:
        try:
            await sim.sleep(SECOND)
            node.power_off()
            seen.append("power cut")
            await sim.sleep(SECOND)
            seen.append("never")
        finally:
            seen.append("closed")

    async def main() -> None:
        sim.spawn(suicidal(), name="suicidal", node=node)
        await sim.sleep(MINUTE)

    sim.run(main())

    assert seen == ["power cut"]
    sim.close()
    assert seen == ["power cut", "closed"]


def test_a_node_with_power_again_runs_new_tasks() -> None:
    """What ran before the cut stays lost; what is started afterwards runs."""
    sim, node, seen = Simulation(1), SimNode("hv1"), list[str]()

    async def main() -> None:
        sim.spawn(sleeper(sim, seen, "before"), name="before", node=node)
        node.power_off()
        assert not node.running
        node.power_on()
        assert node.running
        sim.spawn(sleeper(sim, seen, "after"), name="after", node=node)
        await sim.sleep(Duration(2 * HOUR))

    sim.run(main())
    sim.close()

    assert seen == ["after slept", "after cleaned up"]


def test_a_closed_simulation_answers_clean_up_by_cancelling() -> None:
    """Clean-up that waits is cut short when the world is shut; nothing hangs, nothing complains."""
    sim, node, seen = Simulation(1), SimNode("engine"), list[str]()
    runtime = SimRuntime(sim, node=node)

    async def polite() -> None:
        try:
            await runtime.sleep(HOUR)
        finally:
            seen.append("began")
            await runtime.sleep(SECOND)
            seen.append("never")

    async def main() -> None:
        sim.spawn(polite(), name="polite", node=node)
        await sim.sleep(SECOND)
        node.power_off()

    sim.run(main())
    sim.close()

    assert seen == ["began"]


def test_a_task_gives_its_result_to_everybody_who_awaits_it() -> None:
    """Before it is done and afterwards, once and again."""
    sim = Simulation(1)

    async def work() -> int:
        await sim.sleep(SECOND)
        return 42

    async def main() -> tuple[int, int]:
        task = sim.spawn(work(), name="work")
        return await task, await task

    assert sim.run(main()) == (42, 42)


def test_an_error_belongs_to_whoever_awaits_the_task() -> None:
    """A joined task's error is raised where it is awaited, and nowhere else."""
    sim = Simulation(1)

    async def main() -> str:
        task = sim.spawn(failing(sim, SECOND), name="failing")
        with pytest.raises(OperationFailedError) as caught:
            await task
        await sim.sleep(HOUR)
        return str(caught.value)

    assert sim.run(main()) == "work failed: planned"


def test_an_error_that_nobody_awaits_ends_the_run() -> None:
    """No task fails unnoticed."""
    sim = Simulation(1)

    async def main() -> None:
        sim.spawn(failing(sim, SECOND), name="failing")
        await sim.sleep(HOUR)

    with pytest.raises(OperationFailedError, match="planned"):
        sim.run(main())
    assert sim.now() == SECOND
    sim.close()


def test_a_cancellation_names_its_scope() -> None:
    """The task is told who cancelled it, where it waits, and in the instant of the cancellation."""
    sim, scope = Simulation(1), object()

    async def work() -> tuple[object, Instant]:
        try:
            await sim.sleep(HOUR)
        except TaskCancelledError as cancelled:
            return cancelled.scope, sim.now()
        raise AssertionError

    async def main() -> tuple[object, Instant]:
        task = sim.spawn(work(), name="work")
        await sim.sleep(SECOND)
        task.cancel(scope)
        result: tuple[object, Instant] = await task
        return result

    assert sim.run(main()) == (scope, SECOND)


def test_two_scopes_cancel_twice() -> None:
    """Who catches one cancellation still meets the other at its next await."""
    sim, first, second = Simulation(1), object(), object()

    async def work() -> list[object]:
        met: list[object] = []
        for _ in range(2):
            try:
                await sim.sleep(HOUR)
            except TaskCancelledError as cancelled:
                met.append(cancelled.scope)
        await sim.sleep(SECOND)
        return met

    async def main() -> list[object]:
        task = sim.spawn(work(), name="work")
        await sim.sleep(SECOND)
        task.cancel(first)
        task.cancel(second)
        result: list[object] = await task
        return result

    assert sim.run(main()) == [first, second]


def test_a_cancellation_can_be_taken_back_before_it_is_thrown() -> None:
    """A task that cancels itself and takes it back before it waits goes on undisturbed."""
    sim, scope = Simulation(1), object()

    async def main() -> Instant:
        task = sim.current
        assert task is not None
        task.cancel(scope)
        task.uncancel(scope)
        await sim.sleep(SECOND)
        return sim.now()

    assert sim.run(main()) == SECOND


def test_a_cancelled_task_is_no_failure() -> None:
    """Cancelling what nobody awaits does not end the run; cancelling what is done is nothing."""
    sim, seen = Simulation(1), list[str]()

    async def main() -> None:
        task = sim.spawn(sleeper(sim, seen, "task"), name="task")
        await sim.sleep(SECOND)
        task.cancel(sim)
        await sim.sleep(SECOND)
        assert task.done
        task.cancel(sim)
        await sim.sleep(SECOND)

    sim.run(main())

    assert seen == ["task cleaned up"]


def test_a_deadline_takes_only_its_own_cancellation() -> None:
    """A cancellation from outside passes a deadline that fires in the same instant."""
    sim, scope, seen = Simulation(1), object(), list[str]()
    runtime = SimRuntime(sim, node=SimNode("engine"))

    async def work() -> None:
        with pytest.raises(TaskCancelledError) as caught:
            async with runtime.deadline(HOUR):
                await runtime.sleep(Duration(2 * HOUR))
        assert caught.value.scope is scope
        seen.append("cancelled from outside")

    async def main() -> None:
        task = sim.spawn(work(), name="work")
        await sim.sleep(SECOND)
        task.cancel(scope)
        await sim.sleep(Duration(2 * HOUR))
        assert task.done

    sim.run(main())

    assert seen == ["cancelled from outside"]


@pytest.mark.parametrize("seed", range(8))
def test_two_deadlines_of_one_instant_end_one_block_once(seed: int) -> None:
    """Whichever of two equal deadlines fires first, an error comes out, and nothing hangs over."""
    sim = Simulation(seed)
    runtime = SimRuntime(sim, node=SimNode("engine"))

    async def main() -> Instant:
        with pytest.raises(DeadlineExceededError):
            async with runtime.deadline(SECOND), runtime.deadline(SECOND):
                await runtime.sleep(HOUR)
        await runtime.sleep(HOUR)
        return sim.now()

    assert sim.run(main()) == SECOND + HOUR


def test_a_run_that_waits_for_ever_is_told() -> None:
    """When nothing is left to happen, the waiting tasks are named."""
    sim = Simulation(1)

    async def waiting() -> None:
        await sim.spawn(never(), name="the culprit")

    async def never() -> None:
        gate = SimRuntime(sim, node=SimNode("engine")).semaphore(1)
        async with gate, gate:
            raise AssertionError

    with pytest.raises(StalledError, match="the culprit"):
        sim.run(waiting())
    sim.close()


def test_a_run_ends_at_its_limit() -> None:
    """Nothing that is due later happens."""
    sim, seen = Simulation(1), list[Instant]()

    async def main() -> None:
        while True:
            await sim.sleep(MINUTE)
            seen.append(sim.now())

    with pytest.raises(StalledError):
        sim.run(main(), limit=Instant(HOUR))
    sim.close()

    assert seen[-1] == HOUR
    assert len(seen) == 60


def test_the_cleaning_up_of_a_group_is_waited_for() -> None:
    """A group that is cancelled from outside lets its tasks finish their `finally` first."""
    sim, seen = Simulation(1), list[str]()
    runtime = SimRuntime(sim, node=SimNode("engine"))

    async def tidy() -> None:
        try:
            await runtime.sleep(HOUR)
        finally:
            await runtime.sleep(SECOND)
            seen.append("task tidied up")

    async def work() -> None:
        try:
            async with runtime.task_group() as group:
                group.spawn(tidy(), name="tidy")
        finally:
            seen.append("group left")

    async def main() -> None:
        task = sim.spawn(work(), name="work")
        await sim.sleep(SECOND)
        task.cancel(sim)
        await sim.sleep(MINUTE)

    sim.run(main())

    assert seen == ["task tidied up", "group left"]


def test_a_deadline_and_what_it_bounds_race_by_seed() -> None:
    """Where both are due in one instant, a draw says which comes first, and a seed repeats it."""

    def in_time(seed: int) -> bool:
        sim = Simulation(seed)
        runtime = SimRuntime(sim, node=SimNode("engine"))

        async def main() -> bool:
            try:
                async with runtime.deadline(SECOND):
                    await runtime.sleep(SECOND)
            except DeadlineExceededError:
                return False
            return True

        return bool(sim.run(main()))

    outcomes = [in_time(seed) for seed in range(32)]

    assert {*outcomes} == {True, False}
    assert outcomes == [in_time(seed) for seed in range(32)]


def test_only_deadlines_that_may_still_be_missed_are_pending() -> None:
    """One that is kept is of no concern from then on, though its time has not come."""
    sim = Simulation(1)
    runtime = SimRuntime(sim, node=SimNode("engine"))

    async def main() -> list[int]:
        async with runtime.deadline(MINUTE):
            pass
        async with runtime.deadline(HOUR):
            return [at for at, _ in sim.pending()]

    assert sim.run(main()) == [HOUR]
