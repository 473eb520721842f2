"""The disk of a virtual machine as a raw image, made from a seed.

A GPT with one partition. With e2fsprogs the partition holds an ext4 file system with files in it,
a tenth of them deleted again, so that free space holds stale data as on a used disk. Without, the
same files lie one behind the other, with tables like those of a file system between them.
"""

import binascii
import enum
import itertools
import os
import struct
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import blake3
import msgspec

from reference_engine.app.bench.contents import Contents, Kind
from reference_engine.app.bench.draws import Draws
from reference_engine.app.bench.ext4 import Ext4, ext4_version
from reference_engine.model.extents import Extent
from reference_engine.model.units import GIB, KIB, MIB, ByteCount

CHUNK: Final = 64 * KIB
ZEROS: Final = bytes(CHUNK)
SMALLEST: Final = ByteCount(8 * MIB)
_SECTOR: Final = 512
_PAGE: Final = 4096
_GROUP: Final = 32 * MIB
_FILES_MOST: Final = 20_000
_LINUX: Final = uuid.UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
_SHARES: Final = (
    (Kind.TEXT, 38, "usr/share", ".txt"),
    (Kind.PROGRAM, 30, "usr/lib", ".so"),
    (Kind.DATABASE, 17, "srv/db", ".db"),
    (Kind.LOG, 7, "var/log", ".log"),
    (Kind.MEDIA, 8, "srv/media", ".jpg"),
)
"""What a machine's files hold, in per cent of their bytes, and where they lie."""

Advance = Callable[[int], None]


class Layout(enum.Enum):
    """How the files lie in the partition."""

    EXT4 = "ext4"
    PLAIN = "plain"


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which image is wanted."""

    size: ByteCount
    used: ByteCount
    """How many bytes of files it holds."""

    seed: int
    layout: Layout


class ImageMade(msgspec.Struct, frozen=True, kw_only=True):
    """One generation of an image."""

    path: Path
    size: ByteCount
    data: ByteCount
    """The bytes of all pieces of 64 KiB that are not zero."""

    digest: str
    """BLAKE3 over every piece that is not zero, and its place: holes and zeros are the same."""


def layout_here() -> Layout:
    """Return the better layout that this machine has the tools for."""
    return Layout.PLAIN if ext4_version() is None else Layout.EXT4


def make_image(path: Path, request: ImageRequest, /, *, advance: Advance) -> ImageMade:
    """Return a new image at `path`; the same request gives the same bytes."""
    assert request.size >= SMALLEST, request.size
    assert request.size % MIB == 0, request.size
    raw = path.with_suffix(".making")
    with raw.open("xb") as file:
        file.truncate(request.size)
    part = Extent(offset=ByteCount(MIB), length=ByteCount(request.size - 2 * MIB))
    match request.layout:
        case Layout.EXT4:
            _write_ext4(raw, part, request, advance)
        case Layout.PLAIN:
            _write_plain(raw, part, request, advance)
    with raw.open("r+b") as file:
        for offset, content in _partition_table(request.size, part, Draws(request.seed, "gpt")):
            file.seek(offset)
            file.write(content)
    copy_image(raw, path)
    raw.unlink()
    return describe_image(path)


def describe_image(path: Path, /) -> ImageMade:
    """Return what an image is, after reading it once."""
    digest = blake3.blake3()
    data = 0
    for offset, content in chunks_of(path):
        digest.update(struct.pack("<Q", offset) + content)
        data += len(content)
    size = ByteCount(path.stat().st_size)
    return ImageMade(path=path, size=size, data=ByteCount(data), digest=digest.hexdigest()[:32])


def chunks_of(path: Path, /) -> Iterator[tuple[int, bytes]]:
    """Yield place and content of every 64 KiB of an image that is not zero."""
    with path.open("rb", buffering=0) as file:
        number, end = file.fileno(), path.stat().st_size
        offset = 0
        while offset < end:
            try:
                offset = os.lseek(number, offset, os.SEEK_DATA) // CHUNK * CHUNK
            except OSError:
                # Nothing but a hole is left.
                return
            stretch = os.pread(number, MIB, offset)
            for start in range(0, len(stretch), CHUNK):
                content = stretch[start : start + CHUNK]
                if content != ZEROS[: len(content)]:
                    yield offset + start, content
            offset += len(stretch)


def _files(request: ImageRequest) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the machine's files: many small ones, few large ones."""
    contents = Contents(request.seed)
    draws = Draws(request.seed, "files")
    scale = max(1, request.used // (60 * KIB) // _FILES_MOST)
    largest = max(request.used // 24, 16 * KIB)
    spent = dict.fromkeys(Kind, 0)
    left = int(request.used)
    for number in itertools.count():
        if left < _PAGE:
            return
        # The kind that is furthest behind its share comes next, so that small images have all.
        kind, _, place, suffix = min(
            _SHARES, key=lambda share: (spent[share[0]] * 100 // share[1], share[2])
        )
        order = draws.below(1 << 30)
        length = (1 << (11 + min(order % 8, order // 8 % 14))) * scale
        length += draws.below(length)
        if kind in {Kind.DATABASE, Kind.MEDIA}:
            length *= 16
        length = min(length, largest, left)
        spent[kind] += length
        left -= -(-length // _PAGE) * _PAGE
        name = f"{place}/{order // 112 % 40:02}/{number:06}{suffix}"
        yield name, contents.write(kind, length, Draws(request.seed, name))


def _write_ext4(path: Path, part: Extent, request: ImageRequest, advance: Advance) -> None:
    system = Ext4(path, part)
    system.make()
    names: list[str] = []

    def watched() -> Iterator[tuple[str, bytes]]:
        for name, content in _files(request):
            names.append(name)
            yield name, content
            advance(len(content))

    system.write(watched())
    draws = Draws(request.seed, "deleted")
    doomed = draws.many_below(10, len(names)).tolist()
    system.delete(name for name, draw in zip(names, doomed, strict=True) if draw == 0)


def _write_plain(path: Path, part: Extent, request: ImageRequest, advance: Advance) -> None:
    draws = Draws(request.seed, "plain")
    with path.open("r+b") as file:
        place = int(part.offset)
        group = -1
        for _, content in _files(request):
            if place // _GROUP > group:
                group = place // _GROUP
                table = _inode_table(draws, group)
                file.seek(place)
                file.write(table)
                place += len(table)
            if draws.below(8) == 0:
                place += _PAGE * draws.below(16)
            if place + len(content) > part.offset + part.length:
                return
            file.seek(place)
            file.write(content)
            place += -(-len(content) // _PAGE) * _PAGE
            advance(len(content))


def _inode_table(draws: Draws, group: int) -> bytes:
    """Return records of 256 bytes, of which most bytes are zero, and a bitmap before them."""
    count = 256
    sizes = draws.many_below(1 << 24, count).tolist()
    records = b"".join(
        struct.pack("<HHIIIII", 0x81A4, 0, size, 1_760_000_000, 1_760_000_000 + group, 0, size)
        .ljust(40, b"\0")
        .ljust(256, b"\0")
        for size in sizes
    )
    return b"\xff" * (_PAGE // 2) + bytes(_PAGE // 2) + records


def _partition_table(size: int, part: Extent, draws: Draws) -> list[tuple[int, bytes]]:
    """Return a protective MBR and both copies of a GPT with one partition."""
    sectors = size // _SECTOR
    first, last = part.offset // _SECTOR, (part.offset + part.length) // _SECTOR - 1
    disk, partition = (uuid.UUID(bytes=draws.content(16)).bytes_le for _ in range(2))
    name = "root".encode("utf-16le").ljust(72, b"\0")
    entry = _LINUX.bytes_le + partition + struct.pack("<QQQ", first, last, 0) + name
    table = entry.ljust(128 * 128, b"\0")

    def header(here: int, other: int, entries: int) -> bytes:
        content = struct.pack(
            "<8sIIIIQQQQ16sQIII",
            *(b"EFI PART", 0x10000, 92, 0, 0, here, other, 34, sectors - 34),
            *(disk, entries, 128, 128, binascii.crc32(table)),
        )
        checked = content[:16] + struct.pack("<I", binascii.crc32(content)) + content[20:]
        return checked.ljust(_SECTOR, b"\0")

    protective = struct.pack(
        "<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF)
    )
    return [
        (0, bytes(446) + protective.ljust(64, b"\0") + b"\x55\xaa"),
        (_SECTOR, header(1, sectors - 1, 2)),
        (2 * _SECTOR, table),
        ((sectors - 33) * _SECTOR, table),
        ((sectors - 1) * _SECTOR, header(sectors - 1, 1, sectors - 33)),
    ]


def copy_image(source: Path, target: Path, /) -> None:
    """Copy an image; every 64 KiB of zeros becomes a hole, and nothing else does.

    All generations get their holes in this way. A tool that starts its blocks anew behind each
    hole would otherwise find nothing again where a hole has moved by a few KiB.
    """
    with target.open("xb", buffering=0) as file:
        file.truncate(source.stat().st_size)
        for offset, content in chunks_of(source):
            os.pwrite(file.fileno(), content, offset)


def usual_use(size: ByteCount, /) -> ByteCount:
    """Return how much of a disk of this size the benchmark fills with files."""
    share = 42 if size >= GIB // 4 else 30
    return ByteCount(size * share // 100 // _PAGE * _PAGE)
