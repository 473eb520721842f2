"""`twinshot bench damage` injures tools alike, and tells a refusal from a wrong restore."""

import json
from pathlib import Path

import pytest

from reference_engine.app.bench.draws import Draws
from reference_engine.app.bench.injuries import choose_flip, flip, kill_midway
from reference_engine.app.bench.measuring import Call
from reference_engine.model.units import MILLISECOND, Duration, seconds
from tests.strategies.command_line import CommandLine


def test_a_tool_is_injured_and_looked_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flips are noticed, nothing is restored wrong, what dies loses no point; only results stay."""
    options = ("--size", "8MiB", "--trials", 1, "--peers", "none", "--out", tmp_path / "out")
    records = CommandLine(capsys).records("bench", "damage", *options)
    ours, parity = [record for record in records if record["type"] == "endured"]
    lines_of_trials = (tmp_path / "out" / "trials.jsonl").read_text("utf-8").splitlines()
    trials = json.loads(lines_of_trials[0])

    assert (ours["flips"], ours["flipped_points"], ours["wrong"]) == (1, 3, 0)
    assert ours["backups_kept"] == ours["backups_went_on"] == ours["backups_whole"]
    assert ours["prunes_kept"] == ours["prunes_went_on"] == ours["prunes_whole"]
    assert len(trials["flips"]) == 1
    # Parity puts a flipped bit right as it is read.
    assert (parity["tool"], parity["same"]) == ("twinshot parity", 3)
    assert {each["doing"] for each in trials["kills"]} <= {"backup", "prune"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "report.html",
        "trials.jsonl",
    ]
    assert "Nothing was restored wrong" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_no_trials_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They would show nothing, and leave nothing behind."""
    out = tmp_path / "out"
    said = CommandLine(capsys).refused(2, "bench", "damage", "--trials", 0, "--out", out)

    assert "show nothing" in said
    assert not out.exists()


def test_one_bit_of_one_file_flips(tmp_path: Path) -> None:
    """The same seed chooses the same bit; flipping it twice changes nothing; kinds take turns."""
    for kind, size in (("data", 5000), ("small", 3)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "file").write_bytes(bytes(size))
    before = (tmp_path / "data" / "file").read_bytes(), (tmp_path / "small" / "file").read_bytes()
    chosen = [choose_flip(tmp_path, Draws(1, str(trial)), trial=trial) for trial in range(9)]

    assert chosen == [choose_flip(tmp_path, Draws(1, str(n)), trial=n) for n in range(9)]
    assert [each.path for each in chosen[2::3]] == ["data/file", "small/file", "data/file"]
    for each in chosen:
        flip(tmp_path, each)
        content = (tmp_path / each.path).read_bytes()
        assert content[each.offset] == 1 << each.bit
        flip(tmp_path, each)
    after = (tmp_path / "data" / "file").read_bytes(), (tmp_path / "small" / "file").read_bytes()
    assert before == after


def test_what_runs_is_killed_with_its_children(tmp_path: Path) -> None:
    """A call that has ended is not killed, and the next one is."""

    def call(script: str) -> Call:
        return Call(argv=("/bin/sh", "-c", script), cwd=tmp_path)

    assert not kill_midway([call("true")], after=seconds(60))
    assert kill_midway(
        [call("touch one"), call("read x < /dev/tty || tail -f /dev/null")],
        after=Duration(300 * MILLISECOND),
    )
    assert (tmp_path / "one").exists()
