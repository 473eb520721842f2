"""Every schedule with one preemption: one process stops after i calls, another runs to its end.

Random runs meet a window of one call seldom; here each is met, for each pair of processes that
could disturb each other. After the second process has ended, the power is cut at once, or after
the first one has gone on for a while.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from reference_engine.model.errors import CorruptionError, TwinshotError
from simulator.campaign.proving.judgement import judge
from simulator.campaign.proving.ledger import Violation
from simulator.campaign.proving.pair_world import BLOCK_SIZE, PAUSE_S, World
from simulator.campaign.proving.pairs import Pair
from simulator.kernel.stepping import SteppedTask
from simulator.kernel.streams import Stream
from simulator.world.file_system import Durability

_RESUMED: Final = (0, 0, 0, 1, 2, 3, 5, 8, 13, 21, 34, 1 << 30)
"""After how many more calls of the first process the power is cut, and looked at what is left."""

_LONGEST: Final = 10_000
"""Calls of one process; more than any of them makes."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of processes, and where the first one is stopped."""

    pair: str
    durability: str
    stopped_after: int


class ScheduleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of all power cuts of one schedule."""

    schedule: Schedule
    cuts: int
    ended: bool
    """Whether the first process came to its end before it was stopped: the last of its pair."""

    violations: tuple[Violation, ...]


def every_schedule(pair: Pair, durability: Durability, /) -> Iterator[ScheduleResult]:
    """Yield what comes of stopping the first process after each of its calls."""
    for stopped_after in range(_LONGEST):
        result = try_schedule(pair, durability, stopped_after)
        yield result
        if result.ended:
            return
    raise AssertionError(pair.name)


def try_schedule(pair: Pair, durability: Durability, stopped_after: int, /) -> ScheduleResult:
    """Return what comes of stopping the first process after so many calls."""
    world = World(durability, points=pair.points)
    first, view = pair.first(world)
    world.first = first
    _advance(world, first, stopped_after + 1)
    ended = first.done
    if pair.first_dies and not first.done:
        view.die()
        first.kill()
    world.storage.clock.now += PAUSE_S
    second, _ = pair.second(world)
    _advance(world, second, _LONGEST)
    cuts, resumed = 0, 0
    for index, calls in enumerate(_RESUMED):
        _advance(world, first, calls - resumed)
        resumed = calls
        world.storage.chance = Stream("cut", stopped_after, index)
        cuts += 1
        found = judge(world.storage.cut(), world.ledger, world.contents, BLOCK_SIZE)
        world.ledger.violations += found
        if world.ledger.violations or (first.done and index >= 3):
            break
    if not first.done:
        view.die()
        first.kill()
    return ScheduleResult(
        schedule=Schedule(pair=pair.name, durability=durability.value, stopped_after=stopped_after),
        cuts=cuts,
        ended=ended,
        violations=tuple(world.ledger.violations),
    )


def _advance(world: World, task: SteppedTask, calls: int) -> None:
    """Let a process make so many calls, or all that it has left."""
    for _ in range(calls):
        if task.done:
            break
        task.advance()
    if isinstance(task.error, CorruptionError):
        world.ledger.breach("R2", f"{task.name} met damage: {task.error}")
    elif task.error is not None and not isinstance(task.error, TwinshotError):
        kind = type(task.error).__name__
        world.ledger.breach("R4", f"{task.name} broke down: {kind} {task.error}")
