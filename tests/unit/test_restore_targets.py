"""Restoring onto disks that exist: files, devices, NBD exports; whole, in part, what differs."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time  # noqa: TID251 - foreign servers have no event to wait for
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reference_engine.adapters.targets.file_target import FileTarget
from reference_engine.adapters.targets.nbd import NbdPlace
from reference_engine.app.restoring.request import window_of
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import ByteCount
from reference_engine.restore.marked_target import MARK
from tests.strategies.disk_places import MIB, Place, content_of, disk, place

__all__ = ["place"]

SIZE = 3 * MIB
BLOCK = 64 << 10


@pytest.fixture
def stored(place: Place) -> Place:
    """Return a place with a point of a disk of 3 MiB: data, a hole, data in its last block."""
    content = disk(1, SIZE)
    content[-70_000:] = np.random.default_rng(7).bytes(70_000)
    place.source.write_bytes(content)
    place.back_up()
    return place


def restore(place: Place, to: object, *options: object) -> tuple[int, str, str]:
    """Restore the newest point."""
    return place.run("restore", "latest", "--repo", place.repo, "--to", to, *options)


def in_place(place: Place, to: object) -> int:
    """Restore in place and return how many bytes had to be written."""
    records = place.records("restore", "latest", "--repo", place.repo, "--to", to, "--in-place")
    assert records[0]["bytes_compared"] == SIZE
    return int(records[0]["bytes_written"])


def test_in_place_only_what_differs_is_written(stored: Place) -> None:
    """Two changed bytes are a sector and a hole; nothing is written to an equal image."""
    target = stored.root / "live.raw"
    content = bytearray(stored.source.read_bytes())
    content[5 * BLOCK] ^= 1
    content[2 * MIB] = 9  # where the point has a hole
    target.write_bytes(content)

    # A sector of the one block, and all of the other, which is zero now.
    assert in_place(stored, target) == 4096 + BLOCK
    assert target.read_bytes() == stored.source.read_bytes()
    before = target.stat().st_mtime_ns
    assert in_place(stored, target) == 0
    assert target.stat().st_mtime_ns == before


def test_in_place_a_wholly_different_image_becomes_the_disk(stored: Place) -> None:
    """What was there before does not matter."""
    target = stored.root / "live.raw"
    target.write_bytes(np.random.default_rng(9).bytes(SIZE))

    assert in_place(stored, target) == SIZE
    assert target.read_bytes() == stored.source.read_bytes()


KILLED = """
import os, sys
from reference_engine.adapters.targets import file_target
left = int(sys.argv[1])
write = os.pwrite
def counted(*arguments):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    return write(*arguments)
file_target.os.pwrite = counted
from reference_engine.app.command_line import run
sys.exit(run(sys.argv[2:]))
"""


def test_a_killed_restore_leaves_a_disk_that_says_so_and_is_finished_by_running_again(
    stored: Place,
) -> None:
    """At whichever write it dies: the disk is what it was, or marked, or complete."""
    target = stored.root / "live.raw"
    wrong = np.random.default_rng(9).bytes(SIZE)
    command = ("restore", "latest", "--repo", stored.repo, "--to", target, "--in-place")
    ends: list[int] = []
    for left in (0, 1, 2, 3, 5, 1000):
        target.write_bytes(wrong)
        tokens = [sys.executable, "-c", KILLED, str(left), *map(str, command)]
        ends.append(subprocess.run(tokens, capture_output=True, check=False).returncode)
        content = target.read_bytes()
        if ends[-1] == 0:
            break
        marked = content.startswith(MARK)
        assert marked or content == wrong
        assert left == 0 or marked
        # Nobody takes what is marked for a disk.
        code, _, _ = stored.run("backup", target, "--repo", stored.root / "other")
        assert code == (2 if marked else code)
        assert in_place(stored, target) > 0
        assert target.read_bytes() == stored.source.read_bytes()
    assert ends[-1] == 0
    assert len(ends) > 3
    assert set(ends[:-1]) == {9}


def test_an_error_in_the_middle_leaves_the_mark_and_says_so(place: Place) -> None:
    """A damaged point is not restored onto a disk as if it were whole."""
    target = place.root / "live.raw"
    target.write_bytes(bytes(20 * MIB))
    place.source.write_bytes(disk(1, 20 * MIB))
    place.back_up()
    [pack] = (place.repo / "packs").iterdir()
    content = bytearray(pack.read_bytes())
    content[-BLOCK] ^= 1
    pack.write_bytes(content)
    code, _, err = restore(place, target, "--in-place")

    assert code == 1
    assert "incomplete" in err
    assert target.read_bytes().startswith(MARK)


@pytest.mark.parametrize(
    ("change", "code"), [("longer", 2), ("shorter", 2), ("vhdx", 2), ("absent", 2), ("dir", 2)]
)
def test_an_unfit_target_is_refused_and_stays_as_it_is(
    stored: Place, change: str, code: int
) -> None:
    """Another size, another format, nothing at all: one sentence, and not one byte changes."""
    target = stored.root / ("live.vhdx" if change == "vhdx" else "live.raw")
    size = {"longer": SIZE + 512, "shorter": SIZE - 512, "vhdx": SIZE}.get(change)
    if size is not None:
        target.write_bytes(b"\1" * size)
    elif change == "dir":
        target.mkdir()
    err = stored.refused(
        code, "restore", "latest", "--repo", stored.repo, "--to", target, "--in-place"
    )

    assert str(target) in err
    assert size is None or target.read_bytes() == b"\1" * size


def test_a_range_is_restored_from_its_first_byte_to_its_last(stored: Place) -> None:
    """Into a new image it goes from the start, in place to where it belongs."""
    start, end = 100_001, MIB + 5
    part = stored.root / "part.raw"
    assert restore(stored, part, "--range", f"{start}-{end}")[0] == 0
    assert part.read_bytes() == stored.source.read_bytes()[start:end]

    target = stored.root / "live.raw"
    wrong = np.random.default_rng(9).bytes(SIZE)
    target.write_bytes(wrong)
    assert restore(stored, target, "--in-place", "--range", f"{start}-{end}")[0] == 0
    right = stored.source.read_bytes()
    assert target.read_bytes() == wrong[:start] + right[start:end] + wrong[end:]


@pytest.mark.parametrize(
    ("span", "bounds"),
    [
        ("0-512", (0, 512)),
        ("1MiB-2MiB", (MIB, 2 * MIB)),
        ("1.5M-", (MIB * 3 // 2, SIZE)),
        ("-4K", (0, 4096)),
    ],
)
def test_a_range_has_units_and_may_be_open(span: str, bounds: tuple[int, int]) -> None:
    """Binary units, with or without the trailing letters."""
    assert window_of(span, size=ByteCount(SIZE)).bounds.tolist() == [list(bounds)]


@pytest.mark.parametrize("span", ["", "5", "a-b", "2-1", "0-4MiB", "1--2", "5-5", "1e3-2e3"])
def test_a_range_that_is_none_is_refused(span: str) -> None:
    """It says what one looks like."""
    with pytest.raises(InputRefusedError):
        window_of(span, size=ByteCount(SIZE))


def test_what_is_left_of_a_damaged_point_is_restored_with_a_map_of_the_rest(
    stored: Place,
) -> None:
    """Zeros stand for what is lost, the map names it, and the exit code says: in part."""
    [pack] = (stored.repo / "packs").iterdir()
    content = bytearray(pack.read_bytes())
    content[BLOCK * 10] ^= 1
    pack.write_bytes(content)
    target, holes = stored.root / "part.raw", stored.root / "holes.json"
    assert restore(stored, target)[0] == 1
    assert not target.exists()
    code, out, _ = restore(stored, target, "--accept-damage", holes)

    assert code == 3
    assert "holes.json" in out
    [[start, end]] = json.loads(holes.read_bytes())["lost"]["web.raw"]
    right = stored.source.read_bytes()
    assert end - start == BLOCK
    assert target.read_bytes() == right[:start] + bytes(end - start) + right[end:]
    live = stored.root / "live.raw"
    live.write_bytes(b"\7" * SIZE)
    assert restore(stored, live, "--in-place", "--accept-damage", holes)[0] == 3
    assert live.read_bytes() == right[:start] + b"\7" * (end - start) + right[end:]


def test_parallel_windows_come_together_in_order(place: Place) -> None:
    """A disk of many windows is restored to the byte, sparse where it is empty."""
    size = 70 * MIB
    with place.source.open("wb") as file:
        file.write(bytes(disk(1)))
        for at in (15 * MIB + 1000, 33 * MIB, 69 * MIB):
            file.seek(at)
            file.write(np.random.default_rng(at).bytes(100_000))
        file.truncate(size)
    place.back_up()
    for target in (place.root / "back.raw", place.root / "back.vhdx"):
        assert restore(place, target)[0] == 0
        assert content_of(target) == place.source.read_bytes()
        assert target.stat().st_blocks * 512 < 12 * MIB


@contextlib.contextmanager
def loop_device(path: Path) -> Iterator[Path]:
    """Return a block device whose bytes are those of a file."""
    if shutil.which("losetup") is None or os.geteuid() != 0:
        pytest.skip("needs losetup and root")
    made = subprocess.run(
        ["losetup", "--find", "--show", path], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    try:
        yield Path(made.stdout.strip())
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_block_device_is_written_only_on_request_and_then_to_the_last_byte(
    stored: Place,
) -> None:
    """Nothing is assumed of what it held; what lies behind the disk is left alone."""
    backing = stored.root / "backing"
    wrong = np.random.default_rng(9).bytes(SIZE + MIB)
    backing.write_bytes(wrong)
    with loop_device(backing) as device:
        err = stored.refused(2, "restore", "latest", "--repo", stored.repo, "--to", device)
        assert "--overwrite" in err
        assert device.read_bytes() == wrong
        assert restore(stored, device, "--overwrite")[0] == 0
        assert device.read_bytes() == stored.source.read_bytes() + wrong[SIZE:]
        assert in_place(stored, device) == 0


def test_a_block_device_that_is_too_small_or_in_use_is_refused(stored: Place) -> None:
    """The first byte is not written before it is known that the last one fits."""
    backing = stored.root / "backing"
    backing.write_bytes(bytes(SIZE - 4096))
    with loop_device(backing) as device:
        err = stored.refused(
            2, "restore", "latest", "--repo", stored.repo, "--to", device, "--overwrite"
        )
        assert f"{SIZE}" in err
        assert device.read_bytes() == bytes(SIZE - 4096)
        held = FileTarget(device)
        command = ("restore", "latest", "--repo", stored.repo, "--to", device, "--in-place")
        assert "in use" in stored.refused(2, *command)
        held.close()


@contextlib.contextmanager
def nbd_server(root: Path, image: Path, *options: str) -> Iterator[str]:
    """Return the address of an export of a raw image, served by qemu-nbd meanwhile."""
    if shutil.which("qemu-nbd") is None:
        pytest.skip("needs qemu-nbd (qemu-utils)")
    path, pid = root / "nbd.sock", root / "nbd.pid"
    subprocess.run(
        [
            *("qemu-nbd", "--fork", "--persistent", f"--pid-file={pid}", "-f", "raw"),
            *("-x", "disk", *options, "-k", path, image),
        ],
        check=True,
    )
    number = int(pid.read_text())
    try:
        yield f"nbd+unix:///disk?socket={path}"
    finally:
        os.kill(number, signal.SIGTERM)
        while Path(f"/proc/{number}/stat").exists():
            if Path(f"/proc/{number}/stat").read_text().split()[2] == "Z":
                break
            time.sleep(0.01)


def test_an_nbd_export_is_written_whole_in_place_and_in_part(stored: Place) -> None:
    """A real server's disk has every byte of the point."""
    image = stored.root / "export.raw"
    right, wrong = stored.source.read_bytes(), np.random.default_rng(9).bytes(SIZE)
    image.write_bytes(wrong)
    with nbd_server(stored.root, image) as address:
        err = stored.refused(2, "restore", "latest", "--repo", stored.repo, "--to", address)
        assert "--overwrite" in err
        assert restore(stored, address, "--overwrite")[0] == 0
        assert image.read_bytes() == right
        changed = bytearray(right)
        changed[BLOCK : BLOCK + 4] = b"edit"
        image.write_bytes(changed)
        assert in_place(stored, address) == 4096
        assert image.read_bytes() == right
        part = ("--range", "64KiB-1MiB", "--overwrite")
        assert restore(stored, address, *part)[0] == 0
        expected = right[BLOCK:MIB] + right[MIB - BLOCK :]
        assert image.read_bytes() == expected


def test_an_nbd_server_that_has_no_such_export_or_is_read_only_is_refused(stored: Place) -> None:
    """The sentence names the address."""
    image = stored.root / "export.raw"
    image.write_bytes(bytes(SIZE))
    command = ("restore", "latest", "--repo", stored.repo, "--overwrite", "--to")
    with nbd_server(stored.root, image, "--read-only") as address:
        assert "only be read" in stored.refused(2, *command, address)
        other = address.replace("/disk", "/other")
        assert "other" in stored.refused(2, *command, other)
    assert "talking to" in stored.refused(4, *command, address)
    assert image.read_bytes() == bytes(SIZE)


@pytest.mark.parametrize(
    "text",
    [
        "nbds://host/disk",
        "nbd://",
        "nbd:///disk",
        "nbd+unix:///disk",
        "nbd://host:port/x",
        "nbd+x://a/b",
    ],
)
def test_an_address_that_is_none_is_refused(stored: Place, text: str) -> None:
    """Nothing is connected to, and nothing is written."""
    err = stored.refused(2, "restore", "latest", "--repo", stored.repo, "--to", text, "--overwrite")
    assert "nbd://host:port/export" in err


def test_addresses_name_host_port_and_export() -> None:
    """The port and the export may be left out."""
    assert NbdPlace.parse("nbd://host/a%20b").export == "a b"
    assert NbdPlace.parse("nbd://host").port == 10809
    assert NbdPlace.parse("nbd://[::1]:5/x").host == "::1"
    assert NbdPlace.parse("nbd+unix:///?socket=/run/x").path == "/run/x"
