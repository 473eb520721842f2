"""Exhaustive search in the smallest world: the engine holds, and cutting runs loses nothing."""

import json
from pathlib import Path
from typing import Final

import msgspec
import pytest

from reference_engine.app.command_line import run
from simulator.campaign.exploring.choosing import Kinds, run_schedule
from simulator.campaign.exploring.descent import Descent
from simulator.campaign.exploring.search import Explored, Mode, Task, explored
from simulator.campaign.exploring.small_world import BackEndName, Scope
from simulator.campaign.exploring.vocabulary import KINDS, Option, Place, options_at
from simulator.campaign.sweep.seeds import findings
from simulator.campaign.trial import subject_of
from simulator.scenario.schema import Scenario

ANSWERS: Final = ("call-disturbed", "engine-crash")
FAULTS: Final = ("guest-writes", "live-migration", "coordinator-move", "node-crash", "tracker-lost")


def search(
    back_end: BackEndName,
    *kinds: str,
    events: int = 1,
    cuts: bool = True,
    mutant: str | None = None,
    first: str = "",
) -> Explored:
    """Return what a search of everything comes to."""
    return explored(
        Task(
            scope=Scope(back_end=back_end, seed=1, events=events, machines=1, backups=1),
            mode=Mode(name="exhaustive", cuts=cuts),
            first=first,
            kinds=kinds,
            mutant=mutant,
            stop_at_first=False,
            until=None,
        )
    )


@pytest.mark.parametrize("back_end", ["E1", "E3"])
@pytest.mark.parametrize("kinds", [FAULTS, ANSWERS])
def test_no_single_happening_at_any_call_breaks_anything(
    back_end: BackEndName, kinds: tuple[str, ...]
) -> None:
    """All places of one happening around a first backup, then two in peace: everything holds."""
    found = search(back_end, *kinds)

    assert found.complete
    assert found.tally.schedules > 90
    assert [failure.breaches for failure in found.failures] == []


@pytest.mark.parametrize(
    ("back_end", "mutant"),
    [("E1", None), ("E3", "lost-map-taken-as-empty"), ("E1", "stale-owner-used")],
)
def test_cutting_runs_changes_no_count(back_end: BackEndName, mutant: str | None) -> None:
    """As many schedules, as many of them broken, as where each one runs to its end."""
    kinds = ("tracker-lost", "coordinator-move", "live-migration")

    cut = search(back_end, *kinds, mutant=mutant)
    whole = search(back_end, *kinds, mutant=mutant, cuts=False)

    assert cut.tally == whole.tally
    assert {each.signature for each in cut.failures} == {each.signature for each in whole.failures}
    assert cut.cut > 0
    assert whole.runs == whole.tally.schedules


def test_cutting_runs_changes_no_count_of_pairs() -> None:
    """Two happenings: states are held against each other that were reached on different ways."""
    bug, kinds = "lost-map-taken-as-empty", ("guest-silence", "writer-failure")

    cut = search("E3", *kinds, events=2, mutant=bug)
    whole = search("E3", *kinds, events=2, mutant=bug, cuts=False)

    assert cut.tally == whole.tally
    assert cut.runs == whole.runs > 8


def test_a_key_without_the_world_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The differential can fail: a state that forgets the world cuts runs that differ."""
    kinds = ("guest-writes", "tracker-lost")
    monkeypatch.setattr(
        "simulator.campaign.exploring.fingerprint.History.state",
        lambda history: history._night.sim.now().to_bytes(8, "big"),
    )

    cut = search("E3", *kinds, mutant="lost-map-taken-as-empty")
    whole = search("E3", *kinds, mutant="lost-map-taken-as-empty", cuts=False)

    assert cut.tally.broken != whole.tally.broken


def test_a_failing_schedule_fails_as_a_scenario() -> None:
    """What was found is a scenario like any other, and breaks the same invariants there."""
    found = search("E3", "tracker-lost", mutant="lost-map-taken-as-empty")
    failure = min(found.failures, key=lambda each: each.number)
    subject = subject_of(Scenario.model_validate(failure.scenario), name="schedule")

    from simulator.campaign.mutants import with_mutant  # noqa: PLC0415 - only here

    with with_mutant("lost-map-taken-as-empty"):
        again = findings(subject)

    assert tuple(each.invariant for each in again) == tuple(
        each.invariant for each in failure.breaches
    )
    assert findings(subject) == ()


def test_every_kind_is_offered_somewhere() -> None:
    """No name in the vocabulary is dead."""
    places = [
        Place(subject="vm1", operation=operation, occurrence=1, cluster=True)
        for operation in ("freeze", "take_snapshot", "read")
    ]

    offered: set[str] = {
        option.kind for place in places for option in _options(place) if isinstance(option, Option)
    }

    assert offered == set(KINDS)


def _options(place: Place) -> tuple[Option, ...]:
    return options_at(place, KINDS)


def test_drawn_schedules_are_the_same_wherever_they_are_cut() -> None:
    """The n-th schedule is the n-th, in whichever task it is drawn."""
    scope = Scope(back_end="E3", seed=3, events=2, machines=1, backups=1)
    whole = Task(
        scope=scope,
        mode=Mode(name="pct", depth=2, first=0, count=6),
        first="",
        kinds=("call-disturbed",),
        mutant="snapshot-kept",
        stop_at_first=False,
        until=None,
    )
    parts = [
        msgspec.structs.replace(whole, mode=Mode(name="pct", depth=2, first=first, count=3))
        for first in (0, 3)
    ]

    assert [each.scenario for each in explored(whole).failures][:3] == [
        each.scenario for each in explored(parts[0]).failures
    ][:3]
    assert explored(whole).runs == sum(explored(part).runs for part in parts)


def test_two_machines_are_backed_up_at_once() -> None:
    """The world may have more machines than one; a run of both at the same time holds."""
    scope = Scope(back_end="E1", seed=1, events=1, machines=2, backups=1)
    nothing = Kinds(first=(), later=())

    course = run_schedule(scope, Descent(events=1, cuts=True), nothing)

    assert course.breaches == ()
    assert course.happenings == ()


def test_the_command_writes_schedules_that_replay_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a planted bug: exit code 1, and a file that `replay` takes."""
    bug = ["--mutant", "lost-map-taken-as-empty"]
    line = ["explore", "--kinds", "tracker-lost", "--back-end", "E3", "--backups", "1"]

    code = run([*line, *bug, "--out", str(tmp_path)])
    said = capsys.readouterr().out
    replayed = run(
        ["replay", str(tmp_path / "schedule-1.toml"), *bug, "--out", str(tmp_path / "again")]
    )

    assert code == 1
    assert "twinshot replay" in said
    assert replayed == 1


def test_the_schedule_without_happenings_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind's task begins with it; together they have it once on each back end."""
    kinds = ["--kinds", "guest-silence", "writer-failure", "--backups", "1"]

    code = run(["explore", *kinds, "--out", str(tmp_path), "--json"])

    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    # On both back ends: nothing; a silent guest, or one that answers late; a writer that fails.
    assert summary["schedules"] == 2 * (1 + 2 + 1)
    assert summary["complete"] is True


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--events", "4", "4 events cannot be searched; give 1 to 3"),
        ("--kinds", "earthquake", "'earthquake' is no kind of happening"),
        ("--minutes", "0", "0.0 minutes are over at once"),
        ("--pct", "0", "0 is no depth"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    option: str, value: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence that says what to give instead, and exit code 2."""
    code = run(["explore", option, value])

    assert code == 2
    assert sentence.split(";", maxsplit=1)[0] in " ".join(capsys.readouterr().err.split())
