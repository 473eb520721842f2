"""Volumes of NTFS that ntfs-3g fills: odd files, and files of which little fits into one record."""

import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.strategies.disk_images import tool
from tests.strategies.item_images import MIB, Truth, dated, digest, fill, noise, run, truth_of


def ntfs(place: Path, *, size: int = 6 * MIB) -> tuple[bytes, Truth]:
    """Return an NTFS volume and what was put into it."""
    image = place / "ntfs.raw"
    image.write_bytes(bytes(size))
    run(tool("mkntfs", package="ntfs-3g"), "-q", "-F", "-L", "odd", "-c", "4096", image)
    truth = _mounted(image, _ntfs_filled, streams="xattr")
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


def _mounted(image: Path, work: Callable[[Path], Truth], *, streams: str) -> Truth:
    """Return what `work` puts into a volume; `streams`: how ntfs-3g shows them."""
    program = tool("ntfs-3g", package="ntfs-3g")
    mount = image.with_suffix("")
    mount.mkdir()
    options = f"streams_interface={streams},compression"
    if subprocess.run([program, "-o", options, image, mount], check=False).returncode:
        pytest.skip("this user may not mount file systems")
    try:
        return work(mount)
    finally:
        run("umount", mount)


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
    plain = _truth_of_names(mount, without={*reparse})
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
    image = place / "lists.raw"
    image.write_bytes(bytes(size))
    run(tool("mkntfs", package="ntfs-3g"), "-q", "-F", "-L", "lists", "-c", "1024", image)
    truth = _mounted(image, _ntfs_listed, streams="windows")
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


def _truth_of_names(place: Path, *, without: set[str]) -> Truth:
    """Return what is in a directory but for some names in it, which only Windows understands."""
    hidden = {f"/{name}".encode().hex() for name in without}
    return [each for each in truth_of(place) if each["path"] not in hidden]
