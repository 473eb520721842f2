"""Contents of small disks, and images of them written here byte by byte, valid or spoilt."""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from google_crc32c import value as crc32c
from hypothesis import strategies as st

from reference_engine.formats import vhdx_layout as layout
from reference_engine.formats.image import DiskImage
from reference_engine.formats.opening import open_disk_image
from reference_engine.formats.raw_writer import RawWriter
from reference_engine.formats.vhdx_writer import VhdxForm, VhdxIdentity, VhdxWriter
from reference_engine.formats.writer import DiskWriter
from reference_engine.model.errors import TwinshotError
from reference_engine.model.units import KIB, MIB, ByteCount

IDENTITY = VhdxIdentity(
    disk_id=bytes(range(16)), data_write_id=b"data-write-id-16", file_write_id=b"file-write-id-16"
)
LOG_ID = b"log-identifier16"


def tool(name: str, *, package: str) -> str:
    """Return the path of a foreign program; without it the test is skipped."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"needs {name} (Debian package {package})")
    return found


def qemu_img(*arguments: str | Path) -> str:
    """Return what qemu-img prints; it has to succeed."""
    program = tool("qemu-img", package="qemu-utils")
    run = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """A run of one byte value somewhere on a disk."""

    offset: int
    length: int
    fill: int


def edits(size: int) -> st.SearchStrategy[Edit]:
    """Runs of equal bytes, zeros among them, that lie in a disk of `size`."""
    return st.integers(0, size - 1).flatmap(
        lambda offset: st.builds(
            Edit,
            offset=st.just(offset),
            length=st.integers(1, min(size - offset, 1_500_000)),
            fill=st.integers(0, 255),
        )
    )


def disk_edits(size: int) -> st.SearchStrategy[list[Edit]]:
    """What is written to a disk of `size`, in this order."""
    return st.lists(edits(size), max_size=6)


def content_of(size: int, written: Iterable[Edit]) -> bytes:
    """Return the disk that is zero but for what was written."""
    content = bytearray(size)
    for edit in written:
        content[edit.offset : edit.offset + edit.length] = bytes([edit.fill]) * edit.length
    return bytes(content)


def patterned(size: int) -> bytes:
    """Return a disk with an MBR signature, data at odd places, and empty blocks between."""
    content = bytearray(size)
    for number, offset in enumerate(range(300, size - 5000, 1_300_001), start=1):
        content[offset : offset + 4099] = bytes((number * 7 + i * i) & 255 for i in range(4099))
    content[-700:] = b"\xa5" * 700
    content[510:512] = b"\x55\xaa"
    return bytes(content)


def write_content(writer: DiskWriter, content: bytes, *, step: int = MIB) -> None:
    """Write all of `content` in ascending order and finish the image."""
    for offset in range(0, len(content), step):
        writer.write(ByteCount(offset), content[offset : offset + step])
    writer.finish()


def written_vhdx(path: Path, content: bytes, *, form: VhdxForm) -> Path:
    """Return `path`, where there is a VHDX with this content now."""
    with VhdxWriter.create(path, ByteCount(len(content)), identity=IDENTITY, form=form) as writer:
        write_content(writer, content)
    return path


def written_raw(path: Path, content: bytes) -> Path:
    """Return `path`, where there is a raw image with this content now."""
    with RawWriter.create(path, ByteCount(len(content))) as writer:
        write_content(writer, content)
    return path


def content_in(image: DiskImage) -> bytes:
    """Return all bytes of an image, read in pieces that cross its blocks."""
    step = 700 * KIB
    return b"".join(
        image.read(ByteCount(at), ByteCount(min(step, image.size - at)))
        for at in range(0, image.size, step)
    )


def content_or_error(path: Path) -> bytes | None:
    """Return all bytes of the image at `path`; None where it is refused with a sentence."""
    try:
        with open_disk_image(path) as image:
            image.allocated()
            return content_in(image)
    except TwinshotError as error:
        sentence = str(error)
    assert sentence.startswith(str(path)), sentence
    return None


class Spoiling:
    """A file that differs from what it was in some bytes or its length, until left again."""

    def __init__(self, path: Path, *, at: int, mask: int) -> None:
        """Flip the bits of `mask` in the byte `at`."""
        self._path, self._at, self._mask = path, at, mask

    def _flip(self) -> None:
        with self._path.open("r+b") as file:
            file.seek(self._at)
            (byte,) = file.read(1)
            file.seek(self._at)
            file.write(bytes([byte ^ self._mask]))

    def __enter__(self) -> Path:
        self._flip()
        return self._path

    def __exit__(self, *_: object) -> None:
        self._flip()


def vhd_checksummed(structure: bytes, *, at: int) -> bytes:
    """Return a VHD structure with its checksum at `at`."""
    cleared = structure[:at] + bytes(4) + structure[at + 4 :]
    return structure[:at] + struct.pack(">I", ~sum(cleared) & 0xFFFF_FFFF) + structure[at + 4 :]


def vhd_footer(size: int, *, kind: int, header_at: int = 0xFFFF_FFFF_FFFF_FFFF) -> bytes:
    """Return the footer of a VHD."""
    fields = struct.pack(
        ">8sIIQI4sI4sQQHBBI",
        b"conectix",
        2,
        0x10000,
        header_at,
        0,
        b"test",
        0x10000,
        b"Wi2k",
        size,
        size,
        100,
        4,
        17,
        kind,
    )
    return vhd_checksummed(fields.ljust(512, b"\0"), at=64)


def dynamic_vhd(content: bytes, *, block: int, kind: int = 3) -> bytes:
    """Return a dynamic VHD with this content; blocks lie in the file in reverse order."""
    footer = vhd_footer(len(content), kind=kind, header_at=512)
    count = -(-len(content) // block)
    table_bytes = -(-count * 4 // 512) * 512
    header = struct.pack(
        ">8sQQIII", b"cxsparse", 0xFFFF_FFFF_FFFF_FFFF, 1536, 0x10000, count, block
    )
    bitmap = -(-block // (512 * 8 * 512)) * 512
    table = [0xFFFF_FFFF] * (table_bytes // 4)
    body = b""
    for number in reversed(range(count)):
        data = content[number * block : (number + 1) * block]
        if any(data):
            table[number] = (1536 + table_bytes + len(body)) // 512
            body += b"\xff" * bitmap + data.ljust(block, b"\0")
    packed = struct.pack(f">{len(table)}I", *table)
    return footer + vhd_checksummed(header.ljust(1024, b"\0"), at=36) + packed + body + footer


def fixed_vhd(content: bytes) -> bytes:
    """Return a fixed VHD with this content."""
    return content + vhd_footer(len(content), kind=2)


class LogWrite(msgspec.Struct, frozen=True, kw_only=True):
    """What one log entry puts over the file: pages of 4 KiB, and ranges of zeros."""

    pages: tuple[tuple[int, bytes], ...] = ()
    zeros: tuple[tuple[int, int], ...] = ()


def log_entry(
    write: LogWrite, *, sequence: int, tail: int, length: int, log_id: bytes = LOG_ID
) -> bytes:
    """Return a sealed log entry for a file of `length`."""
    descriptors, sectors = b"", b""
    for offset, page in write.pages:
        descriptors += struct.pack("<4s4s8sQQ", b"desc", page[4092:], page[:8], offset, sequence)
        low = struct.pack("<I", sequence & 0xFFFF_FFFF)
        sectors += struct.pack("<4sI", b"data", sequence >> 32) + page[8:4092] + low
    for offset, extent in write.zeros:
        descriptors += struct.pack("<4sIQQQ", b"zero", 0, extent, offset, sequence)
    count = len(write.pages) + len(write.zeros)
    room = -(-(64 + len(descriptors)) // 4096) * 4096
    head = struct.pack(
        "<4sIIIQII16sQQ",
        b"loge",
        0,
        room + len(sectors),
        tail,
        sequence,
        count,
        0,
        log_id,
        length,
        length,
    )
    entry = (head + descriptors).ljust(room, b"\0") + sectors
    return entry[:4] + struct.pack("<I", crc32c(entry)) + entry[8:]


def add_log(
    path: Path, writes: Iterable[LogWrite], *, start: int = 8192, first: int = 7
) -> tuple[int, int]:
    """Put entries into the log ring from `start` on and mark the log as in use.

    Returns the place in the ring and the sequence number of the entry that would follow.
    """
    length = path.stat().st_size
    at, sequence = start, first
    with path.open("r+b") as file:
        for write in writes:
            entry = log_entry(write, sequence=sequence, tail=start, length=length)
            put_in_ring(file.fileno(), entry, at=at)
            at, sequence = (at + len(entry)) % MIB, sequence + 1
        for place, number in zip(layout.HEADERS_AT, (11, 12), strict=True):
            file.seek(place)
            header = layout.parsed_header(file.read(layout.HEADER_BYTES))
            assert header is not None
            dirty = msgspec.structs.replace(header, sequence=number, log_id=LOG_ID)
            file.seek(place)
            file.write(dirty.packed())
    return at, sequence


def put_in_ring(descriptor: int, entry: bytes, *, at: int) -> None:
    """Write an entry into the log of 1 MiB at 1 MiB, around its end if need be."""
    fits = entry[: MIB - at]
    os.pwrite(descriptor, fits, MIB + at)
    os.pwrite(descriptor, entry[len(fits) :], MIB)
