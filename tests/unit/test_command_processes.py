"""A command as a process: interrupts, pipes, limits and mistakes of our own."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.strategies.disk_places import Place, disk, place

__all__ = ["place"]


def test_an_interrupt_leaves_no_point(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while blocks are being stored ends with 130, and no object of the run remains."""
    place.back_up()
    before = place.files()
    place.source.write_bytes(disk(2))
    link = os.link

    def interrupting(source: str, target: str) -> None:
        if Path(target).parent.name == "packs":
            signal.raise_signal(signal.SIGINT)
        link(source, target)

    monkeypatch.setattr(os, "link", interrupting)
    assert "interrupted" in place.refused(130, "backup", place.source, "--repo", place.repo)
    monkeypatch.undo()

    # That the run was opened and closed stays in the history. A pack may still arrive from the
    # thread that was writing it, but nothing refers to it.
    later = {name for name in place.files() - before if not name.startswith("repository/packs/")}
    entries = {"log/0000000003", "log/0000000004"}
    entries |= {f"copies/{name}" for name in entries}
    assert later == {f"repository/{name}" for name in entries}
    assert len(place.records("points", "--repo", place.repo)) == 2
    assert place.run("verify", "--repo", place.repo)[0] == 0


def test_an_internal_error_is_one_sentence_and_a_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw ends with 70; the details are in a file, not on the screen."""

    def broken(_: int) -> bytes:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "urandom", broken)
        sentence = place.refused(70, "backup", place.source, "--repo", place.repo)
    crash = Path(sentence.split()[-1])
    assert "ZeroDivisionError" in crash.read_text()
    crash.unlink()


def command(*tokens: object) -> list[str]:
    """Return the command line of a process of its own."""
    module = "reference_engine.app.command_line"
    return [sys.executable, "-m", module, *(str(token) for token in tokens)]


def test_help_is_quick(place: Place) -> None:
    """Help loads neither arrays nor the simulator, and lists every command."""
    code = (
        "import sys; from reference_engine.app.command_line import run; run(['--help']);"
        "assert 'numpy' not in sys.modules; assert 'simulator' not in sys.modules"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    for name in ("backup", "points", "restore", "verify", "simulate", "replay", "mutants"):
        assert name in ended.stdout
    del place


def test_a_closed_pipe_is_no_error(place: Place) -> None:
    """When the reader of the output leaves, the command ends without a word."""
    place.back_up()
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        command("points", "--repo", place.repo), check=False, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_limit_on_file_sizes_is_a_refusal(place: Place) -> None:
    """A process that may not write large files says so, and leaves nothing visible."""
    ended = subprocess.run(
        command("backup", place.source, "--repo", place.repo),
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )

    assert ended.returncode == 4
    assert "raise the limit" in ended.stderr
    assert ended.stderr.count("\n") == 2  # the repository was created, and why it ended
    assert place.records("points", "--repo", place.repo)[-1]["points"] == 0


def test_a_process_without_assertions_refuses_to_start(place: Place) -> None:
    """The engine's assertions are part of its safety."""
    line = command("points", "--repo", place.repo)
    ended = subprocess.run([line[0], "-O", *line[1:]], check=False, capture_output=True)

    assert ended.returncode == 2
    assert b"-O" in ended.stderr
