"""Simulations that cannot be run or reported are refused clearly, and leave no file behind."""

import json
from typing import Final

import pytest

from tests.strategies.mounts import mounted
from tests.strategies.simulation_places import QUIET, Place, place

__all__ = ["place"]


@pytest.mark.parametrize("name", ["Thesis final.doc", "report.html", ".hidden"])
def test_a_foreign_directory_is_left_alone(place: Place, name: str) -> None:
    """What no earlier run has written is refused as a place for the report, untouched."""
    place.out.mkdir()
    (place.out / name).write_bytes(b"precious")

    text = place.refused_untouched("simulate", place.scenario, "--out", place.out)

    assert "is no report of an earlier run" in text
    assert "--out" in text


@pytest.mark.parametrize("out", ["night.toml", "night.toml/report", "/proc/report", "/dev/null"])
def test_a_place_that_cannot_hold_a_report_is_refused(place: Place, out: str) -> None:
    """Nothing is simulated before it is sure where the report goes."""
    text = place.refused_untouched("simulate", place.scenario, "--out", place.root / out)

    assert "name another directory with --out" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("options", ["size=64k", "nr_inodes=6"])
def test_a_report_that_does_not_fit_leaves_nothing(place: Place, options: str) -> None:
    """A full disk is said in one sentence, and no part of the report stays."""
    with mounted(place.root / "small", options):
        out = place.root / "small" / "night"

        text = place.refused_untouched("simulate", place.scenario, "--out", out, code=4)

        assert "no space left on device" in text


def test_a_read_only_place_is_refused(place: Place) -> None:
    """A report cannot be written where nothing can."""
    with mounted(place.root / "sealed", "ro"):
        out = place.root / "sealed" / "night"

        text = place.refused_untouched("simulate", place.scenario, "--out", out, code=4)

        assert "read-only file system" in text


IMPOSSIBLE: Final = (
    QUIET.replace('node = "A"\nguest', 'node = "C"\nguest')
    .replace('volume = "V1", size', 'volume = "V7", size')
    .replace('coordinator = "B"', 'coordinator = "Q"')
    .replace('longest = "8s"', 'longest = "2s"')
)


def line_of(text: str, part: str) -> int:
    """Return the number of the first line that holds `part`."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


BAD_SCENARIOS: Final[dict[str, tuple[str, list[tuple[str, str]]]]] = {
    "empty": ("", [("", "why"), ("", "duration"), ("", "nodes")]),
    "garbage": ("PK\x03\x04 what is this", [("PK", "not valid TOML")]),
    "unknown key": (QUIET + 'colour = "red"\n', [("colour", "machines[0].colour: unknown key")]),
    "wrong unit": (
        QUIET.replace('duration = "40m"', 'duration = "40 MiB"'),
        [("duration", "duration: ")],
    ),
    "no unit": (QUIET.replace('"512 KiB + 512 B"', "512"), [("disks", "disks[0].size")]),
    "impossible": (
        IMPOSSIBLE,
        [
            ('coordinator = "Q"', "volumes[1].coordinator: there is no node 'Q'"),
            ('node = "C"', "machines[0].node: there is no node 'C'"),
            ("disks", "machines[0].disks[0].volume: there is no volume 'V7'"),
            ('longest = "2s"', "skew.longest: is shorter than the shortest"),
        ],
    ),
}


@pytest.mark.parametrize("command", ["simulate", "replay"])
@pytest.mark.parametrize("kind", BAD_SCENARIOS)
def test_a_bad_scenario_is_explained_line_by_line(place: Place, kind: str, command: str) -> None:
    """Every mistake is named at once, with file, line and key, and no report is begun."""
    text, complaints = BAD_SCENARIOS[kind]
    file = place.written("bad.toml", text)

    said = place.refused_untouched(command, file, "--out", place.out).splitlines()

    for part, complaint in complaints:
        where = f"{file}:{line_of(text, part) if part else 1}: "
        assert any(line.startswith(where) and complaint in line for line in said), said


def test_a_missing_scenario_is_said_to_be_missing(place: Place) -> None:
    """All paths that name nothing are named at once."""
    (place.root / "empty").mkdir()
    paths = (place.root / "gone.toml", place.scenario, place.root / "empty")

    said = place.refused_untouched("simulate", *paths, "--out", place.out)

    assert "gone.toml: no such file" in said
    assert "empty: there is no scenario file" in said
    assert "night.toml" not in said


def test_a_binary_file_is_no_scenario(place: Place) -> None:
    """Bytes that are no text are refused as such."""
    place.scenario.write_bytes(bytes(range(256)) * 50)

    assert "no scenario file" in place.refused_untouched(
        "simulate", place.scenario, "--out", place.out
    )


@pytest.mark.parametrize("content", [None, b"", b"Dear Sir or Madam, " * 1000, b"vhdxfile" * 900])
def test_what_is_no_disk_is_not_put_into_a_guest(place: Place, content: bytes | None) -> None:
    """A missing, empty or foreign file is refused by name before anything runs."""
    disk = place.root / "web.vhdx"
    if content is not None:
        disk.write_bytes(content)

    assert "web.vhdx" in place.refused_untouched("simulate", "--disk", disk, "--out", place.out)


def test_an_image_that_a_scenario_names_has_to_be_there(place: Place) -> None:
    """Images are looked for beside the scenario."""
    place.scenario.write_text(QUIET.replace('size = "512 KiB + 512 B"', 'image = "gone.raw"'))

    assert "gone.raw" in place.refused_untouched("simulate", place.scenario, "--out", place.out)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "no JSON",
        "{}",
        '{"trials": 3}',
        '{"trials": [{"schema": "twinshot/result/1"}]}',
        '{"schema": "twinshot/result/99", "scenario": {}, "seed": 1}',
        '{"schema": "twinshot/result/1", "scenario": {"why": "not enough"}, "seed": 1}',
    ],
)
def test_what_is_no_result_is_not_replayed(place: Place, content: str | None) -> None:
    """Somebody else's JSON, another format's and a damaged result are one kind of mistake."""
    file = place.root / "result.json"
    if content is not None:
        file.write_text(content)

    text = place.refused_untouched("replay", file, "--out", place.out)

    assert f"{file} is no result of an earlier run" in text


@pytest.mark.parametrize("seed", ["-1", str(2**63), "seven", ""])
def test_a_seed_is_a_number_from_zero_on(place: Place, seed: str) -> None:
    """Any other seed is refused."""
    text = place.refused_untouched("simulate", place.scenario, "--out", place.out, f"--seed={seed}")

    assert "seed" in text
    assert text.count("\n") == 1


def test_errors_are_records_for_programs(place: Place) -> None:
    """With --json the last line says why, with the exit code."""
    code, out, _ = place.run("--json", "simulate", place.root / "gone.toml", "--out", place.out)

    record = json.loads(out.splitlines()[-1])
    assert (code, record["type"], record["exit_code"]) == (2, "error", 2)
    assert "gone.toml" in record["message"]


def test_an_unknown_mutant_gets_the_list(place: Place) -> None:
    """A mistyped name is answered with the names that there are."""
    text = place.refused_untouched("mutants", "skew-not-carried", "scew-not-carried")

    assert "'scew-not-carried'" in text
    assert "skew-not-carried" in text
    assert "at least one" in place.refused_untouched("mutants", "--seeds", 0)
