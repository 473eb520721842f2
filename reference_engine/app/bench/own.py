"""This engine as a contestant: its own command line, as a process of its own."""

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from reference_engine.app.bench.contestants import Contestant, Place
from reference_engine.app.bench.measuring import Call, measure

OWN: Final = "twinshot"
SCAN: Final = "twinshot scan"
_PROGRAM: Final = (sys.executable, "-m", "reference_engine.app.command_line")
_CHANGED: Final = "--changed"
_READ_DATA: Final = "--read-data"


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What this version's commands can do."""

    takes_map: bool
    checks_repository: bool


def abilities() -> Abilities:
    """Return what this version's commands say that they can do."""
    return Abilities(
        takes_map=_CHANGED in _help("backup"), checks_repository=_READ_DATA in _help("repo check")
    )


class OwnEngine(Contestant):
    """This engine, with a change map or without."""

    def __init__(self, found: Abilities, /, *, name: str) -> None:
        self._found = found
        self._name = name

    @property
    def name(self) -> str:
        """Return its name in the results."""
        return self._name

    @property
    def version(self) -> str:
        """Return the version, and whether it is given the map of changes."""
        try:
            number = importlib.metadata.version("twinshot")
        except importlib.metadata.PackageNotFoundError:
            number = "from source"
        return f"{number}, {'with a change map' if self._maps else 'reads and compares'}"

    @property
    def starts_as(self) -> str | None:
        """Return whose full backup it goes on from: both are the same until the second one."""
        return None if self._name == OWN else OWN

    @property
    def _maps(self) -> bool:
        return self._found.takes_map and self._name == OWN

    def prepare(self, place: Place, /) -> Call | None:
        """Return nothing: the first backup makes the repository, and that is measured with it."""
        del place
        return None

    def store(self, generation: int, place: Place, /, *, changed: Path | None) -> Call | None:
        """Return how the source is stored."""
        extra = (_CHANGED, str(changed)) if generation and changed and self._maps else ()
        return _call(place, "backup", str(place.source), *_in(place), *extra)

    def restore(self, generation: int, newest: int, place: Place, /) -> Call | None:
        """Return how a generation is restored."""
        point = "latest" if generation == newest else _point(generation, place)
        return _call(place, "restore", point, *_in(place), "--to", str(place.target / "disk.raw"))

    def verify(self, place: Place, /) -> Call | None:
        """Return how every stored byte is checked once; by points where nothing else is offered."""
        if self._found.checks_repository:
            return _call(place, "repo", "check", *_in(place), _READ_DATA)
        return _call(place, "verify", *_in(place))


def _in(place: Place) -> tuple[str, str]:
    return ("--repo", str(place.repository))


def _call(place: Place, *arguments: str) -> Call:
    # The source's directory could hold a package of the engine's name, but never does.
    return Call(argv=(*_PROGRAM, *arguments), cwd=place.source.parent)


def _help(command: str) -> str:
    measured = measure(Call(argv=(*_PROGRAM, *command.split(), "--help"), cwd=Path.cwd()))
    return "" if measured.exit_code else measured.said


def _point(generation: int, place: Place) -> str:
    """Return the id of a generation's point: points are listed in the order of their commits."""
    said = measure(_call(place, "--json", "points", *_in(place))).said
    records: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
    ids = [str(record["id"]) for record in records if record.get("type") == "point"]
    return ids[generation] if generation < len(ids) else f"point-{generation}-is-missing"
