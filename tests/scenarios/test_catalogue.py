"""Every scenario of the catalogue holds: no invariant is broken, and what it expects happens."""

import re
from pathlib import Path
from typing import Final

import pytest

from simulator.campaign.images import opened_images
from simulator.campaign.trial import Subject, Trial, run_trial, subjects_of
from simulator.scenario.reading import parse_scenario, read_scenario
from simulator.scenario.schema import Scenario
from simulator.scenario.writing import as_data, as_toml

PLACE: Final = Path(__file__).resolve().parents[2] / "scenarios"
FILES: Final = {file.relative_to(PLACE).as_posix(): file for file in sorted(PLACE.rglob("*.toml"))}
CATALOGUE: Final = {name: read_scenario(file) for name, file in FILES.items()}
LONGEST: Final = "baseline/first_night.toml"
WITHOUT_POINTS: Final = {
    "d09_diff_area_overflows_required",
    "first_redirection_kept_when_second_fails",
    "volume_not_given_back_after_failure",
}
"""Scenarios in which every run has to fail."""


def subjects(name: str) -> list[Subject]:
    """Return what a file asks to be tried: its scenario, or each of the variants."""
    scenario, file = CATALOGUE[name], FILES[name]
    return subjects_of(scenario, name=file.stem, path=file, seed=None, images={})


def tried(subject: Subject) -> Trial:
    """Return what came of one run, all points restored twice."""
    return run_trial(subject, restore_again=True)


def broken(trial: Trial) -> list[str]:
    """Return every invariant and expectation that does not hold, with the reason."""
    return [f"{each.invariant}: {each.detail}" for each in trial.verdicts if each.holds is False]


SUBJECTS: Final = [subject for name in FILES if name != LONGEST for subject in subjects(name)]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.title)
def test_every_scenario_holds(subject: Subject) -> None:
    """The engine keeps every promise under what the scenario describes, as the scenario expects."""
    trial = tried(subject)

    assert broken(trial) == []
    assert bool(trial.evidence.visible) == (subject.name not in WITHOUT_POINTS)


def test_the_first_night_holds() -> None:
    """The night that everybody sees first holds, and has something to show of each invariant."""
    [subject] = subjects(LONGEST)

    trial = tried(subject)

    assert broken(trial) == []
    # Neither a second process nor a real disk was asked for here, and what happens to nodes and
    # to the engine may reach every machine: none is left of which I22 could speak.
    unjudged = {verdict.invariant for verdict in trial.verdicts if verdict.holds is None}
    assert unjudged <= {"I19", "I22", "I23"}


@pytest.mark.parametrize("name", FILES)
def test_every_scenario_says_first_why_it_exists(name: str) -> None:
    """Whoever opens a file reads a sentence first, or what the regression was found by."""
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    found_by = name.startswith("regressions/")
    first = next(line for line in lines if not (found_by and line.startswith("# ")))

    assert re.fullmatch(r'why = "[A-Z].{20,}[.?]"', first)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_after_its_id_in_the_catalogue(name: str) -> None:
    """Whoever looks for D19 finds it by the file's name, and nothing else under that name."""
    number = re.match(r"d(\d\d)_", FILES[name].name)

    assert CATALOGUE[name].catalogue == (None if number is None else f"D{number[1]}")


@pytest.mark.parametrize("name", FILES)
def test_a_scenario_survives_being_written(name: str) -> None:
    """The vocabulary that is read is the one that is written, as TOML and as plain data."""
    scenario = CATALOGUE[name]

    text = as_toml(scenario)

    assert parse_scenario(text, name=name) == scenario
    assert Scenario.model_validate(as_data(scenario)) == scenario


def test_the_catalogue_brings_no_disk_images() -> None:
    """Every scenario runs where nothing but its own file is."""
    for name, scenario in CATALOGUE.items():
        with opened_images(scenario, FILES[name].parent) as (images, _):
            assert not images, name
