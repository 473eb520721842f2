"""What commands do on the disk before the power is cut, and what they promise while they do it."""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from reference_engine.app.local_cache import DIRECTORY, NONE
from simulator.campaign.proving.children import in_child, run_command
from simulator.campaign.proving.operations import image

PLAIN: Final = "repo"
SEALED: Final = "sealed"
"""Repositories; the second one is encrypted."""

_MANIFEST_COPIES: Final = "copies/points"


PromiseKind = Literal["point", "file", "opens", "shut", "damage"]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What must be true of the disk after a cut, if it was made before and not taken back."""

    kind: PromiseKind
    """A point holds images; a file is one of the images; a key opens the repository, or does not
    any more; and instead of a promise: a file was taken away, which a check may say."""

    repository: str
    what: str
    """Point, file or key file."""

    images: tuple[str, ...] = ()
    since: int
    """From here on, in bytes of the log."""

    until: int | None = None
    """Up to here, where the command begins that takes it back; None: for good."""

    def holds(self, position: int, /) -> bool:
        """Return whether it is in force when the log is so many bytes long."""
        return self.since <= position and (self.until is None or position < self.until)


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What was done on one disk."""

    file_system: str
    begins: int
    """Where the first command began, in bytes of the log."""

    ends: int
    commands: tuple[tuple[str, int, int], ...]
    """What was run, and the lengths of the log when it began and when it had returned 0."""

    promises: tuple[Promise, ...]

    def is_under_way(self, position: int, /) -> bool:
        """Return whether a command was in its middle when the log was so many bytes long."""
        doing = any(began < position < ended for _, began, ended in self.commands)
        return doing or any(
            each.kind == "damage" and each.holds(position) for each in self.promises
        )


class CommandFailedError(Exception):
    """A command that the story needs did not succeed: its line, its code, and what it said."""


def source_of(place: Path, images: tuple[str, ...], /) -> list[str]:
    """Return files with these images, under names by which later ones follow earlier ones."""
    directory = place / "-".join(images)
    directory.mkdir(parents=True, exist_ok=True)
    files: list[str] = []
    for index, name in enumerate(images):
        path = directory / f"disk{index}.raw"
        if not path.exists():
            path.write_bytes(image(name))
        files.append(str(path))
    return files


def spoken(tokens: tuple[str, ...], cache: Path | None, /) -> tuple[int, str, str]:
    """Run a command in this process, with this cache or none; return its code and what it said."""
    os.environ.pop(NONE, None)
    os.environ[DIRECTORY if cache is not None else NONE] = str(cache or "1")
    said, complaint = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
        code = run_command("--json", *tokens)
    return code, said.getvalue(), complaint.getvalue().strip()


class Author:
    """Runs one command after the other, and notes promises as they are made."""

    def __init__(self, disk: Path, beside: Path, position: Callable[[], int], /) -> None:
        self._disk, self._beside, self._position = disk, beside, position
        self._begins = position()
        self._commands: list[tuple[str, int, int]] = []
        self._promises: list[Promise] = []
        self.keys = beside / "keys"
        self.keys.mkdir()

    def told(self, file_system: str, /) -> Story:
        """Return the story up to here."""
        return Story(
            file_system=file_system,
            begins=self._begins,
            ends=self._position(),
            commands=tuple(self._commands),
            promises=tuple(self._promises),
        )

    def run(self, *tokens: str) -> tuple[list[dict[str, Any]], int, int]:
        """Run a command that succeeds; return its records, and where it began and had ended.

        Raises:
            CommandFailedError: it did not.
        """
        began = self._position()
        ended_how = in_child(lambda: self._spoken(tokens))
        ended = self._position()
        if ended_how.code != 0:
            raise CommandFailedError(
                f"{' '.join(tokens)}: {ended_how.code}: {ended_how.report.decode()[-500:]}"
            )
        said = ended_how.report.decode()
        self._commands.append((" ".join(tokens), began, ended))
        return [msgspec.json.decode(line) for line in said.splitlines()], began, ended

    def back_up(self, machine: str, *images: str, repo: str = PLAIN, key: str = "") -> str:
        """Back up images as the next point of a machine, and return its id."""
        records, _, ended = self.run(
            "backup",
            *source_of(self._beside, images),
            *("--repo", str(self._disk / repo), "--name", machine),
            *self._opened_by(key),
        )
        point = str(records[-1]["point"])
        self._promise("point", repo, point, since=ended, images=images)
        return point

    def prune(self, *going: str) -> None:
        """Let each machine keep its newest point only: these points go, and packs are repacked."""
        repo = str(self._disk / PLAIN)
        _, began, _ = self.run("repo", "prune", repo, "--keep-last", "1", "--max-unused", "0%")
        for point in going:
            self._take_back("point", point, until=began)

    def damage_and_repair(self) -> None:
        """Take away a copy of each point's manifest, and have it mended."""
        copies = self._disk / PLAIN / _MANIFEST_COPIES
        began = self._position()
        for path in sorted(copies.iterdir()):
            path.unlink()
        self._promise("damage", PLAIN, _MANIFEST_COPIES, since=began)
        _, _, ended = self.run("repo", "repair", str(self._disk / PLAIN))
        self._take_back("damage", _MANIFEST_COPIES, until=ended)

    def restore(self, machine: str, target: str, images: tuple[str, ...]) -> None:
        """Write a machine's newest point to the same disk, into one image or a directory."""
        repo = str(self._disk / PLAIN)
        to = f"{self._disk}/{target}"
        _, _, ended = self.run("restore", machine, "--repo", repo, "--to", to)
        for index, name in enumerate(images):
            path = f"{target}disk{index}.raw" if target.endswith("/") else target
            self._promise("file", PLAIN, path, since=ended, images=(name,))

    def seal(self, key: str) -> None:
        """Make the encrypted repository, which this key opens."""
        sealed, path = str(self._disk / SEALED), str(self.keys / key)
        _, _, ended = self.run(
            *("repo", "init", sealed, "--encrypt", "--new-key-file", path, "--no-recovery-key")
        )
        self._promise("opens", SEALED, key, since=ended)

    def add_key(self, key: str, *, by: str) -> str:
        """Add a key, and return the id of the one that was there."""
        sealed, path = str(self._disk / SEALED), str(self.keys / key)
        slots, _, _ = self.run("repo", "key", "list", sealed, *self._opened_by(by))
        own = next(str(slot["id"]) for slot in slots if slot.get("opened"))
        _, _, ended = self.run(
            *("repo", "key", "add", sealed, "--new-key-file", path, *self._opened_by(by))
        )
        self._promise("opens", SEALED, key, since=ended)
        return own

    def remove_key(self, key: str, slot: str, *, by: str) -> None:
        """Let a key open the repository no more."""
        sealed = str(self._disk / SEALED)
        _, began, ended = self.run("repo", "key", "remove", sealed, slot, *self._opened_by(by))
        self._take_back("opens", key, until=began)
        self._promise("shut", SEALED, key, since=ended)

    def rotate_key(self, new: str, *options: str, by: str) -> None:
        """Put another key in the place of one."""
        sealed, path = str(self._disk / SEALED), str(self.keys / new)
        _, began, ended = self.run(
            *("repo", "key", "rotate", sealed, *options, "--new-key-file", path),
            *self._opened_by(by),
        )
        self._take_back("opens", by, until=began)
        self._promise("opens", SEALED, new, since=ended)
        self._promise("shut", SEALED, by, since=ended)

    def _spoken(self, tokens: tuple[str, ...]) -> tuple[int, bytes]:
        code, said, complaint = spoken(tokens, self._beside / "cache")
        return code, (said if code == 0 else complaint).encode()

    def _opened_by(self, key: str) -> tuple[str, ...]:
        return ("--key-file", str(self.keys / key)) if key else ()

    def _promise(
        self,
        kind: PromiseKind,
        repository: str,
        what: str,
        *,
        since: int,
        images: tuple[str, ...] = (),
    ) -> None:
        self._promises.append(
            Promise(kind=kind, repository=repository, what=what, images=images, since=since)
        )

    def _take_back(self, kind: PromiseKind, what: str, *, until: int) -> None:
        [index] = [
            index
            for index, each in enumerate(self._promises)
            if each.kind == kind and each.what == what
        ]
        self._promises[index] = msgspec.structs.replace(self._promises[index], until=until)


def tell(author: Author, /) -> None:
    """Do everything that a command line does to repositories, and restore.

    Raises:
        CommandFailedError: something of it failed.
    """
    first = author.back_up("one", "f")
    second = author.back_up("one", "g")
    author.back_up("two", "b", "c")
    author.prune(first)
    author.back_up("one", "a")
    author.damage_and_repair()
    author.restore("two", "back/", ("b", "c"))
    author.restore("one", "back.raw", ("a",))
    author.prune(second)
    author.seal("first")
    author.back_up("three", "d", repo=SEALED, key="first")
    slot = author.add_key("second", by="first")
    author.remove_key("first", slot, by="second")
    author.back_up("three", "e", repo=SEALED, key="second")
    author.rotate_key("third", by="second")
    author.rotate_key("fourth", "--master", by="third")
    author.back_up("three", "a", repo=SEALED, key="fourth")
    author.back_up("one", "g")
