"""A failing scenario becomes one that a person can read, and it still fails for the same reason."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.app.command_line import run
from simulator.campaign.mutants import mutant_named, planted
from simulator.campaign.shrinking.ddmin import least
from simulator.campaign.shrinking.reductions import REDUCTIONS, settings, without
from simulator.campaign.shrinking.shrinker import HoldsError, Shrinker, Shrunk
from simulator.campaign.shrinking.story import story_of
from simulator.campaign.sweep.seeds import Breach, findings
from simulator.campaign.trial import subject_of
from simulator.scenario.reading import parse_scenario, read_scenario
from simulator.scenario.schema import Scenario
from simulator.scenario.swarm import draw_scenario
from simulator.scenario.writing import as_data, as_toml
from tests.strategies.simulated_clusters import scenario_text


def shrunk_by(mutant: str, seed: int, *, runs: int = 400) -> Shrunk:
    """Return what is left of a seed that finds a mutant."""
    with planted(mutant_named(mutant)):
        return Shrinker(draw_scenario(seed), runs=runs, told=lambda *_: None).shrink()


@given(st.sets(st.integers(0, 40)), st.lists(st.integers(0, 40), unique=True))
def test_least_keeps_what_is_needed_and_nothing_else(needed: set[int], items: list[int]) -> None:
    """Whatever is needed is what is left, in its order."""
    wanted = [item for item in items if item in needed]

    assert least(items, lambda kept: set(wanted) <= set(kept)) == wanted


@pytest.mark.parametrize(
    ("mutant", "seed", "happenings"),
    [
        ("skew-not-carried", 3, 0),
        ("current-owner-only", 2, 2),
        ("tg-th-swapped", 1, 0),
        ("diff-area-ignored", 2, 0),
    ],
)
def test_a_planted_bug_is_boiled_down(mutant: str, seed: int, happenings: int) -> None:
    """What is left has as few happenings as the bug needs, and breaks the same invariant."""
    with planted(mutant_named(mutant)):
        before = findings(subject_of(draw_scenario(seed), name="before"))

    shrunk = shrunk_by(mutant, seed)

    assert before[0].invariant == shrunk.breach.invariant
    assert len(shrunk.scenario.happenings) <= happenings
    assert len(shrunk.scenario.nodes) <= 2
    assert len(shrunk.scenario.machines) == 1
    assert shrunk.complete
    assert shrunk.scenario.why == shrunk.story
    assert findings(subject_of(shrunk.scenario, name="sound")) == ()
    with planted(mutant_named(mutant)):
        after = findings(subject_of(shrunk.scenario, name="after"))
    assert shrunk.breach in after


def test_a_shrunk_scenario_is_a_scenario_file() -> None:
    """What is written is what is read, and it is short."""
    scenario = shrunk_by("skew-not-carried", 3).scenario

    text = as_toml(scenario)

    assert parse_scenario(text, name="shrunk.toml") == scenario
    assert len(text.splitlines()) < 30


def test_the_number_of_runs_is_bounded() -> None:
    """With few runs the scenario is smaller than before, and says that more might go."""
    shrunk = shrunk_by("skew-not-carried", 3, runs=5)

    assert shrunk.runs <= 5
    assert not shrunk.complete


def test_what_holds_cannot_be_shrunk() -> None:
    """A scenario that breaks nothing is refused."""
    with pytest.raises(HoldsError):
        Shrinker(parse_scenario(scenario_text(), name="x"), runs=5, told=lambda *_: None)


@pytest.mark.parametrize("seed", range(1, 30))
def test_reductions_never_add_anything(seed: int) -> None:
    """Every proposal that the schema accepts is another scenario, with no more of anything."""
    data = as_data(draw_scenario(seed))

    for name, reduction in REDUCTIONS:
        for smaller in reduction(data):
            assert smaller != data, name
            for table in ("nodes", "volumes", "machines", "happenings"):
                assert len(smaller.get(table, [])) <= len(data.get(table, [])), name
    assert as_data(draw_scenario(seed)) == data, "no proposal changes what it came from"


def test_a_setting_that_is_left_out_has_its_default() -> None:
    """Leaving out every setting with a default leaves a scenario of defaults."""
    data = as_data(draw_scenario(3))
    skew = [path for path in settings(data) if path[0] == "skew"]

    smaller = Scenario.model_validate(without(data, skew))

    assert smaller.skew == type(smaller.skew)()


def test_the_story_is_one_sentence() -> None:
    """Machines, happenings and the broken invariant, in words."""
    text = scenario_text(
        more="""
[[happenings]]
kind = "live-migration"
machine = "x"
target = "B"
on = { machine = "x", step = 5, occurrence = 2, delay = "1s" }

[[happenings]]
kind = "guest-silence"
machine = "x"

[[happenings]]
kind = "node-crash"
node = "owner-of:x"
on = { at = "31m" }

[[happenings]]
kind = "engine-crash"
on = { subject = "log", operation = "create", occurrence = 3 }

[[happenings]]
kind = "call-disturbed"
subject = "x"
operation = "read"
answer = "lose"
"""
    )

    story = story_of(parse_scenario(text, name="x"), Breach(invariant="I2", detail="p: q; r: s"))

    assert story == (
        "E1, 1 machine, 2 nodes, 2 disks: when the backup of x enters S5 (host snapshot) the "
        "second time, 1s later, x migrates to B; x never answers its first freeze; at 31m the "
        "node of x loses power for 10m; before the third create of log the engine loses power "
        "for 1m; the first read of x is carried out, but its answer is lost; then I2 "
        "(application-consistent points equal the guest's snapshot at Tg) breaks: p: q."
    )


def said(capsys: pytest.CaptureFixture[str], *tokens: object) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the last record of a command."""
    capsys.readouterr()
    code = run(["--json", *map(str, tokens)])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_command_writes_the_smaller_scenario(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """From a failure's file to a smaller one, beside it or where it is wanted."""
    failure = tmp_path / "seed-3.toml"
    failure.write_text(as_toml(draw_scenario(3)))
    mutant = ("--mutant", "skew-not-carried")

    code, last = said(capsys, "shrink", failure, *mutant, "--runs", 60)

    assert (code, last["scenario"]) == (0, str(tmp_path / "seed-3-shrunk.toml"))
    assert read_scenario(tmp_path / "seed-3-shrunk.toml").why == last["story"]
    again, refused = said(capsys, "shrink", failure, *mutant)
    assert (again, refused["type"]) == (2, "error")
    assert said(capsys, "shrink", failure, "-o", tmp_path / "x.toml")[0] == 2, "it holds"
