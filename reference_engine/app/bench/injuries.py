"""What is done to a tool's repository, and to the tool at work: flipped bits and sudden deaths."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from reference_engine.app.bench.draws import Draws
from reference_engine.app.bench.measuring import Call
from reference_engine.model.units import SECOND, Duration

_EVERY_THIRD = 3


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """One bit of one file that is other than it was written."""

    path: str
    """Below the repository."""

    offset: int
    bit: int


def choose_flip(repository: Path, draws: Draws, /, *, trial: int) -> Flip:
    """Return a bit to flip: mostly of any byte, every third time of any kind of file.

    Nearly all bytes are data, and what matters most is small; so neither way alone would do.
    """
    sizes = {
        path.relative_to(repository): path.stat().st_size
        for path in sorted(repository.rglob("*"))
        if path.is_file() and path.stat().st_size
    }
    if trial % _EVERY_THIRD == _EVERY_THIRD - 1:
        kinds = sorted({path.parts[0] for path in sizes})
        kind = kinds[(trial // _EVERY_THIRD) % len(kinds)]
        of_kind = [path for path in sizes if path.parts[0] == kind]
        chosen = of_kind[draws.below(len(of_kind))]
        return Flip(path=str(chosen), offset=draws.below(sizes[chosen]), bit=draws.below(8))
    at = draws.below(sum(sizes.values()))
    for path, size in sizes.items():
        if at < size:
            return Flip(path=str(path), offset=at, bit=draws.below(8))
        at -= size
    raise AssertionError(at)


def flip(repository: Path, injury: Flip, /) -> None:
    """Change the bit, whatever the file's permissions say."""
    path = repository / injury.path
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(injury.offset)
        [byte] = file.read(1)
        file.seek(injury.offset)
        file.write(bytes([byte ^ (1 << injury.bit)]))


def kill_midway(calls: Sequence[Call], /, *, after: Duration) -> bool:
    """Run the calls, and kill what runs, with all its children, once `after` has passed.

    Returns whether anything was still running. Nothing of it is left.
    """
    left = after / SECOND
    for call in calls:
        began = os.times().elapsed
        process = subprocess.Popen(  # noqa: S603 - the benchmark's own calls, and no shell
            call.argv,
            cwd=call.cwd,
            env={**os.environ, **call.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=max(left, 0))
        except subprocess.TimeoutExpired:
            return True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        left -= os.times().elapsed - began
    return False
