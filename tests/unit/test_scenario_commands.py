"""`twinshot scenario` lists, draws, checks and begins scenario files."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from reference_engine.app.command_line import run
from simulator.campaign.scenarios.json_schema import FILE_NAME, json_schema, schema_text
from simulator.scenario.library import library, scenario_files
from simulator.scenario.reading import ScenarioRefusedError, parse_scenario
from tests.strategies.scenario_texts import VALID
from tests.strategies.simulated_clusters import scenario_text

FILES: Final = scenario_files((library(),))
VALIDATOR: Final = jsonschema.Draft202012Validator(json_schema())


def records(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what was written as JSON."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_scenario_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The list has each file once, with its number, its reason and what must come of it."""
    assert run(["scenario", "list", "--json"]) == 0

    *listed, summary = records(capsys)
    assert [Path(each["file"]) for each in listed] == FILES
    assert all(each["why"] and each["tags"] for each in listed)
    split_brain = next(each for each in listed if each["name"] == "d44_split_brain")
    assert split_brain["catalogue"] == "D44"
    assert split_brain["expected"] == ["OK", "OK-SCAN", "RETRY-OK"]
    assert {"cluster", "E1", "engine-twin"} <= set(split_brain["tags"])
    assert summary["scenarios"] == len(FILES)


def test_tags_narrow_the_list_down(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what has all the tags is listed; nothing left is an exit code of its own."""
    assert run(["scenario", "list", "--tag", "application", "--tag", "E3", "--json"]) == 0
    names = [each["name"] for each in records(capsys)[:-1]]
    assert names
    assert all(name.endswith("_reference_points") for name in names)

    assert run(["scenario", "list", "--tag", "nothing-like-it"]) == 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_scenario_can_be_drawn(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The drawing names every node, machine, volume and kind of happening."""
    scenario = parse_scenario(file.read_text("utf-8"), name=file.name)

    assert run(["scenario", "show", str(file)]) == 0

    drawn = capsys.readouterr().out
    names = [each.name for each in (*scenario.nodes, *scenario.machines)]
    names += [disk.volume for machine in scenario.machines for disk in machine.disks]
    names += [each.kind for each in scenario.happenings]
    assert scenario.why in drawn
    assert [name for name in names if name not in drawn] == []


def test_a_scenario_is_shown_by_its_name_or_number(capsys: pytest.CaptureFixture[str]) -> None:
    """A name is enough, and a number where it has one scenario."""
    assert run(["scenario", "show", "d20_migrate_between_snapshots"]) == 0
    by_name = capsys.readouterr().out
    assert run(["scenario", "show", "D20"]) == 0
    assert capsys.readouterr().out == by_name

    assert run(["scenario", "show", "D44"]) == 2
    assert "d44_split_brain, d44" in capsys.readouterr().err
    assert run(["scenario", "show", "D999"]) == 2


def test_check_says_everything_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usable files are named, unusable ones explained with file, line and key."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(VALID, "utf-8")
    bad.write_text(VALID.replace("slot = 1", "slot = 99"), "utf-8")

    code = run(["scenario", "check", str(good), str(bad)])

    said = capsys.readouterr().out.splitlines()
    assert code == 2
    assert said[0] == f"{good}: can be run"
    assert re.fullmatch(
        rf"{re.escape(str(bad))}:\d+: expect\[0\]\.slot: the machine has only \d+ slots .+", said[1]
    )
    assert len(said) == 2
    assert run(["scenario", "check"]) == 2
    assert run(["scenario", "check", str(tmp_path / "none.toml")]) == 2


def test_what_cannot_happen_is_refused_with_the_reason() -> None:
    """A guest that cannot be frozen never has an application-consistent point."""
    text = VALID.replace('guest = "vss"', 'guest = "none"')
    text += '\n[[expect]]\nmachine = "y"\nconsistency = "application"\n'

    with pytest.raises(ScenarioRefusedError, match="cannot be frozen"):
        parse_scenario(text, name="x.toml")


def test_new_writes_a_scenario_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written can be run as it is, holds, and names the schema beside it."""
    file = tmp_path / "mine.toml"

    assert run(["scenario", "new", str(file)]) == 0
    assert run(["scenario", "check", str(file)]) == 0
    assert run(["simulate", str(file), "--out", str(tmp_path / "out")]) == 0

    assert file.read_text("utf-8").startswith(f"#:schema {FILE_NAME}\n")
    assert (tmp_path / FILE_NAME).read_text("utf-8") == schema_text()
    capsys.readouterr()
    before = file.read_bytes()
    assert run(["scenario", "new", str(file)]) == 2
    assert "there already" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert run(["scenario", "new", str(tmp_path / "no" / "such.toml")]) == 2


def test_the_shipped_schema_is_todays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that comes with the scenarios is what the command writes."""
    shipped = library() / FILE_NAME

    assert run(["scenario", "schema", "--to", str(tmp_path / "s.json")]) == 0
    assert (tmp_path / "s.json").read_bytes() == shipped.read_bytes()
    capsys.readouterr()
    assert run(["scenario", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(shipped.read_bytes())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_scenario_fits_the_schema(file: Path) -> None:
    """An editor that checks by the schema has nothing against what can be run."""
    VALIDATOR.validate(tomllib.loads(file.read_text("utf-8")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('kind = "live-migration"', 'kind = "dead-migration"'),
        ('on = { at = "12m" }', "on = { at = 12 }"),
        ('size = "1 MiB"', 'size = "1 MB"'),
        ('guest = "none"', 'guests = "none"'),
        ("slot = 1", "slot = 0"),
    ],
)
def test_the_schema_finds_slips(old: str, new: str) -> None:
    """What the reader refuses for its form, an editor underlines already."""
    text = VALID.replace(old, new, 1)
    assert text != VALID

    with pytest.raises(ScenarioRefusedError):
        parse_scenario(text, name="x.toml")
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(tomllib.loads(text))


def test_a_scenario_is_tried_under_many_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each variant is run under every seed, and a seed that breaks something is named."""
    text = (
        scenario_text()
        + """
[[variants]]
id = "holds"

[[variants]]
id = "does-not"
expect = [{ machine = "x", slot = 1, outcome = ["REFUSED"] }]
"""
    )
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")

    assert run(["scenario", "check", str(file), "--seeds", "3..4", "--json"]) == 1

    *told, summary = records(capsys)
    broken = {
        each["title"]: [breach["seed"] for breach in each["breaches"]]
        for each in told
        if "breaches" in each
    }
    assert broken == {"mine[holds]": [], "mine[does-not]": [3, 4]}
    assert (summary["runs"], summary["broken"]) == (4, 2)


def test_what_chance_decides_is_asked_under_the_own_seed_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under any other seed the run has to keep the invariants, and nothing more."""
    impossible = (
        '[[expect]]\nmachine = "x"\nslot = 1\noutcome = ["REFUSED"]\nown_seed_only = true\n'
    )
    file = tmp_path / "mine.toml"
    file.write_text(f"{scenario_text()}\n{impossible}", encoding="utf-8")
    own = parse_scenario(file.read_text(encoding="utf-8"), name=file.name).seed

    assert run(["scenario", "check", str(file), "--seeds", f"{own}..{own + 2}", "--json"]) == 1
    assert run(["simulate", str(file), "--out", str(tmp_path / "own"), "--quiet"]) == 1
    assert run(["scenario", "show", str(file)]) == 0

    said = capsys.readouterr().out
    told = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    seeds = [breach["seed"] for each in told for breach in each.get("breaches", ())]
    assert seeds == [own]
    assert "outcome REFUSED (under its own seed)" in said


@pytest.mark.parametrize("seeds", ["", "5", "9..1", "1..2000000", "a..b", "-1..2", "1..2..3"])
def test_what_is_no_range_of_seeds_is_refused(
    seeds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence says what a range looks like."""
    assert run(["scenario", "check", str(FILES[0]), f"--seeds={seeds}"]) == 2

    assert "is no range of seeds; give it as 1..50" in capsys.readouterr().err
