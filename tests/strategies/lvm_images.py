"""A disk with a volume group on two partitions, made by LVM2's own commands.

A kernel with device-mapper is not needed: LVM2 says where the pieces of each logical volume are,
and the volumes' bytes are put there piece by piece.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from tests.strategies.item_images import MIB, ext4, gpt

LVM: Final = "e6d6d379-f507-44c2-a23c-238f2a3df928"
EXTENT: Final = 128 * 1024
STRIPE: Final = 8192
_UNUSED: Final = 65536
"""What is in front of a physical volume's first extent: its label and its metadata."""


def lvm(place: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Return the disk, and what is in each of its volumes."""
    spare, other = place / "spare", place / "other"
    spare.mkdir()
    other.mkdir()
    root, in_root = ext4(spare)
    data, in_data = ext4(other, "-b", "1024", kind="ext2")
    swap = bytearray(EXTENT)
    swap[4086:4096] = b"SWAPSPACE2"
    images = [place / "one", place / "two"]
    for image, size in zip(images, (5 * MIB, 4 * MIB), strict=True):
        image.write_bytes(bytes(size + _UNUSED))
    devices = [_looped(image) for image in images]
    try:
        _group(devices, len(root) // EXTENT, len(data) // EXTENT)
        pieces = _pieces()
    finally:
        for device in devices:
            subprocess.run(["losetup", "-d", device], check=True)
    bodies = [bytearray(image.read_bytes()) for image in images]
    for name, content in {"root": root, "data": data, "swap": bytes(swap)}.items():
        _scatter(content, pieces[name], dict(zip(devices, bodies, strict=True)))
    volumes: list[dict[str, Any]] = [
        {"number": 1, "unsupported": "physical volume of store"},
        {"number": 2, "unsupported": "physical volume of store"},
        {"number": 3, "items": in_root},
        {"number": 4, "items": in_data},
        {"number": 5, "unsupported": "swap"},
    ]
    return gpt([(LVM, bytes(body)) for body in bodies]), volumes


def _looped(image: Path) -> str:
    return subprocess.check_output(["losetup", "-f", "--show", image], text=True).strip()


def _group(devices: list[str], root: int, data: int) -> None:
    """Make a group: a volume in three pieces on both devices, and a striped one."""
    small = ["--metadatasize", "40k", "--dataalignment", "64k"]
    _lvm("pvcreate", "-y", *small, *devices)
    _lvm("vgcreate", "-s", f"{EXTENT // 1024}k", "store", *devices)
    _create("root", 10, devices[0])
    _create("data", data, "-i", "2", "-I", f"{STRIPE // 1024}k")
    _create("swap", 1, devices[0])
    _lvm("lvextend", "-l", "+12", "store/root", devices[0])
    _lvm("lvextend", "-l", str(root), "store/root", devices[1])


def _create(name: str, extents: int, *where: str) -> None:
    not_there = ["-an", "-Zn", "-Wn", "-y"]
    options = [each for each in where if not each.startswith("/")]
    devices = [each for each in where if each.startswith("/")]
    _lvm("lvcreate", *not_there, "-n", name, "-l", str(extents), *options, "store", *devices)


def _pieces() -> dict[str, list[list[tuple[str, int, int]]]]:
    """Return of each volume its segments: on which devices, from which extent, how many."""
    told = _lvm("lvs", "--segments", "--reportformat", "json", "-o", "lv_name,seg_pe_ranges")
    found: dict[str, list[list[tuple[str, int, int]]]] = {}
    for row in json.loads(told)["report"][0]["seg"]:
        areas = []
        for area in row["seg_pe_ranges"].split():
            device, _, extents = area.partition(":")
            first, last = extents.split("-")
            areas.append((device, int(first), int(last) + 1 - int(first)))
        found.setdefault(row["lv_name"], []).append(areas)
    return found


def _scatter(
    content: bytes, segments: list[list[tuple[str, int, int]]], bodies: dict[str, bytearray]
) -> None:
    at = 0
    for areas in segments:
        step = EXTENT if len(areas) == 1 else STRIPE
        for offset in range(0, areas[0][2] * EXTENT, step):
            for device, first, _ in areas:
                start = _UNUSED + first * EXTENT + offset
                bodies[device][start : start + step] = content[at : at + step]
                at += step
    assert at == len(content)


def _lvm(command: str, *arguments: str) -> str:
    quiet = os.environ | {"LVM_SUPPRESS_FD_WARNINGS": "1"}
    options = ["--driverloaded", "n", "--config", 'devices { scan=["/dev"] use_devicesfile=0 }']
    done = subprocess.run(
        [command, *options, *arguments], check=False, capture_output=True, text=True, env=quiet
    )
    assert done.returncode == 0, f"{command} {arguments}: {done.stdout}{done.stderr}"
    return done.stdout
