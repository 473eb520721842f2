"""Every safety rule of the repository is needed: without it a power cut loses something."""

from typing import Final

import pytest

from simulator.campaign.mutants import planted
from simulator.campaign.proving.mutants import EQUIVALENT, REPOSITORY_MUTANTS, repository_mutant
from simulator.campaign.proving.pairs import PAIRS
from simulator.campaign.proving.random_runs import RandomRun
from simulator.campaign.proving.schedules import try_schedule
from simulator.campaign.proving.storage import small_objects
from simulator.world.file_system import Durability

Schedule = tuple[str, Durability, int]
KILLERS: Final[dict[str, int | Schedule]] = {
    "no-file-flush": 1,
    "no-name-flush": 1,
    "no-parent-flush": 1,
    "visible-directory-trusted": ("two-create", Durability.POSIX, 8),
    "visible-object-trusted": 128,
    "visible-entry-trusted": ("death-and-question", Durability.POSIX, 98),
    "named-before-flush": 69,
    "written-in-place": 4,
    "flush-repeated": 72,
    "short-write-accepted": 228,
    "name-taken-over": 1,
    "failed-read-is-absence": 3,
    "commit-before-packs": 1,
    "commit-before-maps": 4,
    "commit-before-manifest": 9,
    "index-before-packs": 7,
    "listed-packs-discarded": 12,
    "number-taken-unseen": 49,
    "lost-answer-is-success": 62,
    "superseded-run-commits": 4,
    "abandoned-after-commit": ("backup-and-sick-disk", Durability.POSIX, 90),
    "deleted-at-once": 2,
    "decided-once": 288,
    "deleted-before-sweep": 18,
    "sweep-not-durable": ("death-and-question", Durability.POSIX, 98),
    "open-runs-not-spared": 15,
    "sweep-not-remarked": ("backup-inside-prune", Durability.POSIX, 28),
    "awaited-by-nobody": 2,
    "condemned-blocks-found": 177,
    "closed-run-commits": 4,
    "unreadable-point-ignored": 1099,
    "moved-before-packs": 39,
    "moved-before-maps": 17,
    "old-packs-deleted-first": 8,
    "repack-not-rechecked": 115,
    "overlaid-pieces-forgotten": 18,
    "hidden-pieces-shown": 677,
    "repack-not-spared": ("repack-and-reclaim", Durability.POSIX, 157),
    "repack-without-run": 417,
    "moved-base-trusted": ("next-run-and-repack-of-base", Durability.POSIX, 40),
}
"""For each mutant a seed that kills it, or a pair, a mode and where the first process stops."""


def losses(killer: int | Schedule) -> list[str]:
    """Return what is lost, with the repository as it is now."""
    with small_objects():
        if isinstance(killer, int):
            result = RandomRun(killer, None).result().violations
        else:
            name, durability, stopped_after = killer
            [pair] = [pair for pair in PAIRS if pair.name == name]
            result = try_schedule(pair, durability, stopped_after).violations
    return [violation.rule for violation in result]


def test_every_mutant_has_a_killer_or_a_reason() -> None:
    """A rule that can go without a loss comes with the other rule that guards the same."""
    names = {mutant.name for mutant in REPOSITORY_MUTANTS}

    assert KILLERS.keys() | EQUIVALENT.keys() == names
    assert not KILLERS.keys() & EQUIVALENT.keys()


@pytest.mark.parametrize("name", KILLERS)
def test_a_missing_rule_loses_something(name: str) -> None:
    """The proof notices, and notices nothing once the rule is back."""
    with planted(repository_mutant(name)):
        found = losses(KILLERS[name])

    assert found
    assert losses(KILLERS[name]) == []
