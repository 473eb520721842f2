"""By which names people find scenarios and earlier runs."""

import json
from pathlib import Path

import pytest

from simulator.campaign.sources import source_named
from simulator.scenario.library import library, one_scenario_file, scenario_files
from simulator.scenario.reading import ScenarioRefusedError
from tests.strategies.command_line import CommandLine

D20 = "d20_migrate_between_snapshots"
D17 = ["d17_no_scsi_controller", "d17_no_scsi_controller_required"]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """Return the command line in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        ([D20], [D20]),
        (["D20"], [D20]),
        (["d17"], D17),
        (["D17", D17[1], "D20"], [*D17, D20]),
        ([library() / "vss", "D17"], [file.stem for file in sorted((library() / "vss").iterdir())]),
    ],
)
def test_scenarios_have_names_and_numbers(names: list[str], stems: list[str]) -> None:
    """Several may share a number; none is named twice."""
    assert [file.stem for file in scenario_files(names)] == stems


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("D99", "there is no scenario 'D99'; `twinshot scenario list` names them"),
        ("D2", "there is no scenario 'D2'"),
        ("d20_migrate_betwen_snapshots", f"did you mean {D20}?"),
        ("D20.toml", "D20.toml: no such file"),
        (f"here/{D20}", "no such file"),
        ("D17", f"D17 has 2 scenarios; choose from {', '.join(D17)}"),
    ],
)
def test_what_is_no_one_scenario_is_refused(name: str, sentence: str) -> None:
    """The hint is the name that was meant, or the way to the list."""
    with pytest.raises(ScenarioRefusedError) as refusal:
        one_scenario_file(name)
    assert sentence in str(refusal.value)


def test_what_lies_here_goes_before_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of the same name is what is meant."""
    monkeypatch.chdir(tmp_path)
    Path(D20).mkdir()
    with pytest.raises(ScenarioRefusedError, match="no scenario file"):
        scenario_files([D20])


def test_a_run_goes_on_by_its_name_and_its_report(command: CommandLine) -> None:
    """A scenario is run, looked into and run again without a path into the installation."""
    code, out, _ = command.run("simulate", "D20", "--out", "report")
    assert code == 0
    digest = json.loads(Path("report/result.json").read_text("utf-8"))["trace_digest"]
    assert digest in out

    by_report = command.run("replay", "report", "--out", "again")[1]
    assert "event for event as recorded" in by_report
    assert digest in command.run("replay", D20, "--out", "again")[1]
    stories = [command.run("explain", "latest", "--from", each)[1] for each in ("report", "D20")]
    assert stories[0] == stories[1] != ""
    assert command.run("scenario", "check", "D17", "--seeds", "1..2")[0] == 0
    assert "choose from" in command.refused(2, "replay", "D17")
    assert "there is no scenario" in command.refused(2, "simulate", "D20", "nothing")


def test_a_report_of_several_runs_is_all_of_them(command: CommandLine) -> None:
    """The directory stands for its result.json."""
    assert command.run("simulate", "D17", "--out", "report")[0] == 0
    with source_named("report") as source:
        assert [subject.name for subject in source.subjects][:1] == D17[:1]
        assert {subject.name for subject in source.subjects} == {*D17}
