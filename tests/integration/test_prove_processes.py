"""Real processes may die and fail at any call: a sample of what `prove kills` and `errors` do."""

import json
import subprocess
import sys
from typing import Any

import pytest


def proved(*tokens: str) -> tuple[int, list[dict[str, Any]]]:
    """Run `prove` in a process without threads, which may fork; return its code and records."""
    done = subprocess.run(
        [sys.executable, "-m", "reference_engine.app.command_line", "prove", *tokens, "--json"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("operation", "every"),
    [("init-and-backup", 61), ("backup-of-two-disks", 71), ("prune", 37), ("restore-vhdx", 23)],
)
def test_a_killed_process_loses_nothing(operation: str, every: int) -> None:
    """Old points restore, the same command works without help, and nothing is left over."""
    code, records = proved("kills", operation, "--every", str(every))

    assert code == 0, records
    assert records[-1]["points"] >= 2


@pytest.mark.parametrize(
    ("operation", "every"),
    [("init-and-backup", 601), ("next-backup", 501), ("prune", 701), ("restore-raw", 171)],
)
def test_a_failing_call_loses_nothing(operation: str, every: int) -> None:
    """The command says so in one sentence or succeeds all the same, and the next one works."""
    code, records = proved("errors", operation, "--every", str(every))

    assert code == 0, records
    assert records[-1]["points"] >= 2


def test_a_loss_would_be_noticed() -> None:
    """With packs that are deleted behind its back, a repository is told to have lost points."""
    script = """
import sys
from simulator.campaign.proving import kills_command, operations
from reference_engine.app.command_line import run

def destroy(place):
    for pack in (place / "repo" / "packs").iterdir():
        pack.unlink()
    return 0

[operation] = [each for each in operations.OPERATIONS if each.name == "next-backup"]
import msgspec
bad = msgspec.structs.replace(operation, act=destroy)
kills_command.OPERATIONS = (bad,)
sys.exit(run(["prove", "kills", "--every", "3"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True
    )

    assert done.returncode == 1, done.stderr
    assert "lost" in done.stdout
