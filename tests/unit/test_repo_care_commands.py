"""`repo check`, `repo repair` and `repo copy` say in a sentence what is wrong, and lose nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.strategies.disk_places import MIB, Place, disk, place

__all__ = ["place"]


@pytest.fixture
def stored(place: Place) -> Place:
    """Return a place with two points."""
    place.back_up()
    content = disk(1)
    content[300_000:300_004] = b"edit"
    place.source.write_bytes(content)
    place.back_up()
    return place


def called(place: Place, *tokens: object) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and the records of one command."""
    code, out, err = place.run("--json", *tokens)
    assert err == "" or err.startswith("twinshot: ")
    assert "Traceback" not in err
    return code, [json.loads(line) for line in out.splitlines()]


def kinds(records: list[dict[str, Any]]) -> set[str]:
    """Return which kinds of problems were reported."""
    return {str(record["problem"]) for record in records if record["type"] == "object"}


def restores(place: Place) -> bool:
    """Return whether the newest point restores to the source as it is."""
    target = place.root / "back.raw"
    code, _ = called(
        place, "restore", "latest", "--repo", place.repo, "--to", target, "--overwrite"
    )
    return code == 0 and target.read_bytes() == place.source.read_bytes()


def first(directory: Path) -> Path:
    """Return the first file in a directory."""
    return min(path for path in directory.iterdir() if path.is_file())


def test_a_sound_repository_is_said_to_be_sound(stored: Place) -> None:
    """Exit code 0, and one sentence."""
    for options in ([], ["--read-data"], ["--read-data=2/3"]):
        code, out, err = stored.run("repo", "check", stored.repo, *options)
        assert (code, err) == (0, "")
        assert "2 points, 2 packs: all sound" in out

    stored.run("repo", "prune", stored.repo, "--keep-last", "1")
    assert "1 point, " in stored.run("repo", "check", stored.repo)[1]


@pytest.mark.parametrize("part", ["0/3", "4/3", "x", "1/0", "", "1/", "-1/3"])
def test_a_part_that_is_none_is_refused(stored: Place, part: str) -> None:
    """It says what a part looks like."""
    err = stored.refused(2, "repo", "check", stored.repo, f"--read-data={part}")
    assert "2/7" in err


@pytest.mark.parametrize("command", [("check",), ("repair",), ("copy", "other")])
def test_nothing_is_made_where_there_is_no_repository(
    place: Place, command: tuple[str, ...]
) -> None:
    """Looking after what does not exist is refused."""
    before = place.files()
    verb, *rest = command
    others = [place.root / each for each in rest]
    assert "no repository" in place.refused(10, "repo", verb, place.repo, *others)
    assert place.files() == before


def delete_pack(repo: Path) -> None:
    """Delete the pack that most blocks are in."""
    max((repo / "packs").iterdir(), key=lambda path: path.stat().st_size).unlink()


def delete_entry(repo: Path) -> None:
    """Delete one log entry, but not its copy."""
    (repo / "log" / "0000000002").unlink()


def cut_map(repo: Path) -> None:
    """Cut an object of pages short."""
    path = first(repo / "maps")
    path.write_bytes(path.read_bytes()[:100])


def lose_header(repo: Path) -> None:
    """Delete the header, but not its copies."""
    (repo / "repository.json").unlink()


def add_file(repo: Path) -> None:
    """Put somebody's file among the objects."""
    (repo / "packs" / "Thesis final.doc").write_bytes(b"x")


def add_object(repo: Path) -> None:
    """Put something among the objects that is named like one."""
    (repo / "packs" / "thesis-1").write_bytes(b"x")


@pytest.mark.parametrize(
    ("harm", "problem", "works", "mends"),
    [
        (delete_pack, "missing", False, False),
        (delete_entry, "missing", True, True),
        (cut_map, "damaged", True, True),
        (lose_header, "missing", True, True),
        (add_file, "foreign", True, False),
        (add_object, "foreign", True, False),
    ],
)
def test_half_a_repository_and_foreign_files_are_told_apart(
    stored: Place, harm: Callable[[Path], None], problem: str, *, works: bool, mends: bool
) -> None:
    """Each is named; what has a second copy goes on working, and is mended."""
    harm(stored.repo)
    code, records = called(stored, "repo", "check", stored.repo)
    assert code == 1
    assert kinds(records) == {problem}
    assert restores(stored) == works

    called(stored, "repo", "repair", stored.repo)
    code, _ = called(stored, "repo", "check", stored.repo, "--read-data")
    assert code == (0 if mends else 1)
    stored.back_up()
    assert restores(stored)


def test_a_log_that_lost_its_end_in_both_copies_is_missed(stored: Place) -> None:
    """The last portion of an index is written behind the commit: it tells of the lost entry."""
    for path in (stored.repo / "log", stored.repo / "copies" / "log"):
        max(path.iterdir()).unlink()
    code, records = called(stored, "repo", "check", stored.repo)

    assert code == 1
    assert "lacks the entry" in next(r["cause"] for r in records if r["type"] == "object")


def test_a_log_that_is_gone_altogether_is_missed(stored: Place) -> None:
    """A repository without a history, but with manifests of runs, is no empty one."""
    shutil.rmtree(stored.repo / "log")
    shutil.rmtree(stored.repo / "copies" / "log")
    code, records = called(stored, "repo", "check", stored.repo)

    assert code == 1
    assert kinds(records) == {"foreign"}


def test_a_newer_format_is_left_alone(stored: Place) -> None:
    """Every command refuses it before it looks at anything else."""
    for name in ("repository.json", "copies/repository-1.json", "copies/repository-2.json"):
        path = stored.repo / name
        path.write_bytes(path.read_bytes().replace(b'"format": 2', b'"format": 99'))
    before = {path: path.read_bytes() for path in stored.repo.rglob("*") if path.is_file()}
    for command in (("check",), ("repair",), ("copy", stored.root / "other")):
        verb, *rest = command
        assert "newer program" in stored.refused(2, "repo", verb, stored.repo, *rest)
    assert before == {path: path.read_bytes() for path in stored.repo.rglob("*") if path.is_file()}


def test_a_copy_restores_like_the_original_and_repairs_it(stored: Place) -> None:
    """Point by point the same; blocks that the first repository lost come back from the second."""
    other = stored.root / "other"
    assert called(stored, "repo", "copy", stored.repo, other)[0] == 0
    assert called(stored, "repo", "copy", stored.repo, other)[1][-1]["present"] == 2
    assert called(stored, "repo", "check", other, "--read-data")[0] == 0
    delete_pack(stored.repo)
    stored.source.rename(stored.root / "gone.raw")
    code, records = called(stored, "repo", "repair", stored.repo, "--from", other)

    assert code == 0
    assert records[-1]["wanted"] == 0
    (stored.root / "gone.raw").rename(stored.source)
    assert restores(stored)


def test_a_copy_takes_only_what_was_asked_for(stored: Place) -> None:
    """One machine, or single points; what nobody is called is refused with what there is."""
    web = stored.root / "data.raw"
    web.write_bytes(disk(3, 2 * MIB))
    stored.records("backup", web, "--repo", stored.repo, "--name", "data")
    other = stored.root / "other"
    err = stored.refused(2, "repo", "copy", stored.repo, other, "--machine", "mail")
    assert "data, web" in err
    records = stored.records("repo", "copy", stored.repo, other, "--machine", "data")
    assert [record["vm"] for record in records if record["type"] == "point"] == ["data"]
    newest = stored.records("points", "--repo", stored.repo)[1]["id"]
    records = stored.records("repo", "copy", stored.repo, other, "--points", newest[:10])
    assert [record["id"] for record in records if record["type"] == "point"] == [newest]
    code, records = called(stored, "repo", "copy", stored.repo, other)
    assert (code, records[-1]["late"]) == (3, 1)


def test_a_copy_into_somebodys_documents_is_refused(stored: Place) -> None:
    """Not one byte changes there."""
    other = stored.root / "documents"
    other.mkdir()
    (other / "Thesis final.doc").write_bytes(b"x")
    assert "Thesis" in stored.refused(2, "repo", "copy", stored.repo, other)
    assert [path.name for path in other.iterdir()] == ["Thesis final.doc"]


def test_a_dry_repair_changes_no_file(stored: Place) -> None:
    """It says what a repair would do."""
    delete_entry(stored.repo)
    delete_pack(stored.repo)
    before = stored.files()
    code, records = called(stored, "repo", "repair", stored.repo, "--dry-run")

    assert code == 1
    assert [r["name"] for r in records if r["type"] == "replaced"] == ["log/0000000002"]
    assert stored.files() == before
