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
from simulator.campaign.proving.power.neighbour import Neighbour

PLAIN: Final = "repo"
SEALED: Final = "sealed"
COPIED: Final = "copied"
"""Repositories; the second one is encrypted, the third one has parity."""

REPOSITORIES: Final = (PLAIN, SEALED, COPIED)

_NEAR: Final = 2
"""Of how many commands before a cut the repositories are looked at in full."""

_MANIFEST_COPIES: Final = "copies/points"


PromiseKind = Literal["point", "file", "opens", "shut", "damage"]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What must be true of the disk after a cut, if it was made before and not taken back."""

    kind: PromiseKind
    """A point holds images; a file is one of the images; a key opens the repository, or does not
    any more; and instead of a promise: files of a directory were taken away, as a check may say."""

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


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command, and the lengths of the log when it began and when it had returned 0."""

    name: str
    repository: str
    """The one that it works on."""

    began: int
    ended: int


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What was done on one disk."""

    file_system: str
    neighbour: bool
    """Whether another program flushed the file system after each call."""

    begins: int
    """Where the first command began, in bytes of the log."""

    ends: int
    commands: tuple[Command, ...]
    promises: tuple[Promise, ...]
    failure: str
    """Why the story ends early, with the power on; empty if it does not."""

    def is_under_way(self, position: int, /) -> bool:
        """Return whether a command was in its middle when the log was so many bytes long."""
        doing = any(each.began < position < each.ended for each in self.commands)
        return doing or any(
            each.kind == "damage" and each.holds(position) for each in self.promises
        )

    def worked_on(self, position: int, /) -> tuple[str, ...]:
        """Return what the command under way or last done works on, and the one before it."""
        begun = sum(each.began <= position for each in self.commands)
        near = self.commands[max(begun - _NEAR, 0) : begun]
        return tuple(name for name in REPOSITORIES if name in [each.repository for each in near])


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

    def __init__(
        self,
        disk: Path,
        beside: Path,
        position: Callable[[], int],
        /,
        *,
        neighbour: Neighbour | None,
    ) -> None:
        self._disk, self._beside, self._position = disk, beside, position
        self._neighbour = neighbour
        self._begins = position()
        self._commands: list[Command] = []
        self._promises: list[Promise] = []
        self.keys = beside / "keys"
        self.keys.mkdir()

    def told(self, file_system: str, /, *, failure: str) -> Story:
        """Return the story up to here."""
        return Story(
            file_system=file_system,
            neighbour=self._neighbour is not None,
            begins=self._begins,
            ends=self._position(),
            commands=tuple(self._commands),
            promises=tuple(self._promises),
            failure=failure,
        )

    def run(self, repository: str, *tokens: str) -> tuple[list[dict[str, Any]], int, int]:
        """Run a command that succeeds; return its records, and where it began and had ended.

        Raises:
            CommandFailedError: it did not.
        """
        began = self._position()
        ended_how = in_child(lambda: self._spoken(tokens))
        ended = self._position()
        said = ended_how.report.decode()
        line = " ".join(tokens).replace(f"{self._disk}/", "").replace(f"{self._beside}/", "")
        if ended_how.code != 0:
            cause = said.strip().splitlines() or [ended_how.complaint.strip()[-300:]]
            raise CommandFailedError(f"{line} ends with {ended_how.code}: {cause[0][:300]}")
        self._commands.append(Command(name=line, repository=repository, began=began, ended=ended))
        return [msgspec.json.decode(line) for line in said.splitlines()], began, ended

    def back_up(self, machine: str, *images: str, repo: str = PLAIN, key: str = "") -> str:
        """Back up images as the next point of a machine, and return its id."""
        records, _, ended = self.run(
            repo,
            "backup",
            *source_of(self._beside, images),
            *("--repo", str(self._disk / repo), "--name", machine),
            *self._opened_by(key),
        )
        point = str(records[-1]["point"])
        self._promise("point", repo, point, since=ended, images=images)
        return point

    def prune(self, *going: str, repo: str = PLAIN, key: str = "") -> None:
        """Let each machine keep its newest point only: these points go, and packs are repacked."""
        rule = ("--keep-last", "1", "--max-unused", "0%")
        place = str(self._disk / repo)
        _, began, _ = self.run(repo, "repo", "prune", place, *rule, *self._opened_by(key))
        for point in going:
            self._take_back("point", repo, point, until=began)

    def damage_and_repair(self, repo: str, *directories: str) -> None:
        """Take away all objects in some directories, of which there are others, and mend that."""
        began = self._position()
        for directory in directories:
            for path in sorted((self._disk / repo / directory).iterdir()):
                path.unlink()
            self._promise("damage", repo, directory, since=began)
        _, _, ended = self.run(repo, "repo", "repair", str(self._disk / repo))
        for directory in directories:
            self._take_back("damage", repo, directory, until=ended)

    def restore(self, machine: str, target: str, images: tuple[str, ...]) -> None:
        """Write a machine's newest point to the same disk, into one image or a directory."""
        repo = str(self._disk / PLAIN)
        to = f"{self._disk}/{target}"
        _, _, ended = self.run(PLAIN, "restore", machine, "--repo", repo, "--to", to)
        for index, name in enumerate(images):
            path = f"{target}disk{index}.raw" if target.endswith("/") else target
            self._promise("file", PLAIN, path, since=ended, images=(name,))

    def found(self) -> None:
        """Make the repository with parity by and over packs, in which copies are kept."""
        place = str(self._disk / COPIED)
        self.run(COPIED, "repo", "init", place, "--parity", "50%", "--pack-parity", "3")

    def copy(self) -> None:
        """Copy what is new to the other repository, which then promises the same points."""
        source, target = str(self._disk / PLAIN), str(self._disk / COPIED)
        _, _, ended = self.run(COPIED, "repo", "copy", source, target)
        points = [each for each in self._promises if each.kind == "point" and each.until is None]
        there = [each.what for each in points if each.repository == COPIED]
        for each in points:
            if each.repository == PLAIN and each.what not in there:
                self._promise("point", COPIED, each.what, since=ended, images=each.images)

    def seal(self, key: str) -> None:
        """Make the encrypted repository, which this key opens."""
        sealed, path = str(self._disk / SEALED), str(self.keys / key)
        _, _, ended = self.run(
            SEALED,
            *("repo", "init", sealed, "--encrypt", "--new-key-file", path, "--no-recovery-key"),
        )
        self._promise("opens", SEALED, key, since=ended)

    def add_key(self, key: str, *, by: str) -> str:
        """Add a key, and return the id of the one that was there."""
        sealed, path = str(self._disk / SEALED), str(self.keys / key)
        slots, _, _ = self.run(SEALED, "repo", "key", "list", sealed, *self._opened_by(by))
        own = next(str(slot["id"]) for slot in slots if slot.get("opened"))
        _, _, ended = self.run(
            SEALED,
            *("repo", "key", "add", sealed, "--new-key-file", path, *self._opened_by(by)),
        )
        self._promise("opens", SEALED, key, since=ended)
        return own

    def remove_key(self, key: str, slot: str, *, by: str) -> None:
        """Let a key open the repository no more."""
        sealed = str(self._disk / SEALED)
        _, began, ended = self.run(
            SEALED, "repo", "key", "remove", sealed, slot, *self._opened_by(by)
        )
        self._take_back("opens", SEALED, key, until=began)
        self._promise("shut", SEALED, key, since=ended)

    def rotate_key(self, new: str, *options: str, by: str) -> None:
        """Put another key in the place of one."""
        sealed, path = str(self._disk / SEALED), str(self.keys / new)
        _, began, ended = self.run(
            SEALED,
            *("repo", "key", "rotate", sealed, *options, "--new-key-file", path),
            *self._opened_by(by),
        )
        self._take_back("opens", SEALED, by, until=began)
        self._promise("opens", SEALED, new, since=ended)
        self._promise("shut", SEALED, by, since=ended)

    def _spoken(self, tokens: tuple[str, ...]) -> tuple[int, bytes]:
        if self._neighbour is not None:
            self._neighbour.move_in()
        code, said, complaint = spoken(tokens, self._beside / "cache")
        return code, (said if code == 0 else complaint or said).encode()

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

    def _take_back(self, kind: PromiseKind, repository: str, what: str, *, until: int) -> None:
        [index] = [
            index
            for index, each in enumerate(self._promises)
            if (each.kind, each.repository, each.what) == (kind, repository, what)
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
    third = author.back_up("one", "a")
    author.damage_and_repair(PLAIN, "copies/points")
    author.restore("two", "back/", ("b", "c"))
    author.restore("one", "back.raw", ("a",))
    author.prune(second)
    author.found()
    author.copy()
    author.back_up("one", "g", repo=COPIED)
    author.prune(third, repo=COPIED)
    author.damage_and_repair(COPIED, "copies/log", "index", "parity/packs")
    author.seal("first")
    sealed = [author.back_up("three", "d", repo=SEALED, key="first")]
    slot = author.add_key("second", by="first")
    author.remove_key("first", slot, by="second")
    sealed.append(author.back_up("three", "e", repo=SEALED, key="second"))
    author.rotate_key("third", by="second")
    author.rotate_key("fourth", "--master", by="third")
    author.back_up("three", "a", repo=SEALED, key="fourth")
    author.prune(*sealed, repo=SEALED, key="fourth")
    author.back_up("one", "g")
