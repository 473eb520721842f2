"""Chance in virtual time is drawn from the seed: who goes first, and whatever has a name."""

from collections.abc import Coroutine
from typing import Any

from reference_engine.model.units import MINUTE, SECOND, Duration, Instant
from simulator.kernel.runtime import SimRuntime
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode


def order_of_a_tie(seed: int) -> tuple[int, ...]:
    """Return in which order ten sleepers wake that are all due in the same instant."""
    sim, woken = Simulation(seed), list[int]()

    async def work(number: int) -> None:
        await sim.sleep(SECOND)
        woken.append(number)

    async def main() -> None:
        for number in range(10):
            sim.spawn(work(number), name=f"work {number}")
        await sim.sleep(MINUTE)

    sim.run(main())
    return tuple(woken)


def test_ties_are_drawn_from_the_seed() -> None:
    """Who goes first in one instant is chance, and the same chance for the same seed."""
    orders = [order_of_a_tie(seed) for seed in range(5)]

    assert len(set(orders)) == 5
    assert orders == [order_of_a_tie(seed) for seed in range(5)]
    assert all(sorted(order) == list(range(10)) for order in orders)


def test_streams_do_not_disturb_each_other() -> None:
    """A draw depends on the seed, the stream's name and its number, not on other streams."""
    sim = Simulation(7)
    alone = [sim.stream("latency", 1).bits() for _ in range(3)]
    stream, other = sim.stream("latency", 1), sim.stream("latency", "1")

    mixed = [(stream.bits(), other.bits())[0] for _ in range(3)]

    assert mixed[0] == alone[0] == alone[1]
    assert len(set(mixed)) == 3
    assert sim.stream("latency", "1").bits() != alone[0]
    assert Simulation(8).stream("latency", 1).bits() != alone[0]


def test_a_new_incarnation_draws_new_chance() -> None:
    """An engine that comes back after a crash gives nothing the same identity again."""
    sim, node = Simulation(7), SimNode("engine")

    tokens = [
        SimRuntime(sim, node=node, incarnation=number).random("run").token() for number in range(3)
    ]

    assert len(set(tokens)) == 3
    assert tokens[0] == SimRuntime(Simulation(7), node=node).random("run").token()


def run_of(sim: Simulation, main: Coroutine[Any, Any, Any]) -> tuple[Instant, int]:
    """Return when a run ended and how many events it took."""
    sim.run(main)
    return sim.now(), sim.steps


def test_the_same_seed_takes_the_same_steps() -> None:
    """A run is a function of its seed, down to the number of its events."""

    def once(seed: int) -> tuple[Instant, int]:
        sim = Simulation(seed)
        chance = sim.stream("naps")

        async def main() -> None:
            for _ in range(chance.between(1, 50)):
                await sim.sleep(Duration(chance.between(0, SECOND)))

        return run_of(sim, main())

    assert once(3) == once(3)
    assert once(3) != once(4)
