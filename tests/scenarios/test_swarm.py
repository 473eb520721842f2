"""Whatever cluster and happenings a seed draws, the engine comes through."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.campaign.night import Watcher
from simulator.campaign.trial import Subject, Trial, night_of, run_trial, subject_of
from simulator.scenario.reading import parse_scenario
from simulator.scenario.schema import impossibilities
from simulator.scenario.swarm import draw_scenario
from simulator.scenario.writing import as_toml

SHARE: Final = 2, 5
"""A run costs as much as a hundred ordinary examples: of every profile's number, two in five."""

seeds = st.integers(0, 2**40)
few = settings(max_examples=max(1, settings().max_examples * SHARE[0] // SHARE[1]))


def subject(seed: int) -> Subject:
    """Return the trial that a seed draws."""
    return subject_of(draw_scenario(seed), name="swarm")


def tried(seed: int) -> Trial:
    """Return what came of one seed, all points restored twice."""
    return run_trial(subject(seed), restore_again=True)


def broken(trial: Trial) -> list[str]:
    """Return every invariant that does not hold, with the reason."""
    return [f"{each.invariant}: {each.detail}" for each in trial.verdicts if each.holds is False]


@given(seed=seeds)
def test_a_seed_draws_nothing_impossible(seed: int) -> None:
    """Every drawn scenario is one that a file may hold, and the same one each time."""
    scenario = draw_scenario(seed)

    assert list(impossibilities(scenario)) == []
    assert draw_scenario(seed) == scenario
    assert parse_scenario(as_toml(scenario), name="drawn.toml") == scenario


def test_every_application_is_drawn() -> None:
    """Among the first seeds some guests keep a ledger, and some a database in either mode."""
    drawn = {machine.application for seed in range(200) for machine in draw_scenario(seed).machines}

    assert drawn == {None, "ledger", "sqlite", "sqlite-wal"}


@given(seed=seeds)
@few
def test_whatever_a_seed_draws_ends_and_can_be_repeated(seed: int) -> None:
    """The run comes to its end by itself, and takes the same course again."""
    trial = tried(seed)
    again = night_of(subject(seed), Watcher(), lambda _: None)
    again.run()

    assert trial.night.finished, trial.night.unfinished
    assert again.digest.hexdigest() == trial.digest


@pytest.mark.parametrize("seed", range(1, 41))
def test_the_engine_comes_through_the_seeds_that_mutants_are_shown(seed: int) -> None:
    """What a planted bug is blamed for does not happen without it."""
    assert broken(tried(seed)) == []
