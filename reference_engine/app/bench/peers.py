"""The tools that this engine is held against, each called as its manual says.

All of them store without encryption where there is a choice (restic has none), compress with zstd,
and skip holes where they can.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.app.bench.contestants import Contestant, Place, program, said_by
from reference_engine.app.bench.measuring import Call
from reference_engine.model.errors import InputRefusedError

SCRIPT: Final = "script"
NONE: Final = "none"

Arguments = tuple[str, ...]


def _nothing(place: Place, /) -> None:
    """Return None: the tool has no such step."""
    del place


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How one tool is called; None stands for what it cannot do."""

    what: str
    asks_version: Arguments
    environment: Callable[[Place], Mapping[str, str]]
    store: Callable[[Place, int, Path | None], Arguments | None]
    restore: Callable[[Place, int, str], Arguments]
    """Takes the tool's version, too. It runs in the directory that is to get the image."""

    prepare: Callable[[Place], Arguments | None] = _nothing
    verify: Callable[[Place], Arguments | None] = _nothing
    prune: tuple[Arguments, ...] = ()
    repair: tuple[Arguments, ...] = ()


class Peer(Contestant):
    """An installed tool, called by its recipe."""

    def __init__(self, recipe: Recipe, /, *, name: str, path: str, version: str) -> None:
        self._recipe = recipe
        self._name, self._path, self._version = name, path, version

    @property
    def name(self) -> str:
        """Return its name in the results."""
        return self._name

    @property
    def version(self) -> str:
        """Return the version that runs, and how."""
        return f"{self._version}, {self._recipe.what}"

    @property
    def starts_as(self) -> str | None:
        """Return None: a peer makes its own repository."""
        return None

    @property
    def repairs(self) -> bool:
        """Whether it keeps several points, and can check and repair what it stores."""
        return bool(self._recipe.repair)

    def prepare(self, place: Place, /) -> Call | None:
        """Return how an empty repository is made."""
        return self._call(place, self._recipe.prepare(place))

    def store(self, generation: int, place: Place, /, *, changed: Path | None) -> Call | None:
        """Return how the source is stored."""
        return self._call(place, self._recipe.store(place, generation, changed))

    def restore(self, generation: int, newest: int, place: Place, /) -> Call | None:
        """Return how a generation is restored."""
        del newest
        arguments = self._recipe.restore(place, generation, self._version)
        return self._call(place, arguments, cwd=place.target)

    def verify(self, place: Place, /) -> Call | None:
        """Return how every stored byte is checked."""
        return self._call(place, self._recipe.verify(place))

    def prune(self, place: Place, /) -> tuple[Call, ...]:
        """Return how all points but the newest are removed."""
        return self._calls(place, self._recipe.prune)

    def repair(self, place: Place, /) -> tuple[Call, ...]:
        """Return how a damaged repository is put right, as the tool's manual says."""
        return self._calls(place, self._recipe.repair)

    def _calls(self, place: Place, steps: tuple[Arguments, ...]) -> tuple[Call, ...]:
        calls = (self._call(place, arguments) for arguments in steps)
        return tuple(call for call in calls if call is not None)

    def _call(
        self, place: Place, arguments: Arguments | None, *, cwd: Path | None = None
    ) -> Call | None:
        if arguments is None:
            return None
        return Call(
            argv=(self._path, *arguments),
            cwd=cwd or place.source.parent,
            env=self._recipe.environment(place),
        )


def _restic_restore(place: Place, generation: int, version: str) -> Arguments:
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    sparse = ("--sparse",) if numbers >= [0, 15] else ()
    return "restore", *sparse, "latest", "--tag", f"g{generation}", "--target", str(place.target)


_RESTIC: Final = Recipe(
    what="chunks of about 1 MiB by content, encrypted",
    asks_version=("version",),
    environment=lambda place: {
        "RESTIC_PASSWORD": "benchmark",
        "RESTIC_REPOSITORY": str(place.repository),
        "RESTIC_CACHE_DIR": str(place.scratch),
    },
    # The older format, which some versions take by default, does not compress.
    prepare=lambda _: ("init", "--repository-version", "latest"),
    store=lambda place, number, _: ("backup", "--tag", f"g{number}", str(place.source)),
    restore=_restic_restore,
    verify=lambda _: ("check", "--read-data"),
    prune=(("forget", "--keep-last", "1", "--group-by", "host", "--prune", "--max-unused", "0"),),
    # Later versions have `repair packs` and `repair snapshots` too; this is what all of them have.
    repair=(("rebuild-index",), ("prune",)),
)


def _borg_store(place: Place, generation: int, changed: Path | None) -> Arguments:
    del changed
    chunks = ("--chunker-params", "fixed,65536", "--sparse", "--compression", "zstd,3")
    return "create", *chunks, f"::g{generation}", place.source.name


_BORG: Final = Recipe(
    what="fixed chunks of 64 KiB, --sparse, not encrypted",
    asks_version=("--version",),
    environment=lambda place: {
        "BORG_BASE_DIR": str(place.scratch),
        "BORG_REPO": str(place.repository),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "BORG_CHECK_I_KNOW_WHAT_I_AM_DOING": "YES",
    },
    prepare=lambda place: ("init", "--encryption", "none", str(place.repository)),
    store=_borg_store,
    restore=lambda _, number, __: ("extract", "--sparse", f"::g{number}"),
    verify=lambda _: ("check", "--verify-data"),
    prune=(("prune", "--keep-last", "1"), ("compact", "--threshold", "0")),
    repair=(("check", "--repair", "--verify-data"),),
)


def _qemu_store(place: Place, generation: int, changed: Path | None) -> Arguments | None:
    del changed
    if generation:
        return None
    options = ("-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd")
    return "convert", *options, str(place.source), str(place.repository / "disk.qcow2")


def _qemu_restore(place: Place, generation: int, version: str) -> Arguments:
    del generation, version
    formats = ("-f", "qcow2", "-O", "raw")
    return "convert", *formats, str(place.repository / "disk.qcow2"), "disk.raw"


_QEMU_IMG: Final = Recipe(
    # Each image stands alone, and has no digests that could be checked.
    what="one compressed qcow2 image, no later days",
    asks_version=("--version",),
    environment=lambda _: {},
    store=_qemu_store,
    restore=_qemu_restore,
)


def _index(place: Place, generation: int) -> Arguments:
    """Return the arguments of casync and desync alike: the store, and a generation's index."""
    index = str(place.repository / f"g{generation}.caibx")
    return f"--store={place.repository / 'chunks.castr'}", index


_CASYNC: Final = Recipe(
    what="one file for each chunk of about 64 KiB by content",
    asks_version=("--version",),
    environment=lambda place: {"XDG_CACHE_HOME": str(place.scratch)},
    store=lambda place, number, _: ("make", *_index(place, number), str(place.source)),
    restore=lambda place, number, _: ("extract", *_index(place, number), "disk.raw"),
)


def _desync_prepare(place: Place) -> Arguments | None:
    # It wants a store that exists, and has no command to make one.
    (place.repository / "chunks.castr").mkdir(parents=True, exist_ok=True)
    return None


_DESYNC: Final = msgspec.structs.replace(
    _CASYNC,
    asks_version=(),
    prepare=_desync_prepare,
    verify=lambda place: ("verify", f"--store={place.repository / 'chunks.castr'}"),
)


def _script_store(place: Place, generation: int, changed: Path | None) -> Arguments:
    # The first generation has nothing to differ from.
    told = str(changed) if changed and generation else ""
    return "store", str(place.repository), str(generation), str(place.source), told


_ANY_SCRIPT: Final = Recipe(
    what="a program of the user's",
    asks_version=(),
    environment=lambda _: {},
    prepare=lambda place: ("prepare", str(place.repository)),
    store=_script_store,
    restore=lambda place, number, _: (
        *("restore", str(place.repository), str(number)),
        str(place.target / "disk.raw"),
    ),
    verify=lambda place: ("verify", str(place.repository)),
)

_KNOWN: Final = {
    "restic": _RESTIC,
    "borg": _BORG,
    "qemu-img": _QEMU_IMG,
    "desync": _DESYNC,
    "casync": _CASYNC,
}


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Which peers take part, and which of those that were asked for cannot."""

    peers: tuple[Peer, ...]
    missing: tuple[str, ...]


def chosen_peers(wanted: str | None, /) -> Field:
    """Return the peers of a list such as `restic,borg=/opt/borg`: all that are known without one.

    Raises:
        InputRefusedError: a name is not known, or a path is no program.
    """
    names = list(_KNOWN) if wanted is None else [part.strip() for part in wanted.split(",")]
    if names == [NONE]:
        names = []
    peers: list[Peer] = []
    missing: list[str] = []
    for each in names:
        name, given, path = each.partition("=")
        recipe = _recipe(name)
        found = program(path if given else name)
        if found is not None:
            peers.append(_peer(recipe, name, found, taken=[peer.name for peer in peers]))
        elif given:
            raise InputRefusedError(f"{path!r} is no program", f"give {name}=PATH, or {name} alone")
        else:
            missing.append(name)
    return Field(peers=tuple(peers), missing=tuple(missing))


def _peer(recipe: Recipe, name: str, path: str, *, taken: list[str]) -> Peer:
    said = said_by(path, *recipe.asks_version) if recipe.asks_version else ""
    numbers = re.search(r"\d+(?:\.\w+)*", said)
    version = numbers[0] if numbers else Path(path).name
    title = name if name not in taken else f"{name} {version}"
    if title in taken:
        raise InputRefusedError(f"{title} is named twice", "name each tool once")
    return Peer(recipe, name=title, path=str(Path(path).absolute()), version=version)


def _recipe(name: str) -> Recipe:
    if name == SCRIPT:
        return _ANY_SCRIPT
    if name not in _KNOWN:
        raise InputRefusedError(
            f"there is no peer {name!r}", f"choose from {', '.join(_KNOWN)}, script=PATH or {NONE}"
        )
    return _KNOWN[name]
