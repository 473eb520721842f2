"""A run can be looked at: at an instant, at a fact, step by step, and beside another one."""

import json
from pathlib import Path
from typing import Any

import pytest

from reference_engine.app.command_line import run
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import MINUTE, Instant
from simulator.campaign.night import Watcher
from simulator.campaign.replaying.difference import first_difference
from simulator.campaign.replaying.facts import fact_line, facts_of
from simulator.campaign.replaying.state import running, state_of
from simulator.campaign.replaying.stepping import Stepper, breakpoint_named
from simulator.campaign.trial import Subject, night_of, subject_of
from simulator.scenario.reading import parse_scenario
from simulator.scenario.swarm import draw_scenario
from simulator.scenario.writing import as_toml
from tests.strategies.simulated_clusters import scenario_text

MIGRATION = """
[[happenings]]
kind = "live-migration"
machine = "x"
target = "B"
on = { at = "4m" }
"""


def subject(more: str = "") -> Subject:
    """Return a short night of a small cluster."""
    return subject_of(parse_scenario(scenario_text(duration="20m", more=more), name="x"), name="x")


def records(capsys: pytest.CaptureFixture[str], *tokens: object) -> tuple[int, list[Any]]:
    """Return exit code and records of a replay."""
    capsys.readouterr()
    code = run(["--json", "replay", *map(str, tokens)])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_run_up_to_an_instant_is_the_whole_runs_beginning() -> None:
    """Stopping changes nothing: the facts until then are those of the run that is not stopped."""
    whole, _ = facts_of(subject(MIGRATION))
    night = night_of(subject(MIGRATION), Watcher(), lambda _: None)

    night.run_until(Instant(4 * MINUTE + 5_000_000))

    assert [fact_line(fact) for fact in night.facts] == [
        fact_line(fact) for fact in whole if fact.at <= 4 * MINUTE + 5_000_000
    ]
    [machine] = [row for row in state_of(night).rows if row.what == "machine"]
    assert "on A" in machine.state
    assert "migrating" in machine.state
    night.sim.close()


def test_the_state_at_a_step_shows_the_guest_at_rest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """At Tg the guest is at rest, and the maps that are frozen already say for whom."""
    file = tmp_path / "x.toml"
    file.write_text(as_toml(subject().scenario))

    code, found = records(capsys, file, "--break", "x:GuestSnapshotTaken")

    states = {row["name"]: row["state"] for row in found if row["type"] == "standing"}
    assert code == 0
    assert "guest at rest" in states["x"]
    assert states["x#1"] == "in S4 guest snapshot"


def test_a_place_that_is_never_reached_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that never comes to a breakpoint ends with its own code."""
    assert records(capsys, "2", "--break", "S5#999")[0] == 5


@pytest.mark.parametrize("text", ["S17", "Nothing", "x:", "S5#0", "S5#x", ""])
def test_no_place_to_stop_is_refused(text: str) -> None:
    """A breakpoint is a step or a kind of fact."""
    with pytest.raises(InputRefusedError, match="no place to stop"):
        breakpoint_named(text)


def test_stepping_does_as_it_is_told() -> None:
    """From the breakpoint on, each fact waits for a word; `s` shows the state, `c` goes on."""
    words = iter(["n", "?", "s", "", "c"])
    shown: list[str] = []
    stepper = Stepper(lambda: next(words), shown.append, start=breakpoint_named("x:S4"))

    night_of(subject(), stepper, lambda _: None).run()

    facts = [line for line in shown if line.startswith("00:0")]
    assert "StepEntered run=x#1 step=4" in facts[0]
    assert len(facts) == 3
    assert any(line.startswith("state at") for line in shown)
    assert next(words, None) is None


def test_stepping_can_be_left() -> None:
    """`q` ends the run where it is."""
    with pytest.raises(KeyboardInterrupt):
        night_of(subject(), Stepper(lambda: "q", print, start=None), lambda _: None).run()


def test_the_first_difference_is_shown_with_what_led_there() -> None:
    """Two runs that differ by one migration part where it begins."""
    plain, _ = facts_of(subject())
    moved, _ = facts_of(subject(MIGRATION))

    found = first_difference(plain, moved)

    assert found is not None
    assert found.theirs[0].startswith("00:04:00.000 FaultInjected kind=live-migration subject=x")
    assert found.before == tuple(map(fact_line, plain[: found.index]))[-6:]
    assert first_difference(plain, plain) is None
    assert first_difference(plain[:3], plain).ours == ()  # type: ignore[union-attr]


def test_a_seed_is_compared_with_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A seed's number and its scenario's file are the same run; with a bug planted they are not."""
    file = tmp_path / "seed-1.toml"
    file.write_text(as_toml(draw_scenario(1)))

    assert records(capsys, "1", "--diff", file)[0] == 0
    code, found = records(capsys, "1", "--mutant", "skew-not-carried", "--diff", file)

    assert code == 1
    assert found[0]["fields"] == ["extents"]


def test_no_run_is_under_way_behind_the_last_fact() -> None:
    """Runs leave the list when they end."""
    facts, _ = facts_of(subject())

    assert running(list(facts)) == {}


@pytest.mark.parametrize(
    "tokens",
    [
        ("2", "--until", "soon"),
        ("2", "--until", "1m", "--diff", "3"),
        ("2", "--break", "S5", "--until", "1m"),
        ("2", "--step"),
        ("2", "--mutant", "nobody"),
        ("99999999999999999999999999",),
        ("missing.toml",),
        ("missing.json",),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    capsys: pytest.CaptureFixture[str], tokens: tuple[str, ...]
) -> None:
    """One sentence and the code of a wrong request."""
    code, found = records(capsys, *tokens)

    assert (code, found[-1]["type"]) == (2, "error")


def test_a_seed_with_a_mutant_is_judged_like_any_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A whole replay writes its report; the repetition in another process has the same bug."""
    code, found = records(capsys, "1", "--mutant", "skew-not-carried", "--out", tmp_path / "report")

    verdicts = {record["id"]: record["holds"] for record in found if record["type"] == "verdict"}
    assert code == 1
    assert verdicts["I2"] is False
    assert verdicts["I19"] is True
