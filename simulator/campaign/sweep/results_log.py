"""The log of a campaign: one line a seed, appended, so that a later call knows what is done.

Only the campaign's own process writes. A line without its end was cut off by a crash: it counts as
not written, and the seed is done again. Every file `results*.jsonl` of the directory is read, so
shards that were run elsewhere are merged by copying their files here; a seed that stands in two of
them counts once.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec
from blake3 import blake3

from reference_engine.model.errors import InputRefusedError
from simulator.campaign.sweep.seeds import SeedResult

SCHEMA: Final = "twinshot/campaign/2"
_PATTERN: Final = "results*.jsonl"
_ROOT: Final = Path(__file__).resolve().parents[3]
_PACKAGES: Final = ("reference_engine", "simulator")
_RESULT: Final = msgspec.json.Decoder(SeedResult)


class LogHeading(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a log: results of another engine do not add up with these."""

    schema: str
    program: str
    """Digest over the sources of engine and simulator."""

    mutant: str | None


_HEADING: Final = msgspec.json.Decoder(LogHeading)


def heading(mutant: str | None, /) -> LogHeading:
    """Return the heading of logs that this program writes."""
    digest = blake3()
    for package in _PACKAGES:
        for module in sorted((_ROOT / package).rglob("*.py")):
            digest.update(module.relative_to(_ROOT).as_posix().encode() + b"\0")
            digest.update(module.read_bytes() + b"\0")
    return LogHeading(schema=SCHEMA, program=digest.hexdigest()[:16], mutant=mutant)


def read_results(directory: Path, expected: LogHeading, /) -> dict[int, SeedResult]:
    """Return the result of every seed that any log of the directory holds.

    Raises:
        InputRefusedError: a log is damaged, or another program or mutant wrote it.
    """
    results: dict[int, SeedResult] = {}
    for file in sorted(directory.glob(_PATTERN)):
        lines = _whole_lines(file)
        try:
            if not lines:
                continue
            if _HEADING.decode(lines[0]) != expected:
                raise InputRefusedError(
                    f"{file} was written by another version of engine and simulator, "
                    "or with another mutant",
                    "name another directory with --out",
                )
            for line in lines[1:]:
                result = _RESULT.decode(line)
                results.setdefault(result.seed, result)
        except msgspec.DecodeError:
            raise InputRefusedError(
                f"{file} is no log of a campaign", "name another directory with --out"
            ) from None
    return results


def _whole_lines(file: Path) -> list[bytes]:
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    return whole.splitlines()


class ResultsLog:
    """A log that is open for appending; nobody else may append to it meanwhile."""

    def __init__(self, file: IO[bytes], /) -> None:
        self._file = file

    def append(self, results: Iterable[SeedResult], /) -> None:
        """Have these results on disk."""
        self._file.write(b"".join(msgspec.json.encode(each) + b"\n" for each in results))
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def opened_log(directory: Path, name: str, first: LogHeading, /) -> Iterator[ResultsLog]:
    """Open the log of this name for appending, with its heading.

    Raises:
        InputRefusedError: another campaign is writing it, or the directory cannot be written.
    """
    path = directory / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as failure:
        raise InputRefusedError(
            f"{path} cannot be written: {(failure.strerror or 'no reason given').lower()}",
            "name another directory with --out",
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputRefusedError(
                f"another campaign is writing {path}", "wait for it, or name a --shard"
            ) from None
        _cut_torn_line(file)
        if file.tell() == 0:
            file.write(msgspec.json.encode(first) + b"\n")
        yield ResultsLog(file)


def _cut_torn_line(file: IO[bytes]) -> None:
    """Take away a last line that a crash cut off, and stand at the end."""
    file.seek(0)
    content = file.read()
    file.truncate(content.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
