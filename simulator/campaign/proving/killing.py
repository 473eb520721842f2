"""What kills a repository mutant first: a seed, or else a schedule."""

import msgspec

from simulator.campaign.mutants import Mutant, planted
from simulator.campaign.proving.pairs import PAIRS
from simulator.campaign.proving.random_runs import RandomRun
from simulator.campaign.proving.schedules import every_schedule
from simulator.campaign.proving.storage import small_objects
from simulator.world.file_system import Durability


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """How a mutant was noticed."""

    by: str
    """A seed as `seed 17`, or a schedule as `twins posix, stopped after 8`."""

    tried: int
    """How many seeds or schedules that took, with the one that killed."""

    rule: str


def kill_by_seed(mutant: Mutant, /, *, seeds: int) -> Kill | None:
    """Return the first of so many seeds that shows that the rule is missing."""
    with planted(mutant), small_objects():
        for seed in range(1, seeds + 1):
            found = RandomRun(seed, None).result().violations
            if found:
                return Kill(by=f"seed {seed}", tried=seed, rule=found[0].rule)
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
