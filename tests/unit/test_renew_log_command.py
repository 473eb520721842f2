"""`repo repair --renew-log` says what it found, and what does not need the log works without it."""

import subprocess
from pathlib import Path

import pytest

from tests.strategies.disk_places import Place, disk, place
from tests.strategies.mounts import mounted
from tests.strategies.vaults import Vault, vault

__all__ = ["place", "vault"]


@pytest.fixture
def broken(place: Place) -> Place:
    """Return a place with two points, whose second log entry is lost in both copies."""
    place.back_up()
    place.source.write_bytes(disk(2))
    place.back_up()
    lose(place.repo, 2)
    return place


def lose(repo: Path, number: int) -> None:
    """Delete both copies of an entry."""
    for path in ("log", "copies/log"):
        (repo / path / f"{number:010}").unlink()


def test_points_are_listed_restored_and_verified_without_the_log(broken: Place) -> None:
    """With a remark, and nothing is written."""
    before = {path: path.read_bytes() for path in broken.repo.rglob("*") if path.is_file()}
    target = broken.root / "back.raw"
    records = broken.records("points", "--repo", broken.repo)
    assert [record["type"] for record in records] == [
        "damaged-log",
        "found-point",
        "point",
        "point",
        "summary",
    ]
    assert records[0]["lost"] == [2]
    code, _, err = broken.run("restore", "latest", "--repo", broken.repo, "--to", target)
    assert (code, target.read_bytes()) == (0, broken.source.read_bytes())
    assert "log entry 2 is damaged" in err
    assert "repo repair --renew-log" in err
    assert broken.run("verify", "--repo", broken.repo)[0] == 0
    other = broken.root / "other"
    assert broken.run("repo", "copy", broken.repo, other)[0] == 0
    assert len(broken.records("points", "--repo", other)) == 3
    assert before == {p: p.read_bytes() for p in broken.repo.rglob("*") if p.is_file()}


@pytest.mark.parametrize("command", ["check", "repair", "prune", "info", "stats"])
def test_what_needs_the_log_names_the_way_out(broken: Place, command: str) -> None:
    """In one sentence, and nothing is changed."""
    before = broken.files()
    rules = ["--keep-last", "1"] if command == "prune" else []
    err = broken.refused(1, "repo", command, broken.repo, *rules)
    assert "log entry 2 is damaged" in err
    assert "repo repair --renew-log" in err
    assert "--renew-log" in broken.refused(1, "backup", broken.source, "--repo", broken.repo)
    assert broken.files() == before


def test_a_renewal_says_what_it_found_and_is_done_once(broken: Place) -> None:
    """A dry one says the same, and changes nothing."""
    before = broken.files()
    dry = broken.records("repo", "repair", broken.repo, "--renew-log", "--dry-run")
    assert broken.files() == before
    done = broken.records("repo", "repair", broken.repo, "--renew-log")
    assert {**dry[-1], "renewed": True} == done[-1]
    assert dry[-1]["renewed"] is False
    assert (done[-1]["lost"], done[-1]["entry"], done[-1]["points"]) == ([2], 5, 2)
    assert done[-1]["by_manifest"] == 1
    again = broken.records("repo", "repair", broken.repo, "--renew-log")
    assert again == [{"type": "summary", "renewed": False, "lost": [], "points": 0, "exit_code": 0}]
    assert broken.run("repo", "check", broken.repo, "--read-data")[0] == 0
    assert broken.back_up()["exit_code"] == 0
    assert len(broken.records("points", "--repo", broken.repo)) == 4
    assert broken.run("repo", "prune", broken.repo, "--keep-last", "1")[0] == 0
    assert broken.run("repo", "check", broken.repo, "--read-data")[0] == 0
    assert broken.run("repo", "repair", broken.repo)[0] == 0


def test_a_person_is_told_in_words(broken: Place) -> None:
    """Which entries, how many points, which of them nobody vouches for."""
    code, out, err = broken.run("repo", "repair", broken.repo, "--renew-log")
    assert code == 0
    assert "lost entries of the log: 2\n2 points found\n" in out
    assert "entry 5 written: the log goes on there" in out
    assert "found by its manifest only" in err


def test_nothing_is_taken_from_elsewhere(broken: Place) -> None:
    """Two options that do not go together are refused."""
    err = broken.refused(2, "repo", "repair", broken.repo, "--renew-log", "--from", broken.repo)
    assert "leave --from away" in err


def test_a_whole_log_is_left_alone(place: Place) -> None:
    """It says so, and not one file changes."""
    place.back_up()
    before = place.files()
    code, out, err = place.run("repo", "repair", place.repo, "--renew-log")
    assert (code, out, err) == (0, "the log is whole: there was nothing to renew\n", "")
    assert place.files() == before


def test_a_repository_that_takes_no_removal_is_renewed(place: Place) -> None:
    """Append-only: nothing is removed for it."""
    assert place.run("repo", "init", place.repo, "--append-only")[0] == 0
    place.back_up()
    lose(place.repo, 1)
    before = place.files()
    assert place.run("repo", "repair", place.repo, "--renew-log")[0] == 0
    assert before < place.files()
    assert place.run("repo", "check", place.repo, "--read-data")[0] == 0


def test_a_read_only_medium_is_read_and_not_renewed(place: Place) -> None:
    """Points are listed and restored; the remedy for the renewal is in one sentence."""
    with mounted(place.repo, "size=8m"):
        place.back_up()
        lose(place.repo, 1)
        subprocess.run(["mount", "-o", "remount,ro", str(place.repo)], check=True)

        assert place.run("verify", "--repo", place.repo)[0] == 0
        said = place.refused(4, "repo", "repair", place.repo, "--renew-log")
        assert "make it writable" in said
        assert place.run("repo", "repair", place.repo, "--renew-log", "--dry-run")[0] == 0


def test_a_log_cut_short_is_found_out_and_renewed(place: Place) -> None:
    """Nothing stands behind the lost entry: a check tells of it, and names the command."""
    place.back_up()
    place.source.write_bytes(disk(2))
    place.back_up()
    lose(place.repo, 4)
    code, out, _ = place.run("--json", "repo", "check", place.repo)
    assert code == 1
    assert "--renew-log" in out
    done = place.records("repo", "repair", place.repo, "--renew-log")[-1]
    assert (done["lost"], done["entry"], done["points"], done["by_manifest"]) == ([], 4, 2, 1)
    assert place.run("repo", "check", place.repo, "--read-data")[0] == 0


def test_an_encrypted_repository_asks_for_its_key_once_more(vault: Vault) -> None:
    """Without a key nothing is said, with a wrong one nothing is changed."""
    vault.create()
    vault.records("backup", vault.source, *vault.by)
    lose(vault.repo, 1)
    before = {path: path.read_bytes() for path in vault.repo.rglob("*") if path.is_file()}
    vault.refused(12, "repo", "repair", vault.repo, "--renew-log")
    vault.refused(12, "repo", "repair", vault.repo, "--renew-log", "--password-file", vault.wrong)
    assert before == {p: p.read_bytes() for p in vault.repo.rglob("*") if p.is_file()}
    kinds = [record["type"] for record in vault.records("points", *vault.by)]
    assert kinds == ["damaged-log", "doubtful-key", "point", "summary"]
    own = vault.records("repo", "repair", *vault.own, "--renew-log")[-1]
    assert own["points"] == 1
    assert len(own["doubtful_keys"]) == 1
    assert vault.run("repo", "check", *vault.own, "--read-data")[0] == 0


def test_a_key_for_a_repository_in_clear_is_refused(broken: Place) -> None:
    """Somebody may have put it in the place of an encrypted one."""
    words = broken.root / "words"
    words.write_text("secret")
    err = broken.refused(2, "repo", "repair", broken.repo, "--renew-log", "--password-file", words)
    assert "not encrypted" in err
