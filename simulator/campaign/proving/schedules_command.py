"""`twinshot prove schedules`: every place at which one process can be overtaken by another."""

from time import monotonic  # noqa: TID251 - the rate is real time
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.naming import named
from simulator.campaign.processes import spread
from simulator.campaign.proving.mutants import removed, repository_mutant
from simulator.campaign.proving.pairs import PAIRS, Pair
from simulator.campaign.proving.schedules import ScheduleResult, every_schedule, try_schedule
from simulator.campaign.proving.seeds_command import Mode, check_jobs
from simulator.campaign.proving.storage import small_objects
from simulator.world.file_system import Durability

_ALARMS_SHOWN: Final = 10


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one process is given at a time: a pair with all its schedules, or with one."""

    pair: str
    durability: Durability
    stop_after: int | None
    mutant: str | None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the schedules of one pair."""

    pair: str
    durability: str
    stops: int
    cuts: int
    broken: tuple[ScheduleResult, ...]


def schedules(
    *pairs: str,
    mode: Mode = "both",
    stop_after: int | None = None,
    jobs: Annotated[int, Parameter(name=("--jobs", "-j"))] = 1,
    mutant: str | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Stop one process after each of its calls, let another one pass, and cut the power.

    Args:
        pairs: Pairs of processes to try; all of them without a name.
        mode: What survives of names that were not flushed; by default both are tried.
        stop_after: Stop the first process after so many calls only.
        jobs: Worker processes on this machine.
        mutant: A safety rule to take away first; `mutants --of repository` names them all.
        output: Where results go.
    """
    check_jobs(jobs)
    if mutant is not None:
        repository_mutant(mutant)
    if stop_after is not None and stop_after < 0:
        raise InputRefusedError(f"{stop_after} calls cannot be made", "give none or more")
    modes = tuple(Durability) if mode == "both" else (Durability(mode),)
    orders = [
        Order(pair=pair.name, durability=durability, stop_after=stop_after, mutant=mutant)
        for pair in [pair_named(name) for name in pairs] or PAIRS
        for durability in modes
    ]
    began = monotonic()
    tallies: list[Tally] = []
    with output.steps("prove schedules", len(orders)) as advance:
        for tally in spread(try_order, orders, jobs=jobs):
            tallies.append(tally)
            advance(len(tallies), f"{sum(each.cuts for each in tallies):,} power cuts")
    return _tell(tallies, monotonic() - began, mutant, output)


def pair_named(name: str, /) -> Pair:
    """Return the pair of this name.

    Raises:
        InputRefusedError: there is none.
    """
    return named(name, PAIRS, kind="pair")


def try_order(order: Order, /) -> Tally:
    """Return what comes of the schedules that an order names."""
    pair = pair_named(order.pair)
    with removed(order.mutant), small_objects():
        if order.stop_after is None:
            results = list(every_schedule(pair, order.durability))
        else:
            results = [try_schedule(pair, order.durability, order.stop_after)]
    return Tally(
        pair=pair.name,
        durability=order.durability.value,
        stops=len(results),
        cuts=sum(result.cuts for result in results),
        broken=tuple(result for result in results if result.violations),
    )


def _replay(result: ScheduleResult, mutant: str | None) -> str:
    where = result.schedule
    planted_bug = "" if mutant is None else f" --mutant {mutant}"
    return (
        f"twinshot prove schedules {where.pair} --mode {where.durability} "
        f"--stop-after {where.stopped_after}{planted_bug}"
    )


def _tell(tallies: list[Tally], wall_s: float, mutant: str | None, output: Output) -> ExitCode:
    tallies.sort(key=lambda each: (each.pair, each.durability))
    output.table(
        ("PAIR", "MODE", "STOPS", "POWER CUTS", "STOPS WITH A LOSS"),
        [
            (each.pair, each.durability, f"{each.stops:,}", f"{each.cuts:,}", str(len(each.broken)))
            for each in tallies
        ],
    )
    broken = [result for each in tallies for result in each.broken]
    for result in broken:
        output.record(
            "failure",
            schedule=result.schedule,
            violations=result.violations,
            replay=_replay(result, mutant),
        )
    for result in broken[:_ALARMS_SHOWN]:
        first = result.violations[0]
        output.say(f"FAIL {result.schedule.pair}: {first.rule}: {first.detail[:300]}")
        output.say(f"     replay: {_replay(result, mutant)}")
    cuts = sum(each.cuts for each in tallies)
    output.say(
        f"{cuts:,} schedules with a power cut each, in {wall_s:.0f} s; "
        + (f"{len(broken):,} stops end in a loss" if broken else "none loses anything")
    )
    code = ExitCode.FINDING if broken else ExitCode.OK
    output.summary(
        schedules=cuts,
        stops=sum(each.stops for each in tallies),
        failures=len(broken),
        wall_s=round(wall_s, 3),
        exit_code=int(code),
    )
    return code
