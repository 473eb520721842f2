"""Repairs of several injuries, checks, copies to a second repository, and parity."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from simulator.campaign.proving.children import run_command
from simulator.campaign.proving.operations import (
    Operation,
    back_up,
    look,
    prepared,
)

_SOURCE: Final = "source"
"""The directory of what is copied, itself one with a repository in it."""

_DAMAGED: Final = "damaged"
"""The directory with what an injury has made of objects, which a repair keeps in quarantine."""

_PARITY: Final = ("--parity", "50%", "--pack-parity", "3")
_FLIPPED: Final = 16
"""Bytes of an object that an injury turns over."""


def with_parity(*backups: tuple[str, tuple[str, ...]]) -> Callable[[Path], None]:
    """Return what fills a directory, in a repository with parity by and over packs."""

    def prepare(place: Path) -> None:
        place.mkdir()
        code = run_command("repo", "init", str(place / "repo"), *_PARITY)
        assert code == 0, code
        for machine, names in backups:
            code = back_up(place, *names, machine=machine)
            assert code == 0, (machine, code)

    return prepare


def amiss(place: Path, /, *options: str) -> list[str]:
    """Return what a check that reads every block finds amiss."""
    said = io.StringIO()
    command = ("repo", "check", str(place / "repo"), "--read-data", "--json", *options)
    with contextlib.redirect_stdout(said):
        code = run_command(*command)
    return [] if code == 0 else said.getvalue().splitlines()[:-1] or [f"a check ends with {code}"]


def amiss_after_a_kill(place: Path, /, *options: str) -> list[str]:
    """Return what is amiss beyond copies and an index that a killed command has not yet written.

    These cost space, or a way to open in need: a repair adds them.
    """
    found = amiss(place, *options)
    if not found or not all(map(_is_a_copy_less, found)):
        return found
    code = run_command("repo", "repair", str(place / "repo"), *options)
    return [f"a repair ends with {code}"] if code != 0 else amiss(place, *options)


def _is_a_copy_less(line: str) -> bool:
    finding = msgspec.json.decode(line)
    if finding.get("problem") in {"leftover", "pending"}:
        return True
    name = str(finding.get("name", ""))
    return finding.get("problem") == "missing" and name.startswith(("copies/", "index/"))


def _sound(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as `Operation.keeps` has it
    """Return what is still amiss, and which damaged bytes are nowhere any more."""
    dropped = []
    damaged = sorted((place / _DAMAGED).glob("*"))
    if damaged:
        held = [path.read_bytes() for path in (place / "repo").rglob("*") if path.is_file()]
        dropped = [f"{each.name} is gone" for each in damaged if each.read_bytes() not in held]
    return dropped + (amiss(place) if done else [])


def _repairable(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as above
    return amiss_after_a_kill(place) if done else []


def _spared(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as above
    """Return which pack cannot be lost, with its own parity, without a point being lost too."""
    if not done:
        return []
    found = amiss_after_a_kill(place)
    held = look(place)
    for pack in _found(place, "packs/*"):
        parity = place / "repo" / "parity" / "packs" / pack.name
        both = [(path, path.read_bytes()) for path in (pack, parity) if path.exists()]
        for path, _ in both:
            path.unlink()
        if look(place) != held:
            found.append(f"without {pack.name} points do not restore")
        for path, content in both:
            path.write_bytes(content)
    return found


def _found(place: Path, pattern: str) -> list[Path]:
    found = sorted(place.glob(f"repo/{pattern}"))
    assert found, pattern
    return found


def _take(*patterns: str) -> Callable[[Path], None]:
    """Return what takes away the first object of each pattern."""

    def injure(place: Path) -> None:
        for pattern in patterns:
            _found(place, pattern)[0].unlink()

    return injure


def _flip(*patterns: str) -> Callable[[Path], None]:
    """Return what turns bytes over in the middle of the first object of each pattern."""

    def injure(place: Path) -> None:
        for pattern in patterns:
            path = _found(place, pattern)[0]
            content = bytearray(path.read_bytes())
            at = len(content) // 2
            for index in range(at, min(at + _FLIPPED, len(content))):
                content[index] ^= 0xFF
            path.write_bytes(content)
            if pattern.startswith("packs/"):
                continue  # what parity renews is bit for bit what was stored
            (place / _DAMAGED).mkdir(exist_ok=True)
            name = "-".join(path.relative_to(place / "repo").parts)
            (place / _DAMAGED / name).write_bytes(content)

    return injure


def _readable(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as above
    """Return what is amiss where entries of the log are lost: points are read all the same."""
    code = run_command("verify", "--repo", str(place / "repo"))
    return [f"a verify ends with {code}"] if code != 0 else _sound(place, done)


def _repaired(
    name: str,
    prepare: Callable[[Path], None],
    injure: Callable[[Path], None],
    *options: str,
    loses: bool = False,
    keeps: Callable[[Path, bool], list[str]] = _sound,
) -> Operation:
    def act(place: Path) -> int:
        others = [each.replace("PLACE", str(place)) for each in options]
        return run_command("repo", "repair", str(place / "repo"), *others)

    return Operation(
        name=name,
        prepare=prepare,
        injures=injure,
        act=act,
        again=act,
        adds=(),
        removes=(),
        restores=(),
        loses=loses,
        keeps=keeps,
    )


def _copied(
    name: str, before: tuple[tuple[str, tuple[str, ...]], ...], *later: tuple[str, tuple[str, ...]]
) -> Operation:
    """Return a copy of points, some of which were copied before."""

    def prepare(place: Path) -> None:
        place.mkdir()
        prepared(*before)(place / _SOURCE)
        if before and later:
            code = _copy(place)
            assert code == 0, code
        for machine, names in later:
            code = back_up(place / _SOURCE, *names, machine=machine)
            assert code == 0, (machine, code)

    def keeps(place: Path, done: bool) -> list[str]:  # noqa: FBT001 - as `Operation` has it
        held = [content for _, _, content in look(place / _SOURCE).points]
        changed = [] if held == expected else [f"the source holds {held}"]
        return changed + (amiss_after_a_kill(place) if done else [])

    expected = [",".join(names) for _, names in (*before, *later)]
    return Operation(
        name=name,
        prepare=prepare,
        act=_copy,
        again=_copy,
        adds=tuple(",".join(names) for _, names in (later or before)),
        removes=(),
        restores=(),
        keeps=keeps,
    )


def _copy(place: Path) -> int:
    return run_command("repo", "copy", str(place / _SOURCE / "repo"), str(place / "repo"))


def _with_a_copy(*backups: tuple[str, tuple[str, ...]]) -> Callable[[Path], None]:
    """Return what fills a directory, and copies all of it to a second repository."""

    def prepare(place: Path) -> None:
        prepared(*backups)(place)
        code = run_command("repo", "copy", str(place / "repo"), str(place / "other"))
        assert code == 0, code

    return prepare


def _check(place: Path) -> int:
    return run_command("repo", "check", str(place / "repo"), "--read-data")


def _parity_backup(place: Path) -> int:
    return back_up(place, "c", machine="one")


def _parity_prune(place: Path) -> int:
    return run_command("repo", "prune", str(place / "repo"), "--keep-last", "1")


def warm_up(place: Path, /) -> None:
    """Run each command once in this process, so that no child has to import it for itself."""
    place.mkdir()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with_parity(_ONE)(place / _SOURCE)
        _copy(place)
        _take("index/*")(place)
        amiss_after_a_kill(place)


_ONE: Final = ("one", ("a",))
_NEXT: Final = ("one", ("b",))
_TWO: Final = ("two", ("d", "e"))
_FILLED: Final = prepared(_ONE, _NEXT)

CARE_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="check-read-data",
        prepare=prepared(_ONE, _TWO),
        act=_check,
        again=_check,
        adds=(),
        removes=(),
        restores=(),
        changes=False,
    ),
    _repaired("repair-log-copy", _FILLED, _take("copies/log/*")),
    _repaired("repair-log", _FILLED, _flip("log/*")),
    _repaired("repair-index", _FILLED, _take("index/*")),
    _repaired("repair-damaged-index", _FILLED, _flip("index/*")),
    _repaired("repair-page-copy", _FILLED, _take("copies/maps/*")),
    _repaired("repair-pages", _FILLED, _flip("maps/*")),
    _repaired("repair-manifest", _FILLED, _flip("points/*")),
    _repaired(
        "repair-several",
        _FILLED,
        _flip("copies/repository-1.json", "log/*", "maps/*", "copies/points/*"),
    ),
    _repaired("repair-by-parity", with_parity(_ONE, _NEXT), _flip("packs/*")),
    _repaired(
        "repair-by-pack-parity", with_parity(_ONE, _NEXT), _take("packs/*", "parity/packs/*")
    ),
    _repaired("repair-parity", with_parity(_ONE, _NEXT), _take("parity/packs/*")),
    _repaired(
        "repair-from-another",
        _with_a_copy(_ONE, _NEXT),
        _flip("packs/*"),
        *("--from", "PLACE/other"),
        loses=True,
    ),
    _repaired(
        "renew-log",
        _FILLED,
        _take("log/0000000002", "copies/log/0000000002"),
        "--renew-log",
        loses=True,
        keeps=_readable,
    ),
    _repaired(
        "renew-damaged-log",
        _FILLED,
        _flip("log/0000000003", "copies/log/0000000003"),
        "--renew-log",
        loses=True,
        keeps=_readable,
    ),
    _copied("copy", (_ONE, _TWO)),
    _copied("later-copy", (_ONE, _TWO), _NEXT),
    Operation(
        name="init-with-parity",
        prepare=prepared(),
        act=lambda place: run_command("repo", "init", str(place / "repo"), *_PARITY),
        again=lambda place: back_up(place, "a", machine="one"),
        adds=(),
        removes=(),
        restores=(),
    ),
    Operation(
        name="backup-with-parity",
        prepare=with_parity(_ONE, _NEXT),
        act=_parity_backup,
        again=_parity_backup,
        adds=("c",),
        removes=(),
        restores=(),
        keeps=_spared,
    ),
    Operation(
        name="prune-with-parity",
        prepare=with_parity(("one", ("f",)), ("one", ("g",))),
        act=_parity_prune,
        again=_parity_prune,
        adds=(),
        removes=("one",),
        restores=(),
        keeps=_repairable,
    ),
)
