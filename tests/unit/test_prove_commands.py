"""`prove repository` and `prove schedules` say what was lost, and how to see it again."""

import json
from pathlib import Path

import pytest

from reference_engine.app.command_line import run

Lines = list[dict[str, object]]


def said(capsys: pytest.CaptureFixture[str], *tokens: str) -> tuple[int, Lines]:
    """Run a command with `--json`; return its exit code and its records."""
    code = run([*tokens, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_seeds_that_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary counts what was tried, and its digest stands for all of it."""
    code, [summary] = said(capsys, "prove", "repository", "--seeds", "1..12")
    again, [other] = said(capsys, "prove", "repository", "--seeds", "1..12", "-j", "2")

    assert (code, again) == (0, 0)
    assert summary["seeds"] == 12
    assert summary["failures"] == []
    assert summary["digest"] == other["digest"]


def test_a_loss_is_a_finding_with_a_command_that_shows_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A seed that loses something can be replayed by the very line that is printed."""
    code, [failure, summary] = said(
        capsys,
        *["prove", "repository", "--seeds", "3", "--mode", "posix", "--mutant", "no-name-flush"],
    )

    assert code == 1
    assert summary["failures"] == [3]
    command = str(failure["replay"]).split()[1:]
    assert run(command) == 1
    shown = capsys.readouterr().out
    assert "the power is cut" in shown
    assert "FAIL seed 3" in shown


def test_a_schedule_that_loses_something(capsys: pytest.CaptureFixture[str]) -> None:
    """A stop is named with its pair, its mode and the call."""
    code, [failure, summary] = said(
        capsys,
        *["prove", "schedules", "two-create", "--mode", "posix", "--stop-after", "8"],
        *["--mutant", "visible-directory-trusted"],
    )

    assert code == 1
    assert summary["failures"] == 1
    assert run(str(failure["replay"]).split()[1:]) == 1


def test_schedules_that_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Every stop of a pair is tried in both modes."""
    code, [summary] = said(capsys, "prove", "schedules", "reader-and-backup")

    assert code == 0
    assert summary["schedules"] > 100  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("repository --seeds 9..1", "no range of seeds"),
        ("repository --seeds 1..2 --steps", "many seeds"),
        ("repository --seeds 1..99999999999", "too many seeds"),
        ("repository --mutant none", "there is no mutant"),
        ("repository -j 0", "cannot work"),
        ("schedules nobody", "there is no pair"),
        ("schedules --stop-after -1", "cannot be made"),
    ],
)
def test_requests_that_cannot_be_met(
    options: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One sentence, and the code for input."""
    del tmp_path
    assert run(["prove", *options.split()]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
