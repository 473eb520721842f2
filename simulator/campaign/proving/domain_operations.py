"""Dedup domains that come, are backed up into, copied from one to another, and shredded.

Each starts from a repository that `first.key` opens, with the same disk in and outside domains.
"""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.repository.domain_keys import key_names
from reference_engine.repository.domain_names import domain_of, keyed_domain
from reference_engine.repository.repository import Repository
from simulator.campaign.proving.care_operations import amiss_after_a_kill
from simulator.campaign.proving.children import run_command
from simulator.campaign.proving.operations import (
    KEYS,
    Found,
    Operation,
    back_up,
    held,
    look,
    on_repository,
)

_FIRST: Final = "first.key"
_SECOND: Final = "second.key"
_SOURCE: Final = "source"
"""The directory of what is copied, itself one with a repository in it."""

_OWN: Final = ""
_Backups = tuple[tuple[str, str, tuple[str, ...]], ...]
"""Domain, machine, and what is on its disks."""


class _Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of domains."""

    names: dict[str, str]
    """By id, of those that were not shredded."""

    homes: dict[str, str]
    """By point, the name of its domain."""

    without_key: tuple[str, ...]
    """Names of domains whose key cannot be read, or is not there twice."""

    keys: tuple[str, ...]
    """Objects of keys of domains that do not stand."""

    left: tuple[str, ...]
    """Other objects of domains that do not stand."""


def _by(place: Path) -> tuple[str, str]:
    return "--key-file", str(place / KEYS / _FIRST)


def _do(place: Path, *words: str) -> int:
    return run_command("repo", *words, *_by(place))


def _add(place: Path, domain: str) -> int:
    return _do(place, "domain", "add", str(place / "repo"), domain)


def _shred(place: Path, domain: str) -> int:
    return _do(place, "domain", "shred", str(place / "repo"), domain, "--yes")


def _prune(place: Path) -> int:
    return _do(place, "prune", str(place / "repo"))


def with_domains(*names: str, backups: _Backups) -> Callable[[Path], None]:
    """Return what fills a directory in an encrypted repository with domains of these names."""

    def prepare(place: Path) -> None:
        (place / KEYS).mkdir(parents=True)
        new = ("--new-key-file", str(place / KEYS / _FIRST), "--no-recovery-key")
        code = run_command("repo", "init", str(place / "repo"), "--encrypt", *new)
        assert code == 0, code
        for name in names:
            code = _add(place, name)
            assert code == 0, (name, code)
        for domain, machine, disks in backups:
            code = _back_up(place, *disks, machine=machine, domain=domain)
            assert code == 0, (domain, machine, code)

    return prepare


def _back_up(place: Path, *disks: str, machine: str, domain: str | None) -> int:
    into = () if domain is None else ("--domain", domain)
    return back_up(place, *disks, machine=machine, options=(*_by(place), *into))


def _standing(place: Path) -> _Standing:
    async def work(repository: Repository) -> _Standing:
        assert repository.domains is not None, place
        listed = await repository.domains.listed()
        names = {each.domain: each.name for each in listed}
        entries = await repository.commits()
        stored = await repository.store.names("")
        return _Standing(
            names=names,
            homes={e.point: names.get(domain_of(e.manifest), _OWN) for e in entries},
            without_key=tuple(
                each.name
                for each in listed
                if not each.has_key or not {*key_names(each.domain)}.issubset(stored)
            ),
            keys=tuple(name for name in stored if keyed_domain(name) not in {_OWN, *names}),
            left=tuple(name for name in stored if domain_of(name) not in {_OWN, *names}),
        )

    found: _Standing = on_repository(place, work)
    return found


def _apart(place: Path, standing: _Standing) -> list[str]:
    """Return which points need anything that was stored for points of another domain."""
    found = []
    packs = sorted(place.glob("repo/packs/*"))
    whole = {point: content for point, _, content in look(place).points}
    for domain, name in {_OWN: _OWN, **standing.names}.items():
        others = [path for path in packs if domain_of(f"packs/{path.name}") != domain]
        contents = [path.read_bytes() for path in others]
        for path in others:
            path.unlink()
        found += [
            f"{point} of domain {name!r} needs packs of others"
            for point, _, content in look(place).points
            if standing.homes[point] == name and content != whole[point]
        ]
        for path, content in zip(others, contents, strict=True):
            path.write_bytes(content)
    return found


def _kept(
    homes: dict[str, str], *, shredded: str = _OWN, comes: str = _OWN
) -> Callable[[Path, bool], list[str]]:
    """Return what looks whether machines' points are where they belong, and keys are there.

    `shredded` goes with all its points, and `comes` is there once all is done.
    """

    def keeps(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as `Operation.keeps` has it
        standing = _standing(place)
        names = list(standing.names.values())
        points = look(place).points
        found = [f"the key of domain {name} is not there twice" for name in standing.without_key]
        found += [
            f"{point} of {machine} is in domain {standing.homes[point]!r}"
            for point, machine, _ in points
            if standing.homes[point] != homes[machine]
        ]
        wanted = {name for name in homes.values() if name not in {_OWN, shredded, comes}}
        found += [f"domain {name} is gone" for name in sorted(wanted) if name not in names]
        found += [f"domain {name} is there twice" for name in wanted if names.count(name) > 1]
        if not done:
            return found
        if shredded:
            found += [f"the key {name} is still there" for name in standing.keys]
            found += [f"domain {shredded} is still there"] * (shredded in names)
            found += [
                f"{point} of {machine} is still there"
                for point, machine, _ in points
                if homes[machine] == shredded
            ]
        if comes and names.count(comes) != 1:
            found.append(f"domain {comes} is there {names.count(comes)} times")
        return found or _apart(place, standing) or amiss_after_a_kill(place, *_by(place))

    return keeps


def _is_listed(name: str) -> Callable[[Path], bool]:
    """Return what says whether there is a domain of this name, with its key."""

    def made(place: Path) -> bool:
        standing = _standing(place)
        return name in standing.names.values() and name not in standing.without_key

    return made


def _is_shredded(name: str) -> Callable[[Path], bool]:
    """Return what says whether a domain and each object of its key are gone."""

    def made(place: Path) -> bool:
        standing = _standing(place)
        return name not in standing.names.values() and not standing.keys

    return made


def _nothing_left(place: Path) -> bool:
    """Return whether all is given back that domains had stored that were shredded."""
    standing = _standing(place)
    return not standing.keys and not standing.left


def _add_again(place: Path) -> int:
    """Add the domain unless it is there, and put a point in it."""
    code = _add(place, "blue")
    if code == 2 and "blue" in _standing(place).names.values():
        code = 0
    return code or _back_up(place, "c", machine="three", domain="blue")


def _shredded_by_halves(place: Path) -> None:
    """Shred a domain, and die before the second object of its key is deleted."""
    [red] = [domain for domain, name in _standing(place).names.items() if name == "red"]
    key = place / "repo" / key_names(red)[1]
    content = key.read_bytes()
    code = _shred(place, "red")
    assert code == 0, code
    key.write_bytes(content)


def _shredded(halves: bool) -> Callable[[Path], None]:  # noqa: FBT001 - one of two preparations
    def prepare(place: Path) -> None:
        with_domains("red", "blue", backups=_ALL)(place)
        if halves:
            _shredded_by_halves(place)
        else:
            code = _shred(place, "red")
            assert code == 0, code

    return prepare


def _given_back(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as `Operation.keeps`
    found = _PRUNED(place, done)
    if done and not found:
        standing = _standing(place)
        found = [f"{name} was not given back" for name in (*standing.keys, *standing.left)]
    return found


def _copy(place: Path) -> int:
    os.environ["TWINSHOT_TO_KEY_FILE"] = str(place / KEYS / _FIRST)
    source = place / _SOURCE
    return run_command("repo", "copy", str(source / "repo"), str(place / "repo"), *_by(source))


def _with_source(place: Path) -> None:
    """Fill a directory with two repositories that have domains of the same names."""
    with_domains("blue", "red", backups=((_OWN, "two", ("a",)),))(place)
    with_domains("red", "blue", backups=_COPIED)(place / _SOURCE)


def _copied(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as `Operation.keeps` has it
    found: Found = on_repository(place / _SOURCE, held)
    contents = [content for _, _, content in found.points]
    changed = [] if contents == [",".join(d) for _, _, d in _COPIED] else [f"it holds {contents}"]
    return changed + _kept({"one": "red", "four": "blue", "two": _OWN})(place, done)


def warm_up(place: Path, /) -> None:
    """Run each command once in this process, so that no child has to import it for itself."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        _shredded(halves=False)(place)
        _prune(place)
        _standing(place)


_RED: Final = (("red", "one", ("a",)), ("red", "one", ("b",)), ("red", "four", ("a", "d")))
_OTHERS: Final = (("blue", "two", ("a",)), (_OWN, "three", ("a", "c")))
_ALL: Final = (*_RED, *_OTHERS)
_COPIED: Final = (("red", "one", ("a",)), ("blue", "four", ("a", "d")))
_HOMES: Final = {"one": "red", "four": "red", "two": "blue", "three": _OWN}
_PRUNED: Final = _kept({"two": "blue", "three": _OWN})

DOMAIN_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="domain-add",
        prepare=with_domains("red", backups=(*_RED[:1], (_OWN, "two", ("a",)))),
        act=lambda place: _add(place, "blue"),
        again=_add_again,
        adds=("c",),
        removes=(),
        restores=(),
        keeps=_kept({"one": "red", "two": _OWN, "three": "blue"}, comes="blue"),
        made=_is_listed("blue"),
    ),
    Operation(
        name="backup-in-domain",
        prepare=with_domains("red", "blue", backups=(*_RED[:1], (_OWN, "three", ("a",)))),
        act=lambda place: _back_up(place, "a", machine="two", domain="blue"),
        again=lambda place: _back_up(place, "a", machine="two", domain="blue"),
        adds=("a",),
        removes=(),
        restores=(),
        keeps=_kept(_HOMES),
    ),
    Operation(
        name="next-backup-in-domain",
        prepare=with_domains("red", "blue", backups=(*_RED[:1], *_OTHERS)),
        act=lambda place: _back_up(place, "b", machine="one", domain=None),
        again=lambda place: _back_up(place, "b", machine="one", domain=None),
        adds=("b",),
        removes=(),
        restores=(),
        keeps=_kept(_HOMES),
    ),
    Operation(
        name="domain-shred",
        prepare=with_domains("red", "blue", backups=_ALL),
        act=lambda place: _shred(place, "red"),
        again=lambda place: _shred(place, "red"),
        adds=(),
        removes=(),
        shreds=("one", "four"),
        restores=(),
        keeps=_kept(_HOMES, shredded="red"),
        made=_is_shredded("red"),
    ),
    Operation(
        name="prune-after-shred",
        prepare=_shredded(halves=False),
        act=_prune,
        again=_prune,
        adds=(),
        removes=(),
        restores=(),
        keeps=_given_back,
        made=_nothing_left,
    ),
    Operation(
        name="prune-after-half-a-shred",
        prepare=_shredded(halves=True),
        act=_prune,
        again=_prune,
        adds=(),
        removes=(),
        restores=(),
        keeps=_given_back,
        made=_nothing_left,
    ),
    Operation(
        name="copy-between-domains",
        prepare=_with_source,
        act=_copy,
        again=_copy,
        adds=("a", "a,d"),
        removes=(),
        restores=(),
        keeps=_copied,
    ),
)
