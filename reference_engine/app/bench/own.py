"""This engine as a contestant: its own command line, as a process of its own."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from reference_engine.app.bench.contestants import Contestant, Place
from reference_engine.app.bench.measuring import Call, measure
from reference_engine.app.repositories import Requests
from reference_engine.app.version import installed_version

OWN: Final = "twinshot"
_PROGRAM: Final = (sys.executable, "-m", "reference_engine.app")
_ENVIRONMENT: Final = {"PYTHONDONTWRITEBYTECODE": ""}
"""Modules are compiled once, as where they are installed, and not on every start."""

_CACHE: Final = "TWINSHOT_CACHE_DIR"

_CHANGED: Final = "--changed"
_LEVEL: Final = "--level"
_READ_DATA: Final = "--read-data"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way of using this engine."""

    name: str
    what: str
    options: tuple[str, ...]
    """What every backup is given."""

    takes_map: bool
    checks_repository: bool
    starts_as: str | None
    repository: tuple[str, ...] | None = None
    """What the repository is made with; None: the first backup makes it as it is by default."""


def with_parity(usual: Way, /) -> Way | None:
    """Return the way with parity beside the packs; None where what that needs is not installed."""
    if importlib.util.find_spec("zfec") is None:
        return None
    return msgspec.structs.replace(
        usual, name=f"{OWN} parity", what=f"{usual.what}, 6 % parity", repository=("--parity", "6%")
    )


def ways() -> tuple[Way, ...]:
    """Return the ways that this version's commands say that they offer; the first is the usual."""
    said = _help("backup")
    usual = Way(
        name=OWN,
        what="with a change map" if _CHANGED in said else "reads and compares",
        options=(),
        takes_map=_CHANGED in said,
        checks_repository=_READ_DATA in _help("repo check"),
        starts_as=None,
    )
    found = [usual]
    if usual.takes_map:
        found.append(
            msgspec.structs.replace(
                usual,
                name=f"{OWN} scan",
                what="reads and compares",
                takes_map=False,
                # Until the second backup both are the same.
                starts_as=OWN,
            )
        )
    if _LEVEL in said and "fast" in said:
        found.append(
            msgspec.structs.replace(
                usual,
                name=f"{OWN} fast",
                what=f"{usual.what}, {_LEVEL} fast",
                options=(_LEVEL, "fast"),
            )
        )
    return tuple(found)


def is_ours(tool: str, /) -> bool:
    """Return whether a name in the results is this engine's, used in any way."""
    return tool == OWN or tool.startswith(f"{OWN} ")


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of the last line of a command's output."""

    requests: Requests | None = None


class OwnEngine(Contestant):
    """This engine, used in one way."""

    def __init__(self, way: Way, /) -> None:
        self._way = way
        self._ids: tuple[str, ...] = ()
        """The points, once they were listed: a user has seen them before anything breaks."""

    @property
    def name(self) -> str:
        """Return its name in the results."""
        return self._way.name

    @property
    def version(self) -> str:
        """Return the version, and how it is used."""
        return f"{installed_version()}, {self._way.what}"

    @property
    def starts_as(self) -> str | None:
        """Return whose full backup it goes on from."""
        return self._way.starts_as

    def prepare(self, place: Place, /) -> Call | None:
        """Return nothing for the usual way: the first backup makes the repository."""
        self._ids = ()
        if self._way.repository is None:
            return None
        return _call(place, "repo", "init", str(place.repository), *self._way.repository)

    def store(self, generation: int, place: Place, /, *, changed: Path | None) -> Call | None:
        """Return how the source is stored."""
        told = (_CHANGED, str(changed)) if generation and changed and self._way.takes_map else ()
        return _call(
            place, "--json", "backup", str(place.source), *_in(place), *self._way.options, *told
        )

    def restore(self, generation: int, newest: int, place: Place, /) -> Call | None:
        """Return how a generation is restored."""
        point = "latest" if generation == newest else self._point(generation, place)
        return _call(
            place, "--json", "restore", point, *_in(place), "--to", str(place.target / "disk.raw")
        )

    def verify(self, place: Place, /) -> Call | None:
        """Return how every stored byte is checked once; by points where nothing else is offered."""
        if self._way.checks_repository:
            return _call(place, "repo", "check", str(place.repository), _READ_DATA)
        return _call(place, "verify", *_in(place))

    def requests(self, said: str, /) -> Requests | None:
        """Return what the call's last line says of its requests; older versions say nothing."""
        lines = said.splitlines()
        try:
            summary = msgspec.json.decode(lines[-1] if lines else b"", type=_Summary)
        except msgspec.DecodeError:
            return None
        return summary.requests

    def prune(self, place: Place, /) -> tuple[Call, ...]:
        """Return how all points but the newest are removed."""
        return (_call(place, "repo", "prune", str(place.repository), "--keep-last", "1"),)

    def repair(self, place: Place, /) -> tuple[Call, ...]:
        """Return how a damaged repository is put right."""
        return (_call(place, "repo", "repair", str(place.repository)),)

    def _point(self, generation: int, place: Place) -> str:
        """Return the id of a generation's point: they are listed in the order of their commits."""
        if generation >= len(self._ids):
            said = measure(_call(place, "--json", "points", *_in(place))).said
            records: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
            found = [str(record["id"]) for record in records if record.get("type") == "point"]
            self._ids = tuple(found)
        missing = f"point-{generation}-is-missing"
        return self._ids[generation] if generation < len(self._ids) else missing


def _in(place: Place) -> tuple[str, str]:
    return ("--repo", str(place.repository))


def _call(place: Place, *arguments: str) -> Call:
    # The source's directory could hold a package of the engine's name, but never does.
    env = {**_ENVIRONMENT, _CACHE: str(place.scratch / "cache")}
    return Call(argv=(*_PROGRAM, *arguments), cwd=place.source.parent, env=env)


def _help(command: str) -> str:
    measured = measure(
        Call(argv=(*_PROGRAM, *command.split(), "--help"), cwd=Path.cwd(), env=_ENVIRONMENT)
    )
    return "" if measured.exit_code else measured.said
