"""What kills a repository mutant first: a seed, or else a schedule, or the kill of a process."""

import msgspec

from simulator.campaign.mutants import Mutant, planted
from simulator.campaign.proving.deaths import Bench, deaths, workshop
from simulator.campaign.proving.mutants import WITH_CACHE
from simulator.campaign.proving.operations import Operation
from simulator.campaign.proving.pairs import PAIRS
from simulator.campaign.proving.random_runs import RandomRun
from simulator.campaign.proving.schedules import every_schedule
from simulator.campaign.proving.storage import small_objects
from simulator.world.file_system import Durability


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """How a mutant was noticed."""

    by: str
    """As `seed 17`, `twins posix, stopped after 8`, or `key-rotate killed after call 6`."""

    tried: int
    """How many seeds, schedules or kills that took, with the one that killed."""

    rule: str


def kill_by_seed(mutant: Mutant, /, *, seeds: int) -> Kill | None:
    """Return the first of so many seeds that shows that the rule is missing."""
    cached = mutant.name in WITH_CACHE
    with planted(mutant), small_objects():
        for seed in range(1, seeds + 1):
            found = RandomRun(seed, None, cached=cached).result().violations
            if found:
                by = f"seed {seed}" + (" with a cache" if cached else "")
                return Kill(by=by, tried=seed, rule=found[0].rule)
    return None


def kill_by_death(mutant: Mutant, operation: Operation, /) -> Kill | None:
    """Return the first kill of this operation that shows that the rule is missing."""
    with workshop() as place, planted(mutant):
        bench = Bench(operation, place)
        before, calls = bench.prepare()
        for tried, death in enumerate(deaths(calls), start=1):
            bench.strike(death)
            titles = [title for title, _ in bench.judge(before).amiss]
            if titles:
                by = f"{operation.name} killed {death.moment.value} call {death.call}"
                return Kill(by=by, tried=tried, rule=titles[0])
    return None


def kill_by_schedule(mutant: Mutant, /) -> Kill | None:
    """Return the first schedule that shows that the rule is missing."""
    tried = 0
    with planted(mutant), small_objects():
        for pair in PAIRS:
            for durability in Durability:
                for result in every_schedule(pair, durability):
                    tried += result.cuts
                    if result.violations:
                        where = f"stopped after {result.schedule.stopped_after}"
                        return Kill(
                            by=f"{pair.name} {durability.value}, {where}",
                            tried=tried,
                            rule=result.violations[0].rule,
                        )
    return None
