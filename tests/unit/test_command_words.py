"""What people type, and what they are told when it is too little, too much or not there."""

import importlib.metadata
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.strategies.disk_places import Place, disk, place

__all__ = ["place"]
REPO = "TWINSHOT_REPO"


def test_the_version_is_the_installed_one(place: Place) -> None:
    """Whoever reports something can say what ran."""
    code, out, _ = place.run("--version")
    assert (code, out.strip()) == (0, f"twinshot {importlib.metadata.version('twinshot')}")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["backup", "web.raw"], f"--repo is missing; give it, or set {REPO}"),
        (["repo", "check"], f"REPO is missing; give it, or set {REPO}"),
        (["restore"], "POINT is missing; `twinshot restore --help` says what it takes"),
        (["repo", "key", "remove", "r"], "KEY is missing; `twinshot repo key remove --help`"),
        (["points", "--repo", "r", "a", "b"], "'a b' is too much; `twinshot points --help`"),
        (["points", "--repo", ""], "the repository's name is empty"),
    ],
)
def test_what_is_missing_or_too_much_is_named(
    place: Place, command: list[str], sentence: str
) -> None:
    """One sentence, and where to look."""
    assert sentence in place.refused(2, *command)


def test_the_environment_names_the_repository(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said on the command line goes before it."""
    monkeypatch.setenv(REPO, os.fspath(place.repo))
    target = place.root / "out.raw"

    assert place.run("repo", "init")[0] == 0
    assert place.run("backup", place.source)[0] == 0
    assert place.run("restore", "web", "--to", target)[0] == 0
    assert target.read_bytes() == place.source.read_bytes()
    for command in ("verify", "points", "repo info", "repo stats", "repo check", "repo repair"):
        assert place.run(*command.split())[0] == 0, command
    assert "1 kept" in place.run("repo", "prune", "--keep-last", "1")[1]
    assert "no repository" in place.refused(10, "points", "--repo", place.root / "other")
    assert "there is no repository" in place.refused(10, "repo", "check", place.root)


def test_an_empty_name_is_not_this_directory(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that a script left empty makes no repository where it happens to run."""
    monkeypatch.chdir(place.root)
    monkeypatch.setenv(REPO, "")
    before = place.files()

    assert "name is empty" in place.refused(2, "backup", place.source)
    assert place.files() == before


def test_a_long_list_of_names_is_cut_short(place: Place) -> None:
    """A mistyped mutant is told those that are meant, and not a hundred others."""
    assert "did you mean thaw-said-once?" in place.refused(2, "mutants", "thaw-said-onc")
    said = place.refused(2, "mutants", "q")
    assert said.count(",") < 10
    assert re.search(r" and \d+ more$", said.strip())


@pytest.mark.parametrize("of", ["engine", "repository"])
def test_mutants_are_listed_without_planting_any(place: Place, of: str) -> None:
    """Each with what it breaks."""
    *listed, summary = place.records("mutants", "--list", "--of", of)
    assert summary["mutants"] == len(listed) > 50
    assert all(each["name"] and each["what"] for each in listed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_shells_are_told_every_command(place: Place, shell: str) -> None:
    """Groups and options too, of all that there is."""
    code, script, _ = place.run("completion", shell)
    assert code == 0
    for word in ("backup", "completion", "power-cuts", "shred", "--latency-budget", "--keep-last"):
        assert word.lstrip("-") in script, word
    assert "Choose from" in place.refused(2, "completion", "tcsh")


def test_bash_completes_what_was_begun(place: Place) -> None:
    """The script does in a real shell what it is for; to write it loads every command."""
    script = place.root / "completion.bash"
    script.write_text(place.run("completion", "bash")[1], encoding="utf-8")
    for typed, completed in (
        ("sim", "simulate"),
        ("repo pru", "prune"),
        ("points --mac", "--machine"),
        ("repo key ro", "rotate"),
    ):
        words = f"COMP_WORDS=(twinshot {typed}); COMP_CWORD={len(typed.split())}"
        said = subprocess.run(
            ["bash", "-c", f'source {script} && {words}; _twinshot; echo "${{COMPREPLY[@]}}"'],
            check=True,
            capture_output=True,
            text=True,
        )
        assert said.stdout.split() == [completed]


def test_points_of_one_machine_are_listed(place: Place) -> None:
    """A name that nothing has is refused with those there are."""
    place.back_up()
    other = place.root / "mail.raw"
    other.write_bytes(disk(2))
    place.run("backup", other, "--repo", place.repo)

    *points, summary = place.records("points", "--repo", place.repo, "--machine", "mail")
    assert [point["vm"] for point in points] == ["mail"]
    assert summary["points"] == 1
    asked = ("points", "--repo", place.repo, "--machine")
    assert "did you mean mail?" in place.refused(2, *asked, "mial")
    assert "choose from mail, web" in place.refused(2, *asked, "x")
    pruned = ("repo", "prune", place.repo, "--machine", "x", "--keep-last", "1")
    assert "choose from mail, web" in place.refused(2, *pruned)


def test_a_damaged_point_is_listed_whosever_it_may_be(place: Place) -> None:
    """Of a machine that no sound point has named yet, nobody knows its name."""
    first = place.back_up()
    for manifest in _manifests(place, str(first["point"])):
        manifest.write_bytes(b"")
    other = place.root / "mail.raw"
    other.write_bytes(disk(2))
    place.run("backup", other, "--repo", place.repo)

    code, out, _ = place.run("points", "--repo", place.repo, "--machine", "mail", "--json")
    assert code == 1
    assert '"damaged-point"' in out
    assert '"vm":"mail"' in out


def _manifests(place: Place, point: str) -> list[Path]:
    return [path for path in place.repo.rglob(f"points/{point}*") if path.is_file()]
