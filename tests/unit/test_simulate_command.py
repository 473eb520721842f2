"""Simulations on the command line leave a whole report or none, and can be repeated from it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest

from reference_engine.formats.opening import open_disk_image
from reference_engine.model.recovery_point import Consistency
from simulator.campaign.trial import Trial, run_trial, subjects_of
from simulator.scenario.reading import parse_scenario
from tests.strategies.simulation_places import QUIET, Place, place

__all__ = ["place"]
VARIANTS: Final = """
[[variants]]
id = "crash"

[[variants.happenings]]
kind = "engine-crash"
down_for = "1m"
on = { machine = "x", step = 10, occurrence = 2 }

[[variants]]
id = "silent"

[[variants.happenings]]
kind = "guest-silence"
machine = "x"
"""

FILES: Final = {"report.html", "trace.json", "junit.xml", "result.json", "repository"}


def tried(text: str, seed: int) -> Trial:
    """Return the same run without a command line, with everything that the oracle knows."""
    scenario = parse_scenario(text, name="night.toml")
    [subject] = subjects_of(scenario, name="night", path=None, seed=seed, images={})
    return run_trial(subject, restore_again=False)


def content_of(path: Path) -> bytes:
    """Return what a restored image holds."""
    if path.suffix == ".raw":
        return path.read_bytes()
    with open_disk_image(path) as image:
        return image.read(type(image.size)(0), image.size)


def assert_whole(report: Path) -> dict[str, Any]:
    """Assert that every file of a report is there to its end, and return its result."""
    assert {path.name for path in report.iterdir()} == FILES
    page = (report / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert json.loads((report / "trace.json").read_text())["traceEvents"]
    suite = ET.parse(report / "junit.xml").getroot()  # noqa: S314 - we wrote it
    assert list(suite.iter("testcase"))
    assert list((report / "repository").iterdir())
    result: dict[str, Any] = json.loads((report / "result.json").read_text())
    return result


def test_a_report_is_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an option the report is in reports/latest, complete, and nothing else is left."""
    monkeypatch.chdir(place.root)

    code, out, err = place.run("simulate", "night.toml")

    assert (code, err) == (0, "")
    result = assert_whole(place.root / "reports" / "latest")
    assert f"trace digest {result['trace_digest']} (seed 1)" in out
    assert result["holds"]
    assert "reports/latest/report.html" in out
    assert list(Path("reports").iterdir()) == [Path("reports/latest")]
    assert place.names() == {"night.toml", "reports"}


def test_every_line_is_a_record_for_programs(place: Place) -> None:
    """Points come first, then the verdict of each invariant, then the summary."""
    *records, summary = place.records("simulate", place.scenario, "--out", place.out)

    result = assert_whole(place.out)
    points = [record for record in records if record["type"] == "point"]
    verdicts = [record for record in records if record["type"] == "verdict"]
    assert [*points, *verdicts] == records
    assert [point["holds"] for point in points] == [True, True]
    assert [verdict["id"] for verdict in verdicts] == [each["id"] for each in result["verdicts"]]
    assert all(verdict["holds"] is not False for verdict in verdicts)
    assert summary == {
        "type": "summary",
        "trials": 1,
        "failed": [],
        "trace_digest": result["trace_digest"],
        "report": str(place.out),
        "exit_code": 0,
    }


def test_a_seed_is_a_course(place: Place) -> None:
    """The same seed gives the same digest and the same points, another seed others."""
    first = place.simulated("--seed", 7)
    points = json.loads((place.out / "result.json").read_text())["points"]
    again = place.simulated("--seed", 7)
    points_again = json.loads((place.out / "result.json").read_text())["points"]
    other = place.simulated("--seed", 8)

    assert again == first
    assert points_again == points
    assert other["trace_digest"] != first["trace_digest"]


@pytest.mark.parametrize("more", ["", VARIANTS], ids=["one run", "several runs"])
def test_a_result_is_replayed(place: Place, more: str) -> None:
    """A result.json holds all that its runs need, wherever it lies."""
    place.scenario.write_text(QUIET + more)
    first = place.simulated("--seed", 9)
    moved = (place.out / "result.json").rename(place.root / "kept.json")
    place.scenario.unlink()

    again = place.records("replay", moved, "--out", place.root / "again")[-1]

    assert (again["trials"], again["failed"]) == (first["trials"], [])
    assert again["trace_digest"] == first["trace_digest"]
    results = [json.loads(file.read_text()) for file in (moved, place.root / "again/result.json")]
    assert results[0] == results[1]


def test_a_replay_that_takes_another_course_is_a_finding(place: Place) -> None:
    """The digest that was recorded is the one that has to come out."""
    digest = place.simulated()["trace_digest"]
    file = place.out / "result.json"
    file.write_text(file.read_text().replace(f'"trace_digest": "{digest}"', '"trace_digest": "0"'))

    code, out, _ = place.run("replay", file, "--out", place.root / "again")

    assert code == 1
    assert "FAIL night: trace digest 0 was recorded" in out
    assert digest in out


def test_a_broken_expectation_is_a_finding(place: Place) -> None:
    """A run that does not do what its scenario expects ends with 1 and is reported whole."""
    expects = '[[expect]]\nmachine = "x"\nslot = 1\ntransfer = ["incremental"]\n'
    place.scenario.write_text(QUIET + expects)

    *records, summary = place.records("simulate", place.scenario, "--out", place.out, code=1)

    assert summary["failed"] == ["night"]
    assert [each["id"] for each in records if each.get("holds") is False] == ["expect:x slot 1"]
    assert not assert_whole(place.out)["holds"]


def test_several_runs_have_a_report_each(place: Place) -> None:
    """A few variants lie side by side, and one result.json names them all."""
    place.scenario.write_text(QUIET + VARIANTS)

    *records, summary = place.records("simulate", place.scenario, "--out", place.out)

    assert [record["name"] for record in records] == ["night[crash]", "night[silent]"]
    assert summary["trials"] == 2
    assert {path.name for path in place.out.iterdir()} == {
        "night-crash",
        "night-silent",
        "result.json",
    }
    digests = [assert_whole(place.out / name)["trace_digest"] for name in ("night-crash",)]
    assert records[0]["trace_digest"] == digests[0]


def test_an_exported_repository_is_an_ordinary_one(place: Place) -> None:
    """The commands for disk files list, verify and restore what the simulated engine wrote."""
    digest = place.simulated("--seed", 3)["trace_digest"]
    repo = place.out / "repository"
    trial = tried(QUIET, 3)
    assert trial.digest == digest
    points = trial.evidence.points()

    *listed, summary = place.records("points", "--repo", repo)
    verified = place.records("verify", "--repo", repo)[-1]

    assert [point["id"] for point in listed] == [point.id for point in points]
    assert summary["damaged"] == 0
    assert (verified["points"], verified["intact"]) == (2, 2)
    for point, suffix in zip(points, (".raw", ".vhdx"), strict=True):
        target = place.root / f"{point.id}{suffix}"
        place.records("restore", point.id, "--repo", repo, "--to", target)
        [record] = point.disks
        truth = trial.evidence.true_image(point, record)
        expected = bytearray(trial.evidence.contents[record.disk].read(truth, 0, record.size))
        for hidden in record.mask:
            expected[hidden.offset : hidden.end] = bytes(hidden.length)
        assert point.consistency is Consistency.APPLICATION
        assert content_of(target) == expected


def test_an_earlier_report_is_replaced_as_a_whole(place: Place) -> None:
    """No file of the earlier report survives, whatever the runs were."""
    place.scenario.write_text(QUIET + VARIANTS)
    place.simulated()
    place.scenario.write_text(QUIET)

    place.simulated()

    assert_whole(place.out)
    assert place.names() == {"night.toml", "night"}


def test_an_empty_directory_may_become_the_report(place: Place) -> None:
    """A directory that was made for the report is a place for it."""
    place.out.mkdir()

    place.simulated()

    assert_whole(place.out)


def test_a_mutant_is_found_by_the_command(place: Place) -> None:
    """One planted bug: the engine without it is clean, and with it is not."""
    mutant, summary = place.records("mutants", "tg-th-swapped", "--seeds", 1)

    assert (mutant["name"], mutant["killed"], mutant["invariant"]) == ("tg-th-swapped", True, "I4")
    assert (summary["killed"], summary["alive"], summary["engine_clean"]) == (1, [], True)


def half_written(place: Path) -> bool:
    """Return whether the first of several reports has its first file."""
    return any(place.glob("*/report.html"))


def nearly_done(place: Path) -> bool:
    """Return whether two of several reports are written."""
    return len(list(place.glob("*/repository"))) > 1


@pytest.mark.parametrize("moment", [half_written, nearly_done])
@pytest.mark.parametrize("earlier", ["first report", "report after another"])
def test_an_interrupt_leaves_no_half_report(
    place: Place, moment: Callable[[Path], bool], earlier: str
) -> None:
    """Ctrl-C ends with 130; what was there before stays whole, and nothing partial appears."""
    if earlier == "report after another":
        place.simulated()
    place.scenario.write_text(QUIET.replace('"40m"', '"4h"') + VARIANTS * 2)
    place.scenario.write_text(
        place.scenario.read_text().replace('"silent"', '"mute"', 1).replace('"crash"', '"cut"', 1)
    )
    before = place.files()
    partial = place.root / ".night.partial"
    module = "reference_engine.app.command_line"
    line = [sys.executable, "-m", module, "simulate", place.scenario, "--out", place.out]

    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        while not moment(partial) and ran.poll() is None:
            pass
        ran.send_signal(signal.SIGINT)
        _, err = ran.communicate()

    assert ran.returncode == 130
    assert err == "twinshot: interrupted; nothing incomplete passes for whole\n"
    assert place.files() == before
