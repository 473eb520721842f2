"""A fork for each piece of work: everything is imported once, and a child may die of it."""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Final

import msgspec

_PATIENCE_S: Final = 300


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a child ended."""

    code: int
    """Its exit code, or minus the number of the signal that killed it."""

    report: bytes
    """What the work returned; empty where it died."""

    complaint: str
    """What it wrote to standard error."""


def in_child(work: Callable[[], tuple[int, bytes]], /) -> Ended:
    """Return how a child process ended that did `work`, which returns its exit code and a report.

    Standard output goes nowhere. A child that takes for ever is ended by an alarm.
    """
    report_out, report_in = os.pipe()
    error_out, error_in = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(report_out)
        os.close(error_out)
        _work(work, report_in, error_in)
    os.close(report_in)
    os.close(error_in)
    try:
        report, complaint = _read(report_out), _read(error_out)
        _, status = os.waitpid(child, 0)
    except BaseException:
        # We end; it would go on in a directory that we are about to remove.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return Ended(
        code=os.waitstatus_to_exitcode(status),
        report=report,
        complaint=complaint.decode(errors="replace"),
    )


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def _work(work: Callable[[], tuple[int, bytes]], report_in: int, error_in: int) -> None:
    code = 70
    try:
        signal.alarm(_PATIENCE_S)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(error_in, 2)
        # Python's own streams may belong to whoever started us, such as a test that captures them.
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        code, report = work()
        os.write(report_in, report)
    except BaseException:  # noqa: BLE001 - the child's outermost frame
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_command(*tokens: str) -> int:
    """Run one command line in this process and return its exit code."""
    command_line = importlib.import_module("reference_engine.app.command_line")
    code: int = command_line.run(tokens)
    return code
