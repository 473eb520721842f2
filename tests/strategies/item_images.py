"""Disks with odd file systems, made by the systems' own programs, and what was put into them.

Run as a program, it makes the disks that the simulator brings along (`simulator/world/disks`).
That takes root, loop devices, and the Debian packages e2fsprogs, ntfs-3g, xfsprogs, dosfstools,
mtools, exfatprogs and exfat-fuse.
"""

import hashlib
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
import pytest

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


def ntfs(place: Path, *, size: int = 6 * MIB) -> tuple[bytes, Truth]:
    """Return an NTFS volume and what was put into it."""
    image, mount = place / "ntfs.raw", place / "ntfs"
    image.write_bytes(bytes(size))
    mount.mkdir()
    run(tool("mkntfs", package="ntfs-3g"), "-q", "-F", "-L", "odd", "-c", "4096", image)
    program = tool("ntfs-3g", package="ntfs-3g")
    options = "streams_interface=xattr,compression"
    if subprocess.run([program, "-o", options, image, mount], check=False).returncode:
        pytest.skip("this user may not mount file systems")
    try:
        truth = _ntfs_filled(mount)
    finally:
        run("umount", mount)
    run(tool("ntfsfallocate", package="ntfs-3g"), "-l", "150000", image, "unwritten")
    for each in truth:
        if each["path"] == b"/unwritten".hex():
            each |= {"size": 150_000, "digest": digest(b"begin" + bytes(149_995))}
    # What was in those clusters before, which nobody may see.
    content = bytearray(image.read_bytes())
    at = content.index(b"begin" + bytes(4091)) + 5
    assert not any(content[at : at + 149_995])
    content[at : at + 149_995] = b"\xaa" * 149_995
    return bytes(content), truth


def _ntfs_filled(mount: Path) -> Truth:
    fill(mount, is_windows=True)
    os.link(mount / "hello.txt", mount / "one" / "again.txt")
    packed = mount / "packed"
    packed.mkdir()
    os.setxattr(packed, "system.ntfs_attrib_be", bytes.fromhex("00000810"))
    text = b"".join(b"%d\n" % number for number in range(20_000))
    (packed / "text").write_bytes(text)
    (packed / "zeros").write_bytes(bytes(200_000))
    (packed / "mixed").write_bytes(noise(20_000, 7) + text[:90_000] + bytes(70_000) + noise(9, 8))
    (mount / "unwritten").write_bytes(b"begin")
    streams = {
        "hello.txt": {
            "Zone.Identifier": b"[ZoneTransfer]\r\nZoneId=3\r\n",
            "large": noise(9_000, 9),
        },
        "noise.bin": {"a": b"first", "b": b"second"},
    }
    for name, own in streams.items():
        for stream, content in own.items():
            os.setxattr(mount / name, f"user.{stream}", content)
    target = "C:\\Windows".encode("utf-16-le")
    prefixed = "\\??\\C:\\Windows".encode("utf-16-le")
    both = prefixed + b"\0\0" + target + b"\0\0"
    places = struct.pack("<HHHH", 0, len(prefixed), len(prefixed) + 2, len(target))
    reparse = {
        "junction": (0xA0000003, places + both),
        "symlink": (0xA000000C, places + struct.pack("<I", 0) + both),
        "deduplicated.bin": (0x80000013, bytes(120)),
        "system.exe": (0x80000017, bytes(16)),
        "in the cloud.docx": (0x9000601A, bytes(32)),
    }
    for name in reparse:
        each = mount / name
        if name == "junction":
            each.mkdir()
        else:
            each.write_bytes(b"")
    # A second name, which is for DOS alone and no item.
    os.setxattr(mount / "noise.bin", "system.ntfs_dos_name", b"NOISE~1.BIN")
    dated(mount)
    plain = truth_of_names(mount, without={*reparse})
    for name, (tag, content) in reparse.items():
        raw = struct.pack("<IHH", tag, len(content), 0) + content
        os.setxattr(mount / name, "system.ntfs_reparse_data", raw)
    truth: Truth = []
    for each in plain:
        own = streams.get(bytes.fromhex(each["path"]).decode().removeprefix("/"), {})
        again = each["path"] == b"/one/again.txt".hex()
        own = streams["hello.txt"] if again else own
        if own:
            each["streams"] = {name: digest(content) for name, content in own.items()}
        truth.append(each)
    links = {name: {"kind": "link", "target": "C:\\Windows"} for name in ("junction", "symlink")}
    closed = {
        "deduplicated.bin": "data deduplication",
        "system.exe": "WOF",
        "in the cloud.docx": "cloud",
    }
    for name in reparse:
        item = links.get(name) or {"kind": "file", "unsupported": closed[name]}
        truth.append({"path": f"/{name}".encode().hex(), **item})
    return truth


def ntfs_lists(place: Path, *, size: int = 8 * MIB) -> tuple[bytes, Truth]:
    """Return an NTFS volume of which little fits into single records, and what was put into it.

    The master file table, a directory, a file with many names, streams, sparse, compressed and
    plain files lie in many pieces: all of them have attribute lists.
    """
    image, mount = place / "lists.raw", place / "lists"
    image.write_bytes(bytes(size))
    mount.mkdir()
    run(tool("mkntfs", package="ntfs-3g"), "-q", "-F", "-L", "lists", "-c", "1024", image)
    program = tool("ntfs-3g", package="ntfs-3g")
    options = "streams_interface=windows,compression"
    if subprocess.run([program, "-o", options, image, mount], check=False).returncode:
        pytest.skip("this user may not mount file systems")
    try:
        truth = _ntfs_listed(mount)
    finally:
        run("umount", mount)
    # What was there before would take more space than what is there.
    run(tool("ntfswipe", package="ntfs-3g"), "-f", "-a", image)
    return image.read_bytes(), truth


def _ntfs_listed(mount: Path) -> Truth:
    gaps, records, many = mount / "gaps", mount / "records", mount / "many"
    gaps.mkdir()
    with suppress(OSError):
        for number in range(100_000):
            (gaps / f"{number:05}").write_bytes(b"%01024d" % number)
    _thinned(gaps)
    # First the records of files that are gone are used again, then the table itself is in pieces.
    records.mkdir()
    for number in range(len([*gaps.iterdir()]) + 250):
        (records / f"{number}").write_bytes(b"")
    many.mkdir()
    for number in range(360):
        (many / f"{number:03}{'m' * 120}").write_bytes(b"%d" % number)
    for number in range(360):
        if number % 36:
            (many / f"{number:03}{'m' * 120}").unlink()
    text = b"".join(b"%063d\n" % number for number in range(5_000))
    # Between the clusters that are free now lie those of what was made since.
    _thinned(gaps)
    _appended(mount / "in pieces", text[:260_000])
    with (mount / "sparse").open("wb") as file:
        file.truncate(3_000_000)
        for number in range(250):
            os.pwrite(file.fileno(), text[number : number + 600], number * 8_192)
    streams = {f"stream {number}": text[: 50 + number * 11] for number in range(20)}
    streams |= {"large": text[:60_000]}
    (mount / "streams").write_bytes(b"main")
    for name, content in streams.items():
        _appended(Path(f"{mount / 'streams'}:{name}"), content)
    shutil.rmtree(gaps)
    shutil.rmtree(records)
    names = mount / "names"
    names.mkdir()
    (names / "first").write_bytes(text[:3_000])
    for number in range(12):
        os.link(names / "first", names / f"{number:02}{'n' * 180}")
    packed = mount / "packed"
    packed.mkdir()
    os.setxattr(packed, "system.ntfs_attrib_be", bytes.fromhex("00000810"))
    (packed / "text").write_bytes(b"".join(b"%04096d" % number for number in range(560)))
    (mount / "last").write_bytes(text[5_000:20_000])
    dated(mount)
    truth = truth_of(mount)
    for each in truth:
        if each["path"] == b"/streams".hex():
            each["streams"] = {name: digest(content) for name, content in streams.items()}
    return truth


def _appended(file: Path, content: bytes) -> None:
    """Write a file little by little: ntfs-3g does not make more than one record at a time."""
    with file.open("wb", buffering=0) as opened:
        for at in range(0, len(content), 1024):
            opened.write(content[at : at + 1024])


def _thinned(place: Path) -> None:
    """Remove every second file."""
    for each in sorted(place.iterdir())[::2]:
        each.unlink()


def truth_of_names(place: Path, *, without: set[str]) -> Truth:
    """Return what is in a directory but for some names in it, which only Windows understands."""
    hidden = {f"/{name}".encode().hex() for name in without}
    return [each for each in truth_of(place) if each["path"] not in hidden]


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
    from backports import zstd  # noqa: PLC0415 - where the program is run

    (out / f"{name}.raw.zst").write_bytes(zstd.compress(disk, 19))
    told = json.dumps({"volumes": volumes}, ensure_ascii=True, indent=1)
    (out / f"{name}.json").write_text(told + "\n")


def make_all(out: Path) -> None:
    """Write every disk that the simulator brings along but that of LVM, and what is in it."""
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


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))
