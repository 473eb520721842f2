"""A program that makes the disks which the simulator brings along (`simulator/world/disks`).

It takes root, loop devices, and the Debian packages e2fsprogs, ntfs-3g, xfsprogs, dosfstools,
mtools, exfatprogs, exfat-fuse and lvm2.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from backports import zstd

from tests.strategies.item_images import (
    BASIC,
    MIB,
    RESERVED,
    Truth,
    closed,
    dated,
    ext4,
    fill,
    gpt,
    logical,
    made_xfs,
    noise,
    run,
    truth_of,
)
from tests.strategies.lvm_images import lvm
from tests.strategies.ntfs_images import ntfs, ntfs_lists


def _looped(image: Path, mount: Path, work: Callable[[], None], *program: str) -> None:
    device = subprocess.check_output(["losetup", "-f", "--show", image], text=True).strip()
    try:
        run(*(program or ("mount",)), device, mount)
        try:
            work()
        finally:
            run("umount", mount)
    finally:
        run("losetup", "-d", device)


def _fat(place: Path) -> tuple[bytes, Truth]:
    source, image = place / "fat", place / "fat.raw"
    source.mkdir()
    fill(source, is_windows=True)
    (source / "UPPER.TXT").write_bytes(b"short\n")
    dated(source)
    image.write_bytes(bytes(6 * MIB))
    run("mkfs.fat", "-F", "16", "-s", "1", "-n", "ODD", image)
    local = os.environ | {"LC_ALL": "C.UTF-8"}
    run("mcopy", "-s", "-m", "-i", image, *sorted(source.iterdir()), "::/", env=local)
    return image.read_bytes(), truth_of(source)


def _exfat(place: Path) -> tuple[bytes, Truth]:
    image, mount = place / "exfat.raw", place / "exfat"
    mount.mkdir()
    image.write_bytes(bytes(6 * MIB))
    run("mkfs.exfat", "-n", "ODD", image)
    truth: Truth = []

    def work() -> None:
        fill(mount, is_windows=True)
        truth.extend(truth_of(mount))

    _looped(image, mount, work, "mount.exfat-fuse")
    return image.read_bytes(), truth


def _rich_xfs(place: Path) -> tuple[bytes, Truth]:
    image, mount = place / "rich.raw", place / "rich"
    mount.mkdir()
    made_xfs(image, size=20 * MIB)
    truth: Truth = []

    def work() -> None:
        fill(mount, is_windows=False)
        with (mount / "in pieces").open("wb") as file:
            for number in range(60):
                os.pwrite(file.fileno(), noise(700, number), number * 12_288)
        (mount / "longer link").symlink_to("z/" * 400 + "t")
        dated(mount)
        truth.extend(truth_of(mount))

    _looped(image, mount, work)
    return image.read_bytes(), truth


def torn(content: bytes, items: Truth) -> tuple[bytes, list[dict[str, Any]]]:
    """Return an ext4 volume of which one directory was changed by nobody, and what is left."""
    disk, below = bytearray(content), b"/many/".hex()
    disk[disk.index(b"a rather long name of a small file 000")] ^= 1
    left: Truth = []
    for each in items:
        if each["path"] == b"/many".hex():
            left.append({**each, "unsupported": "the checksum of a directory is wrong"})
        elif not each["path"].startswith(below):
            left.append(each)
    return bytes(disk), [{"number": 1, "items": left}]


def put_disk(out: Path, name: str, disk: bytes, volumes: list[dict[str, Any]]) -> None:
    """Write a disk that the simulator brings along, and what is in it."""
    (out / f"{name}.raw.zst").write_bytes(zstd.compress(disk, 19))
    told = json.dumps({"volumes": volumes}, ensure_ascii=True, indent=1)
    (out / f"{name}.json").write_text(told + "\n")


def make_all(out: Path) -> None:
    """Write every disk that the simulator brings along, and what is in it."""
    put = partial(put_disk, out)
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        content, items = ext4(place)
        swap = {"number": 1, "unsupported": "swap"}
        put("ext4", logical(content), [swap, {"number": 2, "items": items}])
        put("torn", *torn(content, items))
        content, items = ntfs(place)
        reserved = {"number": 1, "unsupported": "reserved by Windows"}
        disk = gpt([(RESERVED, bytes(65536)), (BASIC, content)])
        put("ntfs", disk, [reserved, {"number": 2, "items": items}])
        others = (("lists", ntfs_lists), ("fat", _fat), ("exfat", _exfat), ("xfs", _rich_xfs))
        for name, make in others:
            content, items = make(place)
            put(name, content, [{"number": 1, "items": items}])
        disk, names = closed()
        told = [{"number": n, "unsupported": name} for n, name in enumerate(names, 1)]
        put("closed", disk, told)
        put("lvm", *lvm(place))


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))
