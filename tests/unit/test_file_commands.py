"""The commands for disk files do what they say, or say in one sentence why not."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.files.change_tracking import NoTracking
from reference_engine.adapters.files.disk_files import LOCAL, DiskFiles
from reference_engine.adapters.files.disk_io import FileDiskIo
from reference_engine.adapters.files.host import FileHost
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.app.command_line import run
from reference_engine.app.file_backup import back_up_files
from reference_engine.formats.opening import open_disk_image
from reference_engine.model.errors import SnapshotLostError, SourceChangedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, Epoch, MachineId, RunTag
from reference_engine.model.units import ByteCount
from reference_engine.repository.pack import Level
from reference_engine.repository.repository import Repository
from tests.strategies.mounts import mounted

MIB = 1 << 20


def disk(seed: int, size: int = MIB) -> bytearray:
    """Return the bytes of a partitioned disk: some random content, then zeros."""
    content = bytearray(np.random.default_rng(seed).bytes(size // 2).ljust(size, b"\0"))
    content[446:510] = bytes(64)
    content[510:512] = b"\x55\xaa"
    return content


class Place:
    """A directory with a source disk, and room for a repository."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.source = root / "web.raw"
        self.repo = root / "repository"
        self.capsys = capsys
        self.source.write_bytes(disk(1))

    def run(self, *tokens: object) -> tuple[int, str, str]:
        """Return exit code, output and errors of one command line."""
        self.capsys.readouterr()
        code = run([str(token) for token in tokens])
        out, err = self.capsys.readouterr()
        return code, out, err

    def records(self, *tokens: object) -> list[dict[str, Any]]:
        """Return what a successful command wrote as JSON Lines."""
        code, out, err = self.run("--json", *tokens)
        assert (code, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    def back_up(self) -> dict[str, Any]:
        """Back the source up and return the summary."""
        return self.records("backup", self.source, "--repo", self.repo)[-1]

    def refused(self, code: int, *tokens: object) -> str:
        """Return the one sentence of a command that must end with `code`."""
        ended, out, err = self.run(*tokens)
        assert (ended, out) == (code, ""), err
        assert err.startswith("twinshot: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err

    def files(self) -> set[str]:
        """Return every file and directory below the root."""
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*")}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """Return an empty place."""
    return Place(tmp_path, capsys)


def content_of(path: Path) -> bytes:
    """Return what an image of any format holds."""
    with open_disk_image(path) as image:
        return image.read(type(image.size)(0), image.size)


@pytest.mark.parametrize("suffix", [".raw", ".vhdx"])
def test_what_was_backed_up_is_restored(place: Place, suffix: str) -> None:
    """A restored image has every byte of its source, in either format."""
    place.back_up()
    target = place.root / f"restored{suffix}"
    code, out, _ = place.run("restore", "latest", "--repo", place.repo, "--to", target)

    assert code == 0
    assert "every block checked" in out
    assert content_of(target) == place.source.read_bytes()


def test_the_second_backup_stores_what_changed(place: Place) -> None:
    """One changed block is one new block, and both points can still be restored."""
    first = place.back_up()
    before = place.source.read_bytes()
    after = bytearray(before)
    after[300_000:300_004] = b"edit"
    place.source.write_bytes(after)
    second = place.back_up()

    assert first["base"] is None
    assert second["base"] == first["point"]
    assert second["bytes_sent"] == 65536
    for point, image in ((first["point"], before), (second["point"], bytes(after))):
        target = place.root / f"{point}.raw"
        assert place.run("restore", point[:12], "--repo", place.repo, "--to", target)[0] == 0
        assert target.read_bytes() == image


def test_what_became_zero_is_zero(place: Place) -> None:
    """Content that the source no longer has is not carried over from the base."""
    place.back_up()
    changed = bytes(disk(1)[:4096].ljust(MIB // 2, b"\0"))
    place.source.write_bytes(changed)
    place.back_up()

    target = place.root / "restored.raw"
    place.run("restore", "web", "--repo", place.repo, "--to", target)
    assert target.read_bytes() == changed


def test_a_machine_of_several_disks_is_restored_into_a_directory(place: Place) -> None:
    """All disks belong to one point, and come back side by side or one by one."""
    other = place.root / "data.img"
    other.write_bytes(disk(2))
    files = (place.source, other)
    place.records("backup", *files, "--repo", place.repo, "--name", "shop")
    target = place.root / "restored"

    assert "--disk" in place.refused(
        2, "restore", "shop", "--repo", place.repo, "--to", place.root / "one.raw"
    )
    assert place.run("restore", "shop", "--repo", place.repo, "--to", f"{target}/")[0] == 0
    for source in files:
        assert (target / source.name).read_bytes() == source.read_bytes()
    one = place.root / "one.raw"
    options = ("--repo", place.repo, "--to", one, "--disk", "data.img")
    assert place.run("restore", "shop", *options)[0] == 0
    assert one.read_bytes() == other.read_bytes()


def test_points_are_records_for_programs(place: Place) -> None:
    """Each line is one point with its provenance, and the last one is the summary."""
    summaries = [place.back_up(), place.back_up()]
    *points, summary = place.records("points", "--repo", place.repo)

    assert [point["id"] for point in points] == [each["point"] for each in summaries]
    assert [point["base"] for point in points] == [None, summaries[0]["point"]]
    assert [point["transfer"] for point in points] == ["full", "compare"]
    assert {point["type"] for point in points} == {"point"}
    assert {point["vm"] for point in points} == {"web"}
    assert {point["consistency"] for point in points} == {"crash"}
    assert {point["size"] for point in points} == {MIB}
    assert summary == {"type": "summary", "points": 2, "damaged": 0, "exit_code": 0}


def test_verification_tells_intact_from_damaged(place: Place) -> None:
    """A flipped bit is a finding that names point, disk and block; the listing stays usable."""
    point = place.back_up()["point"]
    assert place.run("verify", "--repo", place.repo)[0] == 0
    pack = next((place.repo / "packs").iterdir())
    content = bytearray(pack.read_bytes())
    content[20_000] ^= 1
    pack.write_bytes(content)

    code, out, _ = place.run("verify", point, "--repo", place.repo)
    assert code == 1
    assert f"block 0 of disk web.raw in point {point}" in out
    assert place.run("points", "--repo", place.repo)[0] == 0
    target = place.root / "restored.vhdx"
    before = place.files()
    place.refused(1, "restore", "latest", "--repo", place.repo, "--to", target)
    assert place.files() == before


def test_a_damaged_manifest_is_a_finding(place: Place) -> None:
    """Points that cannot be trusted are listed as damaged, the others as they are."""
    lost, kept = place.back_up()["point"], place.back_up()["point"]
    (place.repo / "points" / lost).write_bytes(b"")
    assert place.run("points", "--repo", place.repo)[0] == 0
    (place.repo / "copies" / "points" / lost).write_bytes(b"")

    code, out, _ = place.run("points", "--repo", place.repo)
    assert code == 1
    assert f"the manifest of point {lost} is damaged" in out
    assert kept in out
    assert place.run("verify", "--repo", place.repo)[0] == 1


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
    """The remedy is to name a directory."""
    place.repo.write_bytes(b"")

    assert "name a directory" in place.refused(4, "points", "--repo", place.repo)
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

        assert "free some space" in place.refused(4, "backup", place.source, "--repo", place.repo)
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


def test_existing_images_are_replaced_on_request_only(place: Place) -> None:
    """Without the option an existing file is refused untouched."""
    place.back_up()
    target = place.root / "restored.raw"
    target.write_bytes(b"precious")
    command = ("restore", "latest", "--repo", place.repo, "--to", target)

    assert "exists already" in place.refused(2, *command)
    assert target.read_bytes() == b"precious"
    assert place.run(*command, "--overwrite")[0] == 0
    assert target.read_bytes() == place.source.read_bytes()


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


def test_a_file_that_changes_while_it_is_read_is_no_image(place: Place) -> None:
    """A write between the first read and the commit voids the run; the next one succeeds."""
    runtime = AsyncioRuntime(seed=None)
    store = MemoryStore()

    def touching(_: ByteCount) -> None:
        place.source.write_bytes(disk(2))

    async def scenario() -> None:
        repository = await Repository.create(
            store, identity_token="ab" * 16, block_size=ByteCount(16384)
        )
        files = DiskFiles(MachineId("web"), (place.source,))
        with pytest.raises(SourceChangedError, match=r"web\.raw"):
            await back_up_files(
                repository,
                files,
                tracking=NoTracking(),
                level=Level.DEFAULT,
                rate=None,
                latency_budget=None,
                runtime=runtime,
                progress=touching,
            )
        assert files.open_checkpoints == ()
        assert await repository.points() == ()
        assert await store.names("packs/") == ()

        point = await back_up_files(
            repository,
            files,
            tracking=NoTracking(),
            level=Level.DEFAULT,
            rate=None,
            latency_budget=None,
            runtime=runtime,
            progress=lambda _: None,
        )
        assert await repository.points() == (point,)
        assert point.run.epoch == 2

    runtime.run(scenario())


def test_a_checkpoint_of_files_does_not_hide_a_change(place: Place) -> None:
    """Whoever releases what was never confirmed is told; a confirmed reading stays good."""
    runtime = AsyncioRuntime(seed=None)
    files = DiskFiles(MachineId("web"), (place.source,))
    host, disk_io = FileHost(files), FileDiskIo(files)
    tag = RunTag(machine=files.machine, epoch=Epoch(1))
    name, some = DiskId("web.raw"), ExtentSet.of([(0, 4096)])

    async def scenario() -> None:
        taken = await host.take_checkpoint(LOCAL, run=tag, at_rest=None)
        await disk_io.read(taken.id, name, some, through=LOCAL)
        assert await host.confirms(LOCAL, files.machine)
        place.source.write_bytes(disk(2))
        await host.release(taken.id)
        await host.release(taken.id)
        with pytest.raises(SnapshotLostError):
            await disk_io.read(taken.id, name, some, through=LOCAL)

        taken = await host.take_checkpoint(LOCAL, run=tag, at_rest=None)
        await disk_io.read(taken.id, name, some, through=LOCAL)
        place.source.write_bytes(disk(3))
        with pytest.raises(SourceChangedError):
            await host.confirms(LOCAL, files.machine)
        with pytest.raises(SourceChangedError):
            await host.release(taken.id)
        assert (await host.leftovers(files.machine)).snapshots == ()

    runtime.run(scenario())


def test_an_interrupt_leaves_no_point(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while blocks are being stored ends with 130, and no object of the run remains."""
    place.back_up()
    before = place.files()
    place.source.write_bytes(disk(2))
    link = os.link

    def interrupting(source: str, target: str) -> None:
        if Path(target).parent.name == "packs":
            signal.raise_signal(signal.SIGINT)
        link(source, target)

    monkeypatch.setattr(os, "link", interrupting)
    assert "interrupted" in place.refused(130, "backup", place.source, "--repo", place.repo)
    monkeypatch.undo()

    # That the run was opened and closed stays in the history. A pack may still arrive from the
    # thread that was writing it, but nothing refers to it.
    later = {name for name in place.files() - before if not name.startswith("repository/packs/")}
    entries = {"log/0000000003", "log/0000000004"}
    entries |= {f"copies/{name}" for name in entries}
    assert later == {f"repository/{name}" for name in entries}
    assert len(place.records("points", "--repo", place.repo)) == 2
    assert place.run("verify", "--repo", place.repo)[0] == 0


def test_an_internal_error_is_one_sentence_and_a_file(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody foresaw ends with 70; the details are in a file, not on the screen."""

    def broken(_: int) -> bytes:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "urandom", broken)
        sentence = place.refused(70, "backup", place.source, "--repo", place.repo)
    crash = Path(sentence.split()[-1])
    assert "ZeroDivisionError" in crash.read_text()
    crash.unlink()


def command(*tokens: object) -> list[str]:
    """Return the command line of a process of its own."""
    module = "reference_engine.app.command_line"
    return [sys.executable, "-m", module, *(str(token) for token in tokens)]


def test_help_is_quick(place: Place) -> None:
    """Help loads neither arrays nor the simulator, and lists every command."""
    code = (
        "import sys; from reference_engine.app.command_line import run; run(['--help']);"
        "assert 'numpy' not in sys.modules; assert 'simulator' not in sys.modules"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    for name in ("backup", "points", "restore", "verify", "simulate", "replay", "mutants"):
        assert name in ended.stdout
    del place


def test_a_closed_pipe_is_no_error(place: Place) -> None:
    """When the reader of the output leaves, the command ends without a word."""
    place.back_up()
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        command("points", "--repo", place.repo), check=False, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)

    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_limit_on_file_sizes_is_a_refusal(place: Place) -> None:
    """A process that may not write large files says so, and leaves nothing visible."""
    ended = subprocess.run(
        command("backup", place.source, "--repo", place.repo),
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )

    assert ended.returncode == 4
    assert "raise the limit" in ended.stderr
    assert ended.stderr.count("\n") == 2  # the repository was created, and why it ended
    assert place.records("points", "--repo", place.repo)[-1]["points"] == 0


def test_a_process_without_assertions_refuses_to_start(place: Place) -> None:
    """The engine's assertions are part of its safety."""
    line = command("points", "--repo", place.repo)
    ended = subprocess.run([line[0], "-O", *line[1:]], check=False, capture_output=True)

    assert ended.returncode == 2
    assert b"-O" in ended.stderr


def test_a_change_map_is_all_that_is_read(place: Place) -> None:
    """With a change map only what it touches is read, and only pieces of 4 KiB are stored."""
    place.back_up()
    after = bytearray(place.source.read_bytes())
    after[300_000:300_004] = b"edit"
    place.source.write_bytes(after)
    changed = place.root / "changed.json"
    changed.write_text("[[300000, 4]]")
    summary = place.records(
        "backup", place.source, "--repo", place.repo, "--changed", changed, "--level", "best"
    )[-1]

    assert (summary["bytes_read"], summary["bytes_sent"]) == (65536, 4096)
    target = place.root / "restored.raw"
    assert place.run("restore", "latest", "--repo", place.repo, "--to", target)[0] == 0
    assert target.read_bytes() == bytes(after)


@pytest.mark.parametrize("text", ["{}", "[[1]]", "[[-1, 5]]", "no JSON"])
def test_what_is_no_change_map_is_refused(place: Place, text: str) -> None:
    """A map that cannot be understood must not be taken as an empty one."""
    changed = place.root / "changed.json"
    changed.write_text(text)
    refusal = place.refused(2, "backup", place.source, "--repo", place.repo, "--changed", changed)
    assert "no change map" in refusal
