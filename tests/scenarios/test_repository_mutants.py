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
KILLERS: Final[dict[str, int | Schedule]] = {}
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
