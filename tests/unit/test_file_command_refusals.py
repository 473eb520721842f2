"""Wherever a backup or restore cannot be done, a sentence says why, and nothing is lost."""

import json
import subprocess

import pytest

from tests.strategies.disk_places import Place, disk, place
from tests.strategies.mounts import mounted

__all__ = ["place"]
COMMANDS = (("points",), ("verify",), ("restore", "latest", "--to", "out.raw"))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_absent_repository_is_said_to_be_absent(place: Place, command: tuple[str, ...]) -> None:
    """Reading commands never create one, whether the directory is missing or empty."""
    before = place.files()
    assert "no repository" in place.refused(10, *command, "--repo", place.repo)
    assert place.files() == before


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_repository_has_no_point(place: Place, command: tuple[str, ...]) -> None:
    """There is nothing to choose from, which is no fault of a listing."""
    place.back_up()
    for entry in [*(place.repo / "log").iterdir(), *(place.repo / "copies/log").iterdir()]:
        entry.unlink()

    code, _, err = place.run(*command, "--repo", place.repo)
    assert code == (0 if command == ("points",) else 5)
    assert err == "" or "no point yet" in err


@pytest.mark.parametrize("name", ["Thesis final.doc", "notes.txt", "repository.json"])
def test_a_foreign_directory_is_left_alone(place: Place, name: str) -> None:
    """A backup into somebody's documents is refused, and not one byte changes."""
    place.repo.mkdir()
    (place.repo / name).write_bytes(b"{}")
    before = place.files()

    place.refused(2, "backup", place.source, "--repo", place.repo)
    assert place.files() == before


def test_a_newer_repository_asks_for_a_newer_program(place: Place) -> None:
    """What a later format means cannot be known, so nothing is read and nothing written."""
    place.back_up()
    copies = place.repo / "copies"
    for header in (place.repo / "repository.json", *copies.glob("repository-*.json")):
        header.write_text(header.read_text().replace('"format": 2', '"format": 3'))
    before = place.files()

    assert "newer program" in place.refused(2, "points", "--repo", place.repo)
    place.refused(2, "backup", place.source, "--repo", place.repo)
    assert place.files() == before


def test_a_file_in_place_of_the_repository_is_refused(place: Place) -> None:
    """The remedy is to name a directory; the file is named once."""
    place.repo.write_bytes(b"")

    said = place.refused(4, "points", "--repo", place.repo)
    assert "name a directory" in said
    assert said.count(str(place.repo)) == 1
    assert "name a directory" in place.refused(4, "backup", place.source, "--repo", place.repo)


def test_a_read_only_repository_can_be_read(place: Place) -> None:
    """Listing and restoring work; a backup is refused with the remedy."""
    with mounted(place.repo, "size=8m"):
        place.back_up()
        subprocess.run(["mount", "-o", "remount,ro", str(place.repo)], check=True)

        assert place.run("verify", "--repo", place.repo)[0] == 0
        assert "make it writable" in place.refused(4, "backup", place.source, "--repo", place.repo)


def test_a_full_repository_keeps_what_it_has(place: Place) -> None:
    """Where the new blocks do not fit, no point appears, and the old ones are whole."""
    with mounted(place.repo, "size=768k"):
        point = place.back_up()["point"]
        held = {path: path.read_bytes() for path in place.repo.rglob("*") if path.is_file()}
        place.source.write_bytes(disk(2))

        said = place.refused(4, "backup", place.source, "--repo", place.repo)
        assert "has no space left; make room there" in said
        left = {path: path.read_bytes() for path in place.repo.rglob("*") if path.is_file()}
        # The opened run stays in the history; its blocks are gone.
        assert {path.name for path in left.keys() - held.keys()} == {
            "0000000003",
            "0000000004",
        }
        assert held.items() <= left.items()
        assert [entry["id"] for entry in place.records("points", "--repo", place.repo)[:-1]] == [
            point
        ]
        assert place.run("verify", "--repo", place.repo)[0] == 0


def test_a_full_target_is_left_as_it_was(place: Place) -> None:
    """An image that does not fit leaves nothing of itself behind."""
    place.back_up()
    target = place.root / "target"
    with mounted(target, "size=256k"):
        to = target / "restored.raw"
        place.refused(4, "restore", "latest", "--repo", place.repo, "--to", to)
        assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.raw", None),
        ("empty.raw", b""),
        ("letter.raw", b"Dear Sir or Madam, " * 1000),
        ("odd.raw", bytes(disk(1)) + b"x"),
        ("cut.vhdx", b"vhdxfile" + bytes(5000)),
        ("other.raw", b"QFI\xfb" + bytes(70_000)),
    ],
)
def test_what_is_no_disk_is_refused(place: Place, name: str, content: bytes | None) -> None:
    """A mistaken source is an input error, and no repository is left behind by it."""
    source = place.root / name
    if content is not None:
        source.write_bytes(content)
    before = place.files()

    assert name in place.refused(2, "backup", source, "--repo", place.repo)
    assert place.files() == before


def test_a_wrong_name_gets_a_hint(place: Place) -> None:
    """Whoever mistypes a machine, a point or a command is told what there is."""
    place.back_up()
    options = ("--repo", place.repo, "--to", place.root / "out.raw")

    assert "did you mean web?" in place.refused(2, "restore", "wbe", *options)
    assert "did you mean latest?" in place.refused(2, "restore", "lastest", *options)
    assert "did you mean restore?" in place.refused(2, "restor", "web", *options)
    assert "web.raw" in place.refused(2, "restore", "web", *options, "--disk", "d:")
    assert ".vhdx" in place.refused(
        2, "restore", "web", "--repo", place.repo, "--to", place.root / "out.zip"
    )
    place.refused(2, "points", "--repo", place.repo, "--no-such-option")
    place.refused(2, "backup", "--repo", place.repo)
    place.refused(2, "backup", place.source, place.source, "--repo", place.repo)


def test_errors_are_records_for_programs(place: Place) -> None:
    """With --json the last line says why, with the exit code."""
    code, out, _ = place.run("points", "--repo", place.repo, "--json")

    assert code == 10
    record = json.loads(out)
    assert (record["type"], record["exit_code"]) == ("error", 10)


@pytest.mark.parametrize("text", ["{}", "[[1]]", "[[-1, 5]]", "no JSON"])
def test_what_is_no_change_map_is_refused(place: Place, text: str) -> None:
    """A map that cannot be understood must not be taken as an empty one."""
    changed = place.root / "changed.json"
    changed.write_text(text)
    refusal = place.refused(2, "backup", place.source, "--repo", place.repo, "--changed", changed)
    assert "no change map" in refusal
