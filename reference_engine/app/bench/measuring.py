"""One call of a program, measured: wall time, CPU time and peak memory of the whole tree."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.app.bench import launcher
from reference_engine.model.units import HOUR, KIB, SECOND, ByteCount, Duration

CALL_LIMIT: Final = Duration(6 * HOUR)
"""No call of a benchmark is waited for longer."""

_TOLD_MOST: Final = 300


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """How a program is called."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = {}
    """What is added to the environment."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one call cost."""

    wall: Duration
    cpu: Duration
    """User and system time of the process and of all processes that were waited for."""

    peak_memory: ByteCount
    """The most resident memory of the largest process among them."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """How one call ended."""

    cost: Cost
    exit_code: int
    said: str
    """Standard output."""

    complaint: str
    """The end of what it wrote to standard error, or of standard output where that is empty."""


def measure(call: Call, /) -> Measured:
    """Return what a call cost, and how it ended; a program that is missing ends with 127."""
    reading, writing = os.pipe()
    argv = [sys.executable, "-I", "-S", str(launcher.__file__), str(writing), *call.argv]
    with os.fdopen(reading, "rb") as results:
        try:
            # A group of its own, so that whatever it has started can be ended with it.
            process = subprocess.Popen(  # noqa: S603 - the benchmark's own calls, and no shell
                argv,
                cwd=call.cwd,
                env={**os.environ, **call.env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        with process:
            try:
                said, complained = process.communicate(timeout=CALL_LIMIT / SECOND)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        figures = results.read().split()
    complaint = _end_of(complained) or _end_of(said)
    if len(figures) != 4:
        nothing = Cost(wall=Duration(0), cpu=Duration(0), peak_memory=ByteCount(0))
        return Measured(cost=nothing, exit_code=127, said="", complaint=complaint)
    wall, cpu, peak, code = (int(figure) for figure in figures)
    return Measured(
        cost=Cost(wall=Duration(wall), cpu=Duration(cpu), peak_memory=ByteCount(peak * KIB)),
        exit_code=code,
        said=said.decode(errors="replace"),
        complaint=complaint,
    )


def stored_in(place: Path, /) -> tuple[ByteCount, int]:
    """Return bytes and number of the files below a directory."""
    sizes = [path.lstat().st_size for path in place.rglob("*") if path.is_file()]
    return ByteCount(sum(sizes)), len(sizes)


def _end_of(text: bytes) -> str:
    return " ".join(text[-_TOLD_MOST * 4 :].decode(errors="replace").split())[-_TOLD_MOST:]
