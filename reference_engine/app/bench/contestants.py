"""What a tool has to answer to take part: how it does each job, as a command line."""

import enum
import os
import shutil
from pathlib import Path
from typing import Protocol

import msgspec

from reference_engine.app.bench.measuring import Call, measure
from reference_engine.app.repositories import Requests


class Job(enum.Enum):
    """One thing that every tool is asked to do."""

    FULL = "full"
    SMALL_DAY = "day 1 %"
    LARGE_DAY = "day 5 %"
    RESTORE = "restore"
    VERIFY = "verify"


WRITING: tuple[Job, ...] = (Job.FULL, Job.SMALL_DAY, Job.LARGE_DAY)
"""The jobs that store a generation of the image; the place in this order is its number."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one tool works."""

    root: Path

    source: Path
    """The image; every generation appears under the same path, as a machine's disk would."""

    @property
    def repository(self) -> Path:
        """Return where the tool stores: only this is counted."""
        return self.root / "repository"

    @property
    def scratch(self) -> Path:
        """Return the home of caches and settings."""
        return self.root / "scratch"

    @property
    def target(self) -> Path:
        """Return the directory into which a point is restored."""
        return self.root / "target"


class Contestant(Protocol):
    """A tool that takes part."""

    @property
    def name(self) -> str:
        """Return its name in the results."""

    @property
    def version(self) -> str:
        """Return the version that runs, and how."""

    @property
    def starts_as(self) -> str | None:
        """Return whose repository it takes over after the full backup; None to make its own."""

    def prepare(self, place: Place, /) -> Call | None:
        """Return how an empty repository is made; None where the full backup does it."""

    def store(self, generation: int, place: Place, /, *, changed: Path | None) -> Call | None:
        """Return how the source is stored; `changed` is the map of what differs."""

    def restore(self, generation: int, newest: int, place: Place, /) -> Call | None:
        """Return how a generation is written to a file below `place.target`."""

    def requests(self, said: str, /) -> Requests | None:  # noqa: ARG002 - few tools say it
        """Return what a call asked of the tool's store, by what it wrote; None: it does not say."""
        return None

    def verify(self, place: Place, /) -> Call | None:
        """Return how all that is stored is read and checked."""

    def prune(self, place: Place, /) -> tuple[Call, ...]:
        """Return how all points but the newest are removed, with the space that they took."""

    def repair(self, place: Place, /) -> tuple[Call, ...]:
        """Return how a damaged repository is put right by its own means."""


def program(name: str, /) -> str | None:
    """Return the path of an installed program."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath))


def said_by(*argv: str) -> str:
    """Return the first line of what a program says; empty where it fails."""
    measured = measure(Call(argv=argv, cwd=Path.cwd()))
    return "" if measured.exit_code else measured.said.strip().partition("\n")[0]
