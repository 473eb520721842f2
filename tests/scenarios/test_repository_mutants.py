"""Every safety rule of the repository is needed: without it a power cut loses something."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from simulator.campaign.mutants import planted
from simulator.campaign.proving.deaths import Bench, workshop
from simulator.campaign.proving.kills_command import OPERATIONS
from simulator.campaign.proving.mutants import (
    EQUIVALENT,
    REPOSITORY_MUTANTS,
    SHOWN_BY_KILLS,
    WITH_CACHE,
    repository_mutant,
)
from simulator.campaign.proving.os_calls import Death, Moment
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
    "visible-object-trusted": 136,
    "visible-entry-trusted": ("death-and-question", Durability.POSIX, 101),
    "named-before-flush": 69,
    "written-in-place": 4,
    "flush-repeated": 94,
    "short-write-accepted": 228,
    "name-taken-over": 1,
    "failed-read-is-absence": 1,
    "commit-before-packs": 2,
    "commit-before-maps": 4,
    "commit-before-manifest": 6,
    "index-before-packs": 32,
    "listed-packs-discarded": 7,
    "number-taken-unseen": 6,
    "lost-answer-is-success": 137,
    "superseded-run-commits": 5,
    "abandoned-after-commit": ("backup-and-sick-disk", Durability.POSIX, 92),
    "deleted-at-once": 19,
    "decided-once": 528,
    "deleted-before-sweep": 79,
    "sweep-not-durable": ("death-and-question", Durability.POSIX, 101),
    "open-runs-not-spared": 11,
    "sweep-not-remarked": ("backup-inside-prune", Durability.POSIX, 30),
    "awaited-by-nobody": 32,
    "condemned-blocks-found": 18,
    "closed-run-commits": 5,
    "unreadable-point-ignored": 1253,
    "moved-before-packs": 8,
    "moved-before-maps": 8,
    "old-packs-deleted-first": 8,
    "repack-not-rechecked": 31,
    "overlaid-pieces-forgotten": 16,
    "hidden-pieces-shown": 677,
    "repack-not-spared": ("repack-and-reclaim", Durability.POSIX, 160),
    "repack-without-run": 2,
    "moved-base-trusted": ("next-run-and-repack-of-base", Durability.POSIX, 42),
    "moves-undone-after-commit": ("repack-and-sick-disk", Durability.POSIX, 163),
    "found-blocks-not-checked": 32,
    "copy-before-entry": 27,
    "runs-unsealed": 96,
}
"""For each mutant a seed that kills it, or a pair, a mode and where the first process stops."""

DEATHS: Final = {
    "groups-closed-when-full": Death(call=1, moment=Moment.BEFORE),
    "damage-kept-late": Death(call=1, moment=Moment.AFTER),
    "old-slot-first": Death(call=6, moment=Moment.AFTER),
    "slots-deleted-before-rotation": Death(call=7, moment=Moment.AFTER),
    "rotation-before-slot": Death(call=10, moment=Moment.AFTER),
    "removed-slots-left": Death(call=1, moment=Moment.BEFORE),
    "domain-before-key": Death(call=10, moment=Moment.AFTER),
    "domain-key-deleted-first": Death(call=3, moment=Moment.AFTER),
    "domain-key-copy-left": Death(call=1, moment=Moment.BEFORE),
    "domain-key-left-to-reclaim": Death(call=1, moment=Moment.BEFORE),
    "domain-points-one-by-one": Death(call=10, moment=Moment.AFTER),
    "unclaimed-domain-keys-left": Death(call=4, moment=Moment.AFTER),
}
"""For each mutant that kills of real processes show, where in its operation one dies."""


def losses(killer: int | Schedule, *, cached: bool) -> list[str]:
    """Return what is lost, with the repository as it is now."""
    with small_objects():
        if isinstance(killer, int):
            result = RandomRun(killer, None, cached=cached).result().violations
        else:
            name, durability, stopped_after = killer
            [pair] = [pair for pair in PAIRS if pair.name == name]
            result = try_schedule(pair, durability, stopped_after).violations
    return [violation.rule for violation in result]


def test_every_mutant_has_a_killer_or_a_reason() -> None:
    """A rule that can go without a loss comes with the other rule that guards the same."""
    names = {mutant.name for mutant in REPOSITORY_MUTANTS}

    assert sorted([*KILLERS, *DEATHS, *EQUIVALENT]) == sorted(names)
    assert DEATHS.keys() == SHOWN_BY_KILLS.keys()


@pytest.mark.parametrize("name", KILLERS)
def test_a_missing_rule_loses_something(name: str) -> None:
    """The proof notices, and notices nothing once the rule is back."""
    cached = name in WITH_CACHE
    with planted(repository_mutant(name)):
        found = losses(KILLERS[name], cached=cached)

    assert found
    assert losses(KILLERS[name], cached=cached) == []


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Return a directory in which processes are killed."""
    with workshop() as place:
        yield place


@pytest.mark.parametrize("name", DEATHS)
def test_a_kill_shows_a_missing_rule(name: str, place: Path) -> None:
    """The process that dies leaves something amiss, and nothing once the rule is back."""
    [operation] = [each for each in OPERATIONS if each.name == SHOWN_BY_KILLS[name]]

    def amiss() -> list[str]:
        bench = Bench(operation, place)
        before, _ = bench.prepare()
        bench.strike(DEATHS[name])
        found = [title for title, _ in bench.judge(before).amiss]
        shutil.rmtree(place / operation.name)
        return found

    with planted(repository_mutant(name)):
        found = amiss()

    assert found
    assert amiss() == []
