"""The story of a point says what the facts say, in words, and what the world did besides."""

import json
from pathlib import Path

import pytest

from reference_engine.app.command_line import run
from reference_engine.model.identity import Epoch, MachineId, RunTag
from simulator.campaign.explaining.page import render_story
from simulator.campaign.explaining.story import Story, story_of
from simulator.campaign.trial import run_trial, subject_of
from simulator.scenario.reading import parse_scenario
from tests.strategies.simulated_clusters import scenario_text

MORE = """
[[happenings]]
kind = "live-migration"
machine = "x"
target = "B"
on = { at = "20m" }

[[happenings]]
kind = "engine-crash"
on = { machine = "x", step = 10, occurrence = 3 }
"""


@pytest.fixture(scope="module")
def stories() -> dict[int, Story]:
    """Return the story of each run of a night with a migration and a crash of the engine."""
    scenario = parse_scenario(scenario_text(duration="66m", more=MORE), name="x")
    trial = run_trial(subject_of(scenario, name="x"), restore_again=False)
    tags = [RunTag(machine=MachineId("x"), epoch=Epoch(number)) for number in (1, 2, 3, 5)]
    return {tag.epoch: story_of(trial, tag) for tag in tags}


def test_the_two_instants_are_told(stories: dict[int, Story]) -> None:
    """Tg and Th, and how far apart; every step has its place between start and end."""
    story = stories[2]

    assert story.guest_at is not None
    assert story.host_at is not None
    assert any("later" in sentence and "Tg" in sentence for sentence in story.facts)
    assert [text.split()[0] for _, _, text in story.steps] == [f"S{step}" for step in range(17)]


def test_the_trackers_and_the_move_between_the_points_are_told(stories: dict[int, Story]) -> None:
    """The second point is incremental on the word of both nodes, for the machine has moved."""
    story = stories[2]

    assert any("trackers that spoke: A, B" in sentence for sentence in story.facts)
    assert any("carried over from the base's R" in sentence for sentence in story.facts)
    told = [moment.text for moment in story.moments if moment.lane == "cluster"]
    assert "x begins to migrate from A to B" in told
    assert "the migration to B is done" in told


def test_a_first_point_says_why_it_is_full(stories: dict[int, Story]) -> None:
    """Without a base everything is read."""
    assert any("full, because it is the machine's first" in text for text in stories[1].facts)


def test_a_run_that_died_has_a_story_too(stories: dict[int, Story]) -> None:
    """The third run's engine died; the fifth says what it found, the fourth epoch cleared up."""
    assert stories[3].facts == ("It never reported an end: its engine died.",)
    assert any("engine goes down" in moment.text for moment in stories[5].moments)


def test_the_page_shows_the_same(stories: dict[int, Story]) -> None:
    """Steps, both instants and every line of the story are on the page, escaped."""
    page = render_story(stories[2])

    assert all(text in page for text in ("Tg", "Th", "S10 sync", "x begins to migrate"))
    assert "base&#39;s R" in page
    assert "<script" not in page


def test_the_command_tells_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By machine, by run and by an id's beginning, from a scenario's file."""
    file, page = tmp_path / "x.toml", tmp_path / "x.html"
    file.write_text(scenario_text(duration="20m"))

    codes = [run(["explain", wanted, "--from", str(file)]) for wanted in ("x", "x#1", "latest")]
    capsys.readouterr()
    code = run(["--json", "explain", "x", "--from", str(file), "--page", str(page)])

    record = json.loads(capsys.readouterr().out.splitlines()[0])
    assert [*codes, code] == [0, 0, 0, 0]
    assert record["type"] == "story"
    assert "Timeline of the run" in page.read_text()


@pytest.mark.parametrize("wanted", ["x#9", "y", "0000"])
def test_what_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, wanted: str
) -> None:
    """One sentence that says what there is."""
    file = tmp_path / "x.toml"
    file.write_text(scenario_text(duration="20m"))

    assert run(["explain", wanted, "--from", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
