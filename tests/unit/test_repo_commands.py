"""`twinshot repo`: repositories as a whole, from the first promise to the last byte freed."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.model.identity import MachineId
from reference_engine.model.units import HOUR, ByteCount, Duration, Instant
from reference_engine.repository.repository import Repository
from reference_engine.repository.settings import Settings
from tests.strategies.command_line import CommandLine
from tests.strategies.repositories import BLOCK, DISK, block, no_progress, point_of, restored, write

# ruff: noqa: S106 - the token of a run is no secret

DAY = 24 * HOUR
NOW = int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000)


class Place(CommandLine):
    """A directory with a repository of small blocks, and the command line."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(capsys)
        self.root = root
        self.repo = root / "repository"

    def refused_after_table(self, *tokens: object) -> str:
        """Return the one sentence of a command that shows its plan and is then refused."""
        code, out, err = self.run(*tokens)
        assert code == 2
        assert "POINT" in out
        assert err.count("\n") == 1
        return err

    def made(self, settings: Settings = Settings()) -> None:  # noqa: B008 - a frozen value
        """Make the repository."""
        asyncio.run(
            Repository.create(
                DirectoryStore(self.repo), identity_token="ab" * 16, block_size=BLOCK,
                settings=settings,
            )
        )  # fmt: skip

    def add(self, point: str, *, days_ago: int, image: bytes, machine: str = "vm") -> None:
        """Commit a point of this age."""

        async def work() -> None:
            repository = await Repository.open(DirectoryStore(self.repo))
            session = await repository.open_run(MachineId(machine), token=f"session-{point}")
            await write(session, image)
            record = point_of(session, {DISK: len(image)}, point)
            at = Instant(NOW - days_ago * DAY)
            await session.stage(msgspec.structs.replace(record, host_instant=at, instant=at))
            await session.commit()

        asyncio.run(work())

    def listed(self) -> list[str]:
        """Return the ids of the points that there are."""
        return [record["id"] for record in self.records("points", "--repo", self.repo)[:-1]]

    def objects(self) -> dict[str, int]:
        """Return the size of every object but the log's."""
        return {
            path.relative_to(self.repo).as_posix(): path.stat().st_size
            for path in sorted(self.repo.rglob("*"))
            if path.is_file() and path.parent.name != "log"
        }

    def intact(self, point: str, image: bytes) -> None:
        """Assert that a point restores to the last block."""

        async def work() -> None:
            repository = await Repository.open(DirectoryStore(self.repo))
            assert await restored(repository, point) == image
            await no_progress(repository, point)

        asyncio.run(work())


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """Return a place without a repository."""
    return Place(tmp_path, capsys)


@pytest.fixture
def week(place: Place) -> Place:
    """Return a repository of seven daily points, `p6` to `p0`, that share their first block."""
    place.made()
    for age in range(6, -1, -1):
        place.add(f"p{age}", days_ago=age, image=image_of(age))
    return place


def image_of(age: int) -> bytes:
    """Return an image of two blocks, the first of which is every image's."""
    return block(1) + block(10 + age)


def test_init_makes_a_repository_that_backup_uses(place: Place) -> None:
    """Its promises are kept in the header, and a second init is refused."""
    summary = place.records("repo", "init", place.repo, "--append-only", "--immutable-for", "30d")
    assert summary[-1]["append_only"]
    assert summary[-1]["immutable_for_s"] == 30 * 24 * 3600
    source = place.root / "web.raw"
    content = np.random.default_rng(1).bytes(1 << 20)
    source.write_bytes(content[:446] + bytes(64) + b"\x55\xaa" + content[512:])
    code, out, err = place.run("backup", source, "--repo", place.repo)
    assert (code, err) == (0, ""), out

    code, out, _ = place.run("repo", "info", place.repo)
    assert code == 0
    assert "append-only, points immutable for 30d" in out
    assert "already" in place.refused(2, "repo", "init", place.repo)


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "1.5d", "30m", "30 d", "99999999d", "1000001y"]
)
def test_a_duration_that_is_none_is_refused(place: Place, text: str) -> None:
    """Before anything is made."""
    assert "--immutable-for" in place.refused(
        2, "repo", "init", place.repo, "--immutable-for", text
    )
    assert not place.repo.exists()


def test_init_leaves_what_is_not_ours_alone(place: Place) -> None:
    """A directory with other files is no place for a repository."""
    place.repo.mkdir()
    (place.repo / "Photos").write_text("!")
    assert "Photos" in place.refused(2, "repo", "init", place.repo)
    assert [path.name for path in place.repo.iterdir()] == ["Photos"]


@pytest.mark.parametrize("command", ["info", "stats", "prune"])
def test_without_a_repository_there_is_nothing_to_say(place: Place, command: str) -> None:
    """Each says so, and makes nothing."""
    assert "no repository" in place.refused(10, "repo", command, place.repo)
    assert not place.repo.exists()


def test_a_dry_run_lists_what_goes_and_changes_nothing(week: Place) -> None:
    """Every point has its reasons, and the bytes are those that a prune then frees."""
    before = week.objects()
    command = ("repo", "prune", week.repo, "--keep-last", 2, "--max-unused", "unlimited")
    *points, planned = week.records(*command, "--dry-run")

    assert {point["id"] for point in points if point["kept"]} == {"p0", "p1"}
    assert points[-1]["reasons"] == ["newest of its machine", "last"]
    assert points[0]["reasons"] == []
    assert planned["removed"] == 5
    assert planned["dry_run"]
    assert week.objects() == before
    assert len(week.listed()) == 7

    done = week.records(*command)[-1]
    after = week.objects()
    assert done["freed_bytes"] == planned["freed_bytes"] > 0
    assert sum(before.values()) - sum(after.values()) == done["freed_bytes"]
    assert week.listed() == ["p1", "p0"]
    for age in (0, 1):
        week.intact(f"p{age}", image_of(age))


def test_a_prune_repacks_what_is_hardly_used(week: Place) -> None:
    """One block of the oldest pack is needed: it is copied, the pack goes, and little is unused."""
    stats = week.records("repo", "stats", week.repo)[-1]
    before = week.objects()
    planned = week.records("repo", "prune", week.repo, "--keep-last", 2, "--dry-run")[-1]
    assert planned["repacked_objects"] == 1
    assert week.objects() == before

    done = week.records("repo", "prune", week.repo, "--keep-last", 2)[-1]
    after = week.objects()

    assert stats["unused_bytes"] == 0
    assert done["repacked_objects"] == 1
    assert done["repack_frees_bytes"] == planned["repack_frees_bytes"] > 0
    assert sum(before.values()) - sum(after.values()) == done["freed_bytes"]
    assert week.records("repo", "prune", week.repo)[-1]["repacked_objects"] == 0
    assert week.records("repo", "check", week.repo, "--read-data")[-1]["points"] == 2
    for age in (0, 1):
        week.intact(f"p{age}", image_of(age))


@pytest.mark.parametrize("text", ["5%%", "-1%", "100%", "much", "1e3", "9" * 12])
def test_bounds_that_cannot_be_understood_are_refused(week: Place, text: str) -> None:
    """One sentence, exit code 2, and nothing is removed."""
    before = week.objects()
    for option in ("--max-unused", "--max-repack-size"):
        code, _, err = week.run("repo", "prune", week.repo, f"{option}={text}")
        assert (code, len(err.splitlines())) == (2, 1), err
    assert week.objects() == before


def test_people_get_a_table(week: Place) -> None:
    """Kept and removed, with the reasons of the former."""
    code, out, err = week.run("repo", "prune", week.repo, "--keep-daily", 3, "--dry-run")

    assert (code, err) == (0, "")
    assert "p2     the machine" in out
    assert "remove" in out
    assert "newest of its machine, daily" in out
    assert "4 points would be removed, 3 kept" in out


def test_without_a_rule_no_point_goes(week: Place) -> None:
    """Only space that nobody needs is freed."""
    week.records("repo", "prune", week.repo)
    assert len(week.listed()) == 7


def test_only_the_named_machine_is_pruned(week: Place) -> None:
    """Others keep their points."""
    for age in (3, 2):
        week.add(f"q{age}", days_ago=age, image=block(30 + age), machine="other")
    week.records("repo", "prune", week.repo, "--keep-last", 1, "--machine", "other")
    assert week.listed() == ["p6", "p5", "p4", "p3", "p2", "p1", "p0", "q2"]
    assert "nobody" in week.refused(2, "repo", "prune", week.repo, "--machine", "nobody")


def test_a_point_is_removed_by_its_id(week: Place) -> None:
    """Whatever the rules say, but a machine's last point needs a word of its own."""
    week.records("repo", "prune", week.repo, "--remove", "p3", "--keep-last", 7)
    assert "p3" not in week.listed()
    everything = [token for point in week.listed() for token in ("--remove", point)]
    assert "--allow-last" in week.refused_after_table("repo", "prune", week.repo, *everything)
    assert len(week.listed()) == 6
    for wanted in ("nonsense", "", "latest", "vm"):
        week.refused(2, "repo", "prune", week.repo, "--remove", wanted)

    week.records("repo", "prune", week.repo, *everything, "--allow-last")
    assert week.listed() == []
    assert not [
        name for name in week.objects() if not name.startswith(("repository", "copies/rep"))
    ]


def test_nothing_is_removed_from_an_append_only_repository(place: Place) -> None:
    """Not even by its id."""
    place.made(Settings(append_only=True))
    place.add("p1", days_ago=9, image=image_of(1))
    place.add("p0", days_ago=0, image=image_of(0))
    before = place.objects()
    for options in (("--keep-last", 1), ("--remove", "p1"), ("--dry-run",)):
        assert "append-only" in place.refused(2, "repo", "prune", place.repo, *options)
    assert place.objects() == before


def test_points_stay_as_long_as_they_are_immutable(place: Place) -> None:
    """A rule keeps them, and naming one is refused in one sentence."""
    place.made(Settings(immutable_for=Duration(5 * DAY)))
    for age in (9, 6, 4, 0):
        place.add(f"p{age}", days_ago=age, image=image_of(age))
    *points, _ = place.records("repo", "prune", place.repo, "--keep-last", 1)
    assert [point["id"] for point in points if point["kept"]] == ["p4", "p0"]
    assert points[2]["reasons"] == ["immutable"]
    assert place.listed() == ["p4", "p0"]
    assert "immutable for another 24 h" in place.refused_after_table(
        "repo", "prune", place.repo, "--remove", "p4"
    )


def test_a_damaged_point_stops_a_prune_until_it_is_named(week: Place) -> None:
    """What it needs cannot be told; whoever gives it up says so."""
    for name in ("points/p3", "copies/points/p3"):
        (week.repo / name).write_bytes(b"?")
    before = week.objects()
    assert "p3" in week.refused(1, "repo", "prune", week.repo, "--keep-last", 1)
    assert week.objects() == before

    week.records("repo", "prune", week.repo, "--keep-last", 7, "--remove", "p3")
    assert len(week.listed()) == 6
    assert "points/p3" not in week.objects()


def test_bad_options_are_refused(week: Place) -> None:
    """In one sentence, with nothing changed."""
    before = week.objects()
    for options in (
        ("--keep-last", -1),
        ("--keep-last", 10**12),
        ("--keep-daily", "many"),
        ("--keep-within", "soon"),
        ("--keep-nothing",),
        ("--no-dry-run",),
    ):
        week.refused(2, "repo", "prune", week.repo, *options)
    assert week.objects() == before


def test_what_a_run_may_need_is_freed_by_the_next_prune(week: Place) -> None:
    """The run is named, and commits undisturbed."""

    async def opened() -> None:
        repository = await Repository.open(DirectoryStore(week.repo))
        await repository.open_run(MachineId("other"), token="under-way")

    asyncio.run(opened())
    code, out, _ = week.run("repo", "prune", week.repo, "--keep-last", 1)
    assert code == 0
    assert "will be freed by a prune after the end of other#1" in out
    assert week.records("repo", "info", week.repo)[-1]["open_runs"] == ["other#1"]

    week.add("q", days_ago=0, image=block(40), machine="other")
    assert week.records("repo", "prune", week.repo)[-1]["freed_bytes"] > 0
    assert "points/p3" not in week.objects()
    week.intact("p0", image_of(0))
    week.intact("q", block(40))


def test_stats_say_what_points_hold(week: Place) -> None:
    """Seven images of two blocks; eight different blocks; what a prune would free is none."""
    machine, summary = week.records("repo", "stats", week.repo)
    assert machine["vm"] == "vm"
    assert machine["logical_bytes"] == 14 * BLOCK == summary["logical_bytes"]
    assert machine["distinct_bytes"] == 8 * BLOCK
    assert machine["dedup_ratio"] == round(14 / 8, 2)
    assert summary["free_bytes"] == 0
    assert summary["unused_bytes"] == 0
    assert summary["stored_bytes"] > sum(week.objects().values())

    # What stays of the oldest point's pack is a frame that everybody needs.
    week.records("repo", "prune", week.repo, "--keep-last", 1)
    summary = week.records("repo", "stats", week.repo)[-1]
    assert summary["logical_bytes"] == 2 * BLOCK
    code, out, _ = week.run("repo", "stats", week.repo)
    assert code == 0
    assert "1.00" in out


def test_stats_of_an_empty_repository(place: Place) -> None:
    """Nothing is divided by nothing."""
    place.made()
    assert place.records("repo", "stats", place.repo)[-1]["dedup_ratio"] is None
    assert place.run("repo", "stats", place.repo)[0] == 0


def test_a_killed_prune_is_gone_on_with(week: Place) -> None:
    """Killed while it deletes: nothing that is kept is lost, and the next one ends it."""
    script = (
        "import os, sys\n"
        "left = [int(sys.argv[1])]\n"
        "unlink = os.unlink\n"
        "def counted(path):\n"
        "    left[0] -= 1\n"
        "    if left[0] < 0: os.kill(os.getpid(), 9)\n"
        "    return unlink(path)\n"
        "os.unlink = counted\n"
        "from reference_engine.app.command_line import run\n"
        "sys.exit(run(sys.argv[2:]))\n"
    )
    command = ("repo", "prune", str(week.repo), "--keep-last", "1")
    for calls in (0, 1, 2, 5, 9):
        ended = subprocess.run(
            [sys.executable, "-c", script, str(calls), *command],
            capture_output=True, check=False, env=dict(os.environ),
        )  # fmt: skip
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        week.intact("p0", image_of(0))
    week.records(*command[:2], week.repo, "--keep-last", 1)

    assert week.listed() == ["p0"]
    [manifest] = [name for name in week.objects() if name.startswith("points/")]
    assert manifest.startswith("points/p0")
    week.intact("p0", image_of(0))
    assert ByteCount(len(week.objects())) < 12
