"""Disks with odd file systems, made by the systems' own programs, and what was put into them."""

import hashlib
import os
import stat
import struct
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np

from tests.strategies.disk_images import tool

Truth = list[dict[str, Any]]
"""The items of a volume as they were put in: path, kind, and what there is to be compared."""

MIB: Final = 1 << 20
_WHEN: Final = 1_700_000_000

BASIC: Final = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"
LINUX: Final = "0fc63daf-8483-4772-8e79-3d69d8477de4"
RESERVED: Final = "e3c9e316-0b5c-4db8-817d-f92df00215ae"
LDM_DATA: Final = "af9b60a0-1431-4f62-bc68-3311714a69ad"
SPACES: Final = "e75caf8f-f680-4cee-afa3-b001e56efc2d"


def noise(size: int, seed: int) -> bytes:
    """Return bytes that do not compress, the same ones each time."""
    return np.random.default_rng(seed).bytes(size)


def run(*command: str | Path, **options: Any) -> None:
    """Run a foreign program; it has to succeed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def fill(place: Path, *, is_windows: bool) -> None:
    """Put files into a directory: sparse, linked, odd of name, many."""
    (place / "hello.txt").write_bytes(b"hello\n")
    (place / "empty").write_bytes(b"")
    (place / "noise.bin").write_bytes(noise(20_001, 1))
    (place / "ünï—日本.txt").write_bytes(b"names\n")
    many = place / "many"
    many.mkdir()
    for number in range(120):
        (many / f"a rather long name of a small file {number:03}").write_bytes(b"%d\n" % number)
    deep = place / "one" / "two" / "three"
    deep.mkdir(parents=True)
    (deep / ("n" * (200 if is_windows else 255))).write_bytes(b"deep\n")
    with (place / "sparse.bin").open("wb") as file:
        file.truncate(1_500_000)
        for at in (300_000, 1_200_000):
            os.pwrite(file.fileno(), noise(5_000, at), at)
    if not is_windows:
        fill_links(place)
        (place / os.fsdecode(b"not\xfftext")).write_bytes(b"bytes\n")
        (place / "line\nbreak \x1b[31m").write_bytes(b"control\n")
        os.mkfifo(place / "pipe")
    dated(place)


def fill_links(place: Path) -> None:
    """Put links into a directory: two names of one file, and links to anywhere."""
    os.link(place / "hello.txt", place / "one" / "again.txt")
    (place / "link").symlink_to("hello.txt")
    (place / "long link").symlink_to("x/" * 60 + "y")
    (place / "outside").symlink_to("/etc/passwd")


def dated(place: Path) -> None:
    """Give everything the same time, which every file system can hold."""
    for each in [*place.rglob("*")][::-1]:
        os.utime(each, (_WHEN, _WHEN), follow_symlinks=False)


def truth_of(place: Path) -> Truth:
    """Return what is in a directory, as the operating system sees it."""
    found: Truth = []
    for each in sorted(place.rglob("*"), key=os.fsencode):
        path = os.fsencode("/" + str(each.relative_to(place))).decode("utf-8", "surrogateescape")
        item: dict[str, Any] = {"path": path.encode("utf-8", "surrogateescape").hex()}
        mode = each.lstat().st_mode
        if stat.S_ISLNK(mode):
            item |= {"kind": "link", "target": str(each.readlink())}
        elif stat.S_ISDIR(mode):
            item |= {"kind": "directory"}
        elif stat.S_ISREG(mode):
            content = each.read_bytes()
            item |= {"kind": "file", "size": len(content), "digest": digest(content)}
        else:
            item |= {"kind": "other"}
        found.append(item)
    return found


def digest(content: bytes) -> str:
    """Return by what content is known again."""
    return hashlib.sha256(content).hexdigest()


def ext4(place: Path, *options: str, kind: str = "ext4") -> tuple[bytes, Truth]:
    """Return an ext4 volume and what was put into it; `options`: for mke2fs."""
    source, image = place / "ext4", place / "ext4.raw"
    source.mkdir()
    fill(source, is_windows=False)
    if "inline_data" in options:
        # mke2fs 1.47 gives a file that ends with a hole another size then.
        (source / "sparse.bin").unlink()
        dated(source)
    program = tool("mke2fs", package="e2fsprogs")
    run(program, "-q", "-t", kind, "-L", "odd", *options, "-d", source, image, "4M")
    lost = [{"path": b"/lost+found".hex(), "kind": "directory"}]
    return image.read_bytes(), truth_of(source) + lost


def xfs(place: Path, *, size: int = 16 * MIB) -> tuple[bytes, Truth]:
    """Return a small XFS volume made without mounting it, and what was put into it."""
    source, image, plan = place / "xfs", place / "xfs.raw", place / "plan"
    source.mkdir()
    (source / "hello.txt").write_bytes(b"hello\n")
    (source / "noise.bin").write_bytes(noise(20_001, 1))
    (source / "many").mkdir()
    for number in range(300):
        (source / "many" / f"a-rather-long-name-{number:03}").write_bytes(b"%d\n" % number)
    (source / "link").symlink_to("hello.txt")
    many = [f"{each.name} ---644 0 0 {each}" for each in sorted((source / "many").iterdir())]
    lines = [
        "/", "0 0", "d--755 0 0",
        f"hello.txt ---644 0 0 {source / 'hello.txt'}",
        f"noise.bin ---644 0 0 {source / 'noise.bin'}",
        "link l--777 0 0 hello.txt",
        "many d--755 0 0", *many, "$", "$",
    ]  # fmt: skip
    plan.write_text("\n".join(lines) + "\n")
    made_xfs(image, "-p", plan, size=size)
    return image.read_bytes(), truth_of(source)


def made_xfs(image: Path, *options: str | Path, size: int) -> None:
    """Make an XFS smaller than its program would make for people."""
    image.write_bytes(bytes(size))
    small = os.environ | {"TEST_DIR": "1", "TEST_DEV": "1", "QA_CHECK_FS": "1"}
    program = tool("mkfs.xfs", package="xfsprogs")
    run(program, "-q", "-f", "-L", "odd", *options, image, env=small)


def gpt(parts: Iterable[tuple[str, bytes]], *, name: str = "part") -> bytes:
    """Return a disk with these partitions: type and content, each on a border of 64 KiB."""
    at, entries, body = 65536, b"", b""
    for kind, content in parts:
        whole = content + bytes(-len(content) % 65536)
        first, last = at // 512, (at + len(whole)) // 512 - 1
        own = UUID(int=at).bytes_le
        entries += UUID(kind).bytes_le + own + struct.pack("<QQQ", first, last, 0)
        entries += name.encode("utf-16-le").ljust(72, b"\0")
        at, body = at + len(whole), body + whole
    entries = entries.ljust(128 * 128, b"\0")
    total = at + 65536
    guid = UUID(int=7).bytes_le

    def header(own: int, other: int, table: int) -> bytes:
        fields = struct.pack("<QQQQ", own, other, 34, total // 512 - 34) + guid
        fields += struct.pack("<QIII", table, 128, 128, zlib.crc32(entries))
        raw = b"EFI PART" + struct.pack("<IIII", 0x10000, 92, 0, 0) + fields
        return (raw[:16] + struct.pack("<I", zlib.crc32(raw)) + raw[20:]).ljust(512, b"\0")

    last = total // 512 - 1
    front = mbr([(0xEE, 1, last)]) + header(1, last, 2) + entries
    back = entries + header(last, 1, last - 32)
    return front.ljust(65536, b"\0") + body + back.rjust(65536, b"\0")


def rebuilt(disk: bytes, *, sector: int, first: int, last: int, total: int) -> bytes:
    """Return a disk's GPT for other sectors: one partition, its header in front alone."""
    entries = bytearray(disk[2 * sector : 2 * sector + 128 * 128])
    entries[32:48] = struct.pack("<QQ", first, last)
    header = bytearray(disk[sector : sector + 92])
    header[24:40] = struct.pack("<QQ", 1, total // sector - 1)
    header[72:80] = struct.pack("<Q", 2)
    header[88:92] = struct.pack("<I", zlib.crc32(entries))
    header[16:20] = bytes(4)
    header[16:20] = struct.pack("<I", zlib.crc32(header))
    front = bytes(disk[:sector]) + bytes(header).ljust(sector, b"\0") + bytes(entries)
    return front.ljust(total, b"\0")


def mbr(entries: Iterable[tuple[int, int, int]]) -> bytes:
    """Return a sector with a partition table: type, first sector, count."""
    table = b"".join(struct.pack("<4xB3xII", *each) for each in entries)
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


def logical(content: bytes) -> bytes:
    """Return a disk with swap in a primary partition, and `content` in a logical one."""
    swap = bytearray(65536)
    swap[4086:4096] = b"SWAPSPACE2"
    count = len(content) // 512
    front = mbr([(0x82, 128, 128), (0x05, 256, 128 + count)]).ljust(65536, b"\0")
    return front + bytes(swap) + mbr([(0x83, 128, count)]).ljust(65536, b"\0") + content


def closed() -> tuple[bytes, list[str]]:
    """Return a disk of volumes that are recognised and not read, and what each is called."""

    def volume(*marks: tuple[int, bytes]) -> bytes:
        content = bytearray(131_072)
        content[1024:1536] = noise(512, 40)
        for at, mark in marks:
            content[at : at + len(mark)] = mark
        return bytes(content)

    parts = [
        (BASIC, volume((0, b"\xeb\x58\x90-FVE-FS-"), (510, b"\x55\xaa")), "BitLocker"),
        (BASIC, volume((0, b"\0\0\0ReFS\0\0\0\0"), (16, b"FSRS")), "ReFS"),
        (LDM_DATA, volume((3, b"NTFS    ")), "LDM"),
        (SPACES, volume((0, b"SPACEDB ")), "Storage Spaces"),
        (LINUX, volume((512, b"LABELONE")), "LVM"),
        (LINUX, volume((0, b"LUKS\xba\xbe\0\x02")), "LUKS"),
        (LINUX, volume((65536 + 64, b"_BHRfS_M")), "btrfs"),
        (RESERVED, bytes(65536), "reserved by Windows"),
        (LINUX, volume((7, b"something else")), "unknown"),
        (LINUX, bytes(65536), "empty"),
    ]
    return gpt([(kind, content) for kind, content, _ in parts]), [name for *_, name in parts]
