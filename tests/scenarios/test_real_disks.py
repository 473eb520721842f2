"""Real file systems survive: simulated nights and real backups give back every file and byte."""

import contextlib
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from reference_engine.app.command_line import run as run_command
from reference_engine.model.recovery_point import Consistency
from reference_engine.model.units import MIB, ByteCount
from simulator.campaign.images import file_digest, opened_images
from simulator.campaign.trial import Trial, run_trial, subjects_of
from simulator.scenario.schema import Scenario
from tests.strategies.disk_images import qemu_img, tool

BLOCK: Final = 65536
"""A new repository's block."""


class FileSystem(msgspec.Struct, frozen=True, kw_only=True):
    """How a kind of file system is made, changed, checked and read with its own tools."""

    name: str
    size: int
    files: int
    make: Callable[[Path, Path, int], None]
    """Makes an image of a size with all files of a folder."""

    add: Callable[[Path, Path], None]
    check: Callable[[Path], None]
    read: Callable[[Path, str], bytes]


class RealDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk with a file system: as a raw image and as a VHDX, and its files' digests."""

    kind: FileSystem
    raw: Path
    vhdx: Path
    digests: dict[str, str]


def out_of(*command: str | Path) -> bytes:
    """Return what a foreign program prints; it has to succeed."""
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def empty_image(path: Path, size: int) -> Path:
    """Return `path`, where there is a file of `size` bytes without data now."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def make_ext4(image: Path, folder: Path, size: int) -> None:
    """Make an ext4 that holds all files of a folder."""
    made = empty_image(image, size)
    out_of(tool("mkfs.ext4", package="e2fsprogs"), "-q", "-F", "-d", folder, made)


def add_to_ext4(image: Path, file: Path) -> None:
    """Have one more file in an ext4."""
    debugfs = tool("debugfs", package="e2fsprogs")
    out_of(debugfs, "-w", "-R", f"write {file} {file.name}", image)


def check_ext4(image: Path) -> None:
    """Have e2fsck find nothing to complain of."""
    out_of(tool("e2fsck", package="e2fsprogs"), "-fn", image)


def read_ext4(image: Path, name: str) -> bytes:
    """Return a file of an ext4."""
    return out_of(tool("debugfs", package="e2fsprogs"), "-R", f"cat /{name}", image)


def make_ntfs(image: Path, folder: Path, size: int) -> None:
    """Make an NTFS volume that holds all files of a folder."""
    made = empty_image(image, size)
    out_of(tool("mkntfs", package="ntfs-3g"), "-q", "-F", "-Q", made)
    for file in sorted(folder.iterdir()):
        add_to_ntfs(image, file)


def add_to_ntfs(image: Path, file: Path) -> None:
    """Have one more file in an NTFS volume."""
    out_of(tool("ntfscp", package="ntfs-3g"), "-q", image, file, file.name)


def check_ntfs(image: Path) -> None:
    """Have ntfsfix find the boot sectors, the master file table and its mirror in order."""
    out_of(tool("ntfsfix", package="ntfs-3g"), "-n", image)


def read_ntfs(image: Path, name: str) -> bytes:
    """Return a file of an NTFS volume."""
    return out_of(tool("ntfscat", package="ntfs-3g"), image, name)


KINDS: Final = {
    "ext4": FileSystem(
        name="ext4",
        size=64 * MIB,
        files=400,
        make=make_ext4,
        add=add_to_ext4,
        check=check_ext4,
        read=read_ext4,
    ),
    "ntfs": FileSystem(
        name="ntfs",
        size=48 * MIB,
        files=250,
        make=make_ntfs,
        add=add_to_ntfs,
        check=check_ntfs,
        read=read_ntfs,
    ),
}


def seeded_files(folder: Path, count: int) -> dict[str, str]:
    """Make files of many sizes, some of them repetitive, and return the digest of each."""
    folder.mkdir()
    chance = np.random.default_rng(20)
    digests: dict[str, str] = {}
    for number, size in enumerate(chance.integers(0, 60_000, count).tolist()):
        content = chance.bytes(size) if number % 3 else (b"%06d\n" % number) * (size // 7)
        name = f"file-{number:03}.dat"
        (folder / name).write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def converted(raw: Path, vhdx: Path) -> Path:
    """Return `vhdx`, where the raw image's content is a dynamic VHDX now."""
    options = ("-f", "raw", "-O", "vhdx", "-o", "subformat=dynamic")
    qemu_img("convert", *options, raw, vhdx)
    return vhdx


def assert_same(first: Path, second: Path) -> None:
    """Have qemu-img find two images identical, whatever their formats."""
    formats = [path.suffix.removeprefix(".") for path in (first, second)]
    said = qemu_img("compare", "-f", formats[0], "-F", formats[1], first, second)
    assert "Images are identical." in said


def assert_files_whole(disk: RealDisk, image: Path) -> None:
    """Have the file system and each of its files be what was made."""
    disk.kind.check(image)
    found = {name: hashlib.sha256(disk.kind.read(image, name)).hexdigest() for name in disk.digests}
    assert found == disk.digests


def records(capsys: pytest.CaptureFixture[str], *tokens: object) -> list[dict[str, Any]]:
    """Return what a successful command wrote as JSON Lines."""
    capsys.readouterr()
    code = run_command(["--json", *(str(token) for token in tokens)])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module", params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RealDisk:
    """A real disk of each kind, made by the file system's own tools and by qemu-img."""
    kind = KINDS[request.param]
    place = tmp_path_factory.mktemp(kind.name)
    digests = seeded_files(place / "files", kind.files)
    raw = place / "disk.raw"
    kind.make(raw, place / "files", kind.size)
    vhdx = converted(raw, place / "disk.vhdx")
    return RealDisk(kind=kind, raw=raw, vhdx=vhdx, digests=digests)


class SimulatedNight(msgspec.Struct, frozen=True, kw_only=True):
    """A night with a real disk in a guest: what the command said, and where its report is."""

    records: list[dict[str, Any]]
    digest_before: str
    report: Path


@pytest.fixture(scope="module")
def night(disk: RealDisk, tmp_path_factory: pytest.TempPathFactory) -> SimulatedNight:
    """The default night of a real disk."""
    report = tmp_path_factory.mktemp("night") / "report"
    before = file_digest(disk.vhdx)
    lines = report.parent / "lines"
    with lines.open("w+") as out, contextlib.redirect_stdout(out):
        code = run_command(
            ["--json", "simulate", "--disk", str(disk.vhdx), "--out", str(report)],
        )
    assert code == 0, lines.read_text()
    said = [json.loads(line) for line in lines.read_text().splitlines()]
    return SimulatedNight(records=said, digest_before=before, report=report)


def repeated(night: SimulatedNight) -> tuple[Trial, contextlib.ExitStack]:
    """Return the same run with all that the oracle knows, and what keeps its image open."""
    result = json.loads((night.report / "result.json").read_text())
    scenario = Scenario.model_validate(result["scenario"])
    stack = contextlib.ExitStack()
    images, _ = stack.enter_context(opened_images(scenario, night.report))
    [subject] = subjects_of(
        scenario, name=result["scenario_name"], path=None, seed=result["seed"], images=images
    )
    trial = run_trial(subject, restore_again=False)
    assert trial.digest == result["trace_digest"]
    return trial, stack


def test_a_night_of_a_real_disk_holds(disk: RealDisk, night: SimulatedNight) -> None:
    """Every invariant holds, deltas are small, and the image file is only read."""
    *said, summary = night.records
    points = [record for record in said if record["type"] == "point"]

    assert summary["failed"] == []
    broken = [record for record in said if record.get("holds") is False]
    assert broken == []
    assert len(points) >= 6
    assert {each["transfer"] for point in points[1:] for each in point["disks"]} == {"incremental"}
    assert file_digest(disk.vhdx) == night.digest_before
    assert list(disk.vhdx.parent.glob("*.vhdx")) == [disk.vhdx]


def test_a_restored_night_is_a_whole_file_system(
    disk: RealDisk, night: SimulatedNight, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last point, restored in both formats, is one image with every file unharmed."""
    repo = night.report / "repository"
    vhdx, raw = tmp_path / "last.vhdx", tmp_path / "last.raw"

    for target in (vhdx, raw):
        records(capsys, "restore", "latest", "--repo", repo, "--to", target)

    assert "No errors were found" in qemu_img("check", vhdx)
    assert_same(raw, vhdx)
    assert_files_whole(disk, raw)


def test_a_point_of_a_real_disk_is_the_oracles_image(
    night: SimulatedNight, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another program finds the last point identical to the guest's disk at Tg."""
    trial, stack = repeated(night)
    with stack:
        point = trial.evidence.points()[-1]
        [record] = point.disks
        truth = trial.evidence.true_image(point, record)
        content = trial.evidence.contents[record.disk]
        expected = tmp_path / "truth.raw"
        with expected.open("wb") as file:
            for start in range(0, record.size, 4 * MIB):
                file.write(content.read(truth, start, min(start + 4 * MIB, record.size)))
            for hidden in record.mask:
                file.seek(hidden.offset)
                file.write(bytes(hidden.length))

    target = tmp_path / "point.vhdx"
    repo = night.report / "repository"
    records(capsys, "restore", point.id, "--repo", repo, "--to", target)

    assert point.consistency is Consistency.APPLICATION
    assert_same(expected, target)


def changed_blocks(before: Path, after: Path) -> ByteCount:
    """Return how many bytes of an image lie in blocks that changed to something else than zeros."""
    first, second = (np.fromfile(path, np.uint8).reshape(-1, BLOCK) for path in (before, after))
    differs = (first != second).any(axis=1) & second.any(axis=1)
    return ByteCount(int(differs.sum()) * BLOCK)


def test_a_real_disk_is_backed_up_twice(
    disk: RealDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second backup of a changed disk sends its changed blocks; both points are exact."""
    repo, source = tmp_path / "repository", tmp_path / "web.vhdx"
    states = [tmp_path / "before.raw", tmp_path / "after.raw"]
    for state in states:
        state.write_bytes(disk.raw.read_bytes())
    added = tmp_path / "added.dat"
    added.write_bytes(np.random.default_rng(4).bytes(700_000))
    disk.kind.add(states[1], added)

    summaries = []
    for state in states:
        source.unlink(missing_ok=True)
        converted(state, source)
        summaries.append(records(capsys, "backup", source, "--repo", repo, "--name", "web"))

    [first_disk, first], [second_disk, second] = summaries
    assert (first_disk["transfer"], second_disk["transfer"]) == ("full", "compare")
    assert second["base"] == first["point"]
    assert 700_000 < second["bytes_sent"] == changed_blocks(*states) < 2 * MIB
    for state, summary in zip(states, (first, second), strict=True):
        for suffix in (".vhdx", ".raw"):
            target = tmp_path / f"{summary['point']}{suffix}"
            records(capsys, "restore", summary["point"], "--repo", repo, "--to", target)
            assert_same(target, state)
    assert_files_whole(disk, tmp_path / f"{second['point']}.raw")
    assert disk.kind.read(tmp_path / f"{second['point']}.raw", added.name) == added.read_bytes()


def test_a_write_by_another_program_is_backed_up(
    disk: RealDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What qemu-io wrote into a VHDX, across the borders of blocks, is all that is sent."""
    repo, source = tmp_path / "repository", tmp_path / "web.vhdx"
    source.write_bytes(disk.vhdx.read_bytes())
    [_, first] = records(capsys, "backup", source, "--repo", repo)
    qemu_io = tool("qemu-io", package="qemu-utils")
    out_of(qemu_io, "-f", "vhdx", "-c", f"write -P 0xa7 {disk.kind.size - 90_112} 36864", source)

    [_, second] = records(capsys, "backup", source, "--repo", repo)

    # The write begins inside one block and ends inside the next.
    assert second["bytes_sent"] == 2 * BLOCK
    for summary, expected in ((first, disk.vhdx), (second, source)):
        target = tmp_path / f"{summary['point']}.vhdx"
        records(capsys, "restore", summary["point"], "--repo", repo, "--to", target)
        assert "No errors were found" in qemu_img("check", target)
        assert_same(target, expected)
