"""Changes of keys, and the life of an encrypted repository.

Each starts from a repository that `first.key` and `second.key` open; `former.key` was removed.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from simulator.campaign.proving.care_operations import amiss_after_a_kill
from simulator.campaign.proving.children import run_command
from simulator.campaign.proving.operations import (
    KEYS,
    Operation,
    back_up,
    opens,
)

_FIRST: Final = "first.key"
_SECOND: Final = "second.key"
_FORMER: Final = "former.key"
_NEW: Final = "new.key"
_AGAIN: Final = "again.key"
_WORDS: Final = "same.words"
_OTHER: Final = "other.words"
_PREFIX: Final = 8
"""Digits of a slot's name that a person types."""


class Locks(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of keys promises, by the names of their files."""

    stay: tuple[str, ...] = ()
    """Open before the change, in the middle of it, and after it."""

    come: tuple[str, ...] = ()
    """Open as soon as the change was acknowledged."""

    go: tuple[str, ...] = ()
    """Open before the change, and not once it was acknowledged."""

    either: tuple[str, ...] = ()
    """One of them opens at any time."""

    shut: tuple[str, ...] = (_FORMER,)
    """Were removed before, and open nothing at any time."""

    def broken(self, place: Path, done: bool, /) -> list[str]:  # noqa: FBT001 - as `keeps` has it
        """Return what is not as promised."""
        held = [key for key in (*self.stay, *self.go) if opens(place, key)]
        found = [f"key {key} does not open" for key in self.stay if key not in held]
        if self.either and not any(opens(place, key) for key in self.either):
            found.append(f"none of the keys {', '.join(self.either)} opens")
        found += [f"removed key {key} opens" for key in self.shut if opens(place, key)]
        if done:
            found += [f"new key {key} does not open" for key in self.come if not opens(place, key)]
            found += [f"key {key} was removed and opens" for key in self.go if key in held]
        return found


def _key(place: Path, name: str) -> str:
    return str(place / KEYS / name)


def _by(place: Path, name: str) -> tuple[str, str]:
    return ("--password-file" if name.endswith(".words") else "--key-file", _key(place, name))


def _coming(place: Path, name: str) -> tuple[str, str]:
    option, path = _by(place, name)
    return option.replace("--", "--new-"), path


def _do(place: Path, what: str, *options: str, by: str) -> int:
    return run_command("repo", "key", what, str(place / "repo"), *options, *_by(place, by))


def _opening(place: Path, *names: str) -> str:
    """Return the first of the keys that opens the repository."""
    return next((name for name in names if opens(place, name)), names[0])


def _slot(place: Path, name: str, *, by: str) -> str:
    """Return the slot of a key that is added here."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = _do(place, "add", *_coming(place, name), "--json", by=by)
    assert code == 0, (name, code)
    slot: str = msgspec.json.decode(said.getvalue().splitlines()[-1])["key"]
    return slot


def encrypted(*backups: tuple[str, tuple[str, ...]], first: str = _FIRST) -> Callable[[Path], None]:
    """Return what fills a directory in an encrypted repository, of which a key was removed."""

    def prepare(place: Path) -> None:
        (place / KEYS).mkdir(parents=True)
        for name in (_WORDS, _OTHER):
            (place / KEYS / name).write_text(f"{name}\n")
        opener = _coming(place, first) if first == _FIRST else _by(place, first)
        init = ("repo", "init", str(place / "repo"), "--encrypt", "--no-recovery-key")
        code = run_command(*init, *opener)
        assert code == 0, code
        for machine, names in backups:
            code = back_up(place, *names, machine=machine, options=_by(place, first))
            assert code == 0, (machine, code)
        (place / "second-slot").write_text(_slot(place, _SECOND, by=first))
        former = _slot(place, _FORMER, by=first)
        code = _do(place, "remove", former, by=first)
        assert code == 0, code

    return prepare


def _init(place: Path, *names: str) -> int:
    place.joinpath(KEYS).mkdir(exist_ok=True)
    init = ("repo", "init", str(place / "repo"), "--encrypt", "--no-recovery-key")
    return run_command(*init, *_coming(place, names[0]))


def _init_again(place: Path) -> int:
    """Make the repository unless it is there; then back up to it."""
    code = 0 if opens(place, _FIRST) else _init(place, _AGAIN)
    if code != 0:
        return code
    return back_up(place, "a", machine="one", options=_by(place, _opening(place, _FIRST, _AGAIN)))


def _changed(
    name: str,
    locks: Locks,
    act: Callable[[Path], int],
    again: Callable[[Path], int],
    *,
    first: str = _FIRST,
) -> Operation:
    def keeps(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as `Operation` has it
        found = locks.broken(place, done)
        if done and not found:
            found = amiss_after_a_kill(
                place, *_by(place, _opening(place, *locks.come, *locks.stay))
            )
        return found

    return Operation(
        name=name,
        prepare=encrypted(("one", ("a",)), first=first),
        act=act,
        again=again,
        adds=(),
        removes=(),
        restores=(),
        keeps=keeps,
    )


def _rotate(new: str, *by: str, master: bool = False) -> Callable[[Path], int]:
    """Return what replaces the first of the keys `by` that opens."""
    options = ("--master",) if master else ()

    def act(place: Path) -> int:
        return _do(place, "rotate", *options, *_coming(place, new), by=_opening(place, *by))

    return act


def _remove(digits: int) -> Callable[[Path], int]:
    def act(place: Path) -> int:
        slot = (place / "second-slot").read_text()
        return _do(place, "remove", slot[:digits], by=_FIRST)

    return act


def _backup(place: Path) -> int:
    return back_up(place, "b", machine="one", options=_by(place, _FIRST))


def _prune(place: Path) -> int:
    keep = ("--keep-last", "1")
    return run_command("repo", "prune", str(place / "repo"), *keep, *_by(place, _FIRST))


def warm_up(place: Path, /) -> None:
    """Run each command once in this process, so that no child has to import it for itself."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        encrypted(("one", ("a",)))(place)
        _rotate(_OTHER, _FIRST)(place)


_STAY: Final = Locks(stay=(_FIRST, _SECOND))

KEY_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="init-encrypted",
        prepare=lambda place: (place / KEYS).mkdir(parents=True),
        act=lambda place: _init(place, _FIRST),
        again=_init_again,
        adds=(),
        removes=(),
        restores=(),
    ),
    Operation(
        name="backup-encrypted",
        prepare=encrypted(("one", ("a",)), ("two", ("c", "d"))),
        act=_backup,
        again=_backup,
        adds=("b",),
        removes=(),
        restores=(),
        keeps=_STAY.broken,
    ),
    Operation(
        name="prune-encrypted",
        prepare=encrypted(("one", ("f",)), ("one", ("g",))),
        act=_prune,
        again=_prune,
        adds=(),
        removes=("one",),
        restores=(),
        keeps=_STAY.broken,
    ),
    _changed(
        "key-add",
        Locks(stay=(_FIRST, _SECOND), come=(_AGAIN,)),
        lambda place: _do(place, "add", *_coming(place, _NEW), by=_FIRST),
        lambda place: _do(place, "add", *_coming(place, _AGAIN), by=_FIRST),
    ),
    _changed(
        "key-add-passphrase",
        Locks(stay=(_FIRST, _SECOND), come=(_OTHER,)),
        lambda place: _do(place, "add", *_coming(place, _OTHER), by=_FIRST),
        lambda place: _do(place, "add", *_coming(place, _OTHER), by=_FIRST),
    ),
    _changed(
        "key-remove",
        Locks(stay=(_FIRST,), go=(_SECOND,)),
        _remove(_PREFIX),
        _remove(_PREFIX),
    ),
    _changed(
        "key-rotate",
        Locks(stay=(_FIRST,), go=(_SECOND,), come=(_AGAIN,), either=(_SECOND, _NEW, _AGAIN)),
        _rotate(_NEW, _SECOND),
        _rotate(_AGAIN, _SECOND, _NEW),
    ),
    _changed(
        "key-rotate-to-the-same",
        Locks(stay=(_SECOND, _WORDS)),
        _rotate(_WORDS, _WORDS),
        _rotate(_WORDS, _WORDS),
        first=_WORDS,
    ),
    _changed(
        "key-rotate-master",
        Locks(go=(_FIRST, _SECOND), come=(_OTHER,), either=(_FIRST, _OTHER)),
        _rotate(_OTHER, _FIRST, master=True),
        _rotate(_OTHER, _FIRST, _OTHER, master=True),
    ),
    _changed(
        "key-rotate-master-to-the-same",
        Locks(stay=(_WORDS,), go=(_SECOND,)),
        _rotate(_WORDS, _WORDS, master=True),
        _rotate(_WORDS, _WORDS, master=True),
        first=_WORDS,
    ),
)
