"""Reading VHD: a fixed disk is raw data and a footer, a dynamic one adds a header and a table.

All numbers are big-endian. The size is the footer's `Current Size`, which Hyper-V goes by, and
not the product of its geometry. Sector bitmaps are not consulted: in a dynamic disk, a sector
whose bit is clear has to be zero in the file.

Source: Virtual Hard Disk Image Format Specification 1.0 (11 October 2006).
"""

import struct
from enum import IntEnum
from typing import Final

import msgspec
import numpy as np

from reference_engine.formats.block_image import BlockImage
from reference_engine.formats.block_map import TABLE_PIECE, BlockMap, BlockMapDraft
from reference_engine.formats.image import DamagedImageError
from reference_engine.formats.image_file import ImageFile
from reference_engine.formats.raw import FlatImage
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import ByteCount

COOKIE: Final = b"conectix"
FOOTER_BYTES: Final = 512
SHORT_FOOTER_BYTES: Final = 511
"""Versions before Virtual PC 2004 wrote the footer without its last byte."""

SECTOR: Final = 512
SIZE_MAX: Final = 2040 << 30
UNUSED: Final = 0xFFFF_FFFF

_FOOTER: Final = struct.Struct(">8sIIQI4sI4sQQHBBII16s")
_CHECKSUM_AT: Final = 64
_HEADER: Final = struct.Struct(">8sQQIIII16s")
_HEADER_BYTES: Final = 1024
_HEADER_CHECKSUM_AT: Final = 36


class VhdKind(IntEnum):
    """What the footer calls the type of a disk."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4


class VhdFooter(msgspec.Struct, frozen=True, kw_only=True):
    """What the footer says of a disk."""

    header_at: int
    size: ByteCount
    kind: VhdKind
    disk_id: bytes


class DynamicHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Where a dynamic disk keeps its block table, and how large its blocks are."""

    table_at: int
    entries: int
    block: int

    @property
    def bitmap(self) -> int:
        """How many bytes of sector bitmap lie in front of each block."""
        return -(-self.block // (SECTOR * 8 * SECTOR)) * SECTOR


def has_vhd_footer(file: ImageFile, /) -> bool:
    """Return whether the file ends, or begins, like a VHD."""
    return any(found.startswith(COOKIE) for found in _footers(file))


def open_vhd(file: ImageFile, /) -> FlatImage | BlockImage[VhdFooter]:
    """Return the disk in a file that `has_vhd_footer`.

    Raises:
        InputRefusedError: it is a differencing disk, which is no disk without its parent.
        DamagedImageError: a checksum, a bound or an order is not as it has to be.
    """
    footer = _footer(file)
    if footer.kind is VhdKind.DIFFERENCING:
        raise InputRefusedError(
            f"{file.path} is a differencing VHD, which holds changes against a parent only",
            "merge it into its parent first (Merge-VHD)",
        )
    if footer.kind is VhdKind.FIXED:
        if footer.size > file.length - SHORT_FOOTER_BYTES:
            raise DamagedImageError(
                file.path, f"a fixed VHD of {footer.size} bytes cannot be in {file.length} bytes"
            )
        return FlatImage(file, size=footer.size, format_name="fixed VHD")
    blocks = _blocks(file, footer, _dynamic_header(file, footer))
    return BlockImage(file, blocks, format_name="dynamic VHD", details=footer)


def _footers(file: ImageFile) -> list[bytes]:
    """Return the bytes at all places where a footer may be: at the end, or a copy in front."""
    return [
        file.read(at, min(FOOTER_BYTES, file.length - at))
        for at in (file.length - FOOTER_BYTES, file.length - SHORT_FOOTER_BYTES, 0)
        if at >= 0
    ]


def _footer(file: ImageFile) -> VhdFooter:
    for found in _footers(file):
        whole = found.ljust(FOOTER_BYTES, b"\0")
        if whole.startswith(COOKIE) and _checksum_holds(whole, at=_CHECKSUM_AT):
            break
    else:
        raise DamagedImageError(file.path, "the checksum of its VHD footer does not hold")
    fields = _FOOTER.unpack_from(whole)
    version, header_at, size, kind, disk_id = (fields[at] for at in (2, 3, 9, 13, 15))
    if version >> 16 != 1:
        raise InputRefusedError(
            f"{file.path} is a VHD of version {version >> 16}.{version & 0xFFFF}",
            "convert it to version 1.0",
        )
    if kind not in set(VhdKind):
        raise DamagedImageError(file.path, f"there is no VHD of type {kind}")
    if size == 0 or size % SECTOR or size > SIZE_MAX:
        raise DamagedImageError(file.path, f"a VHD cannot have a size of {size} bytes")
    return VhdFooter(header_at=header_at, size=ByteCount(size), kind=VhdKind(kind), disk_id=disk_id)


def _dynamic_header(file: ImageFile, footer: VhdFooter) -> DynamicHeader:
    found = file.part(footer.header_at, _HEADER_BYTES, name="dynamic disk header")
    cookie, _, table_at, _, entries, block, _, _ = _HEADER.unpack_from(found)
    if cookie != b"cxsparse" or not _checksum_holds(found, at=_HEADER_CHECKSUM_AT):
        raise DamagedImageError(file.path, "the checksum of its dynamic disk header does not hold")
    if block < SECTOR or block & (block - 1) or block > SIZE_MAX:
        raise DamagedImageError(file.path, f"a VHD cannot have blocks of {block} bytes")
    if entries < -(-footer.size // block):
        raise DamagedImageError(
            file.path, f"{entries} blocks of {block} bytes cannot be a disk of {footer.size} bytes"
        )
    return DynamicHeader(table_at=table_at, entries=-(-footer.size // block), block=block)


def _blocks(file: ImageFile, footer: VhdFooter, header: DynamicHeader) -> BlockMap:
    draft = BlockMapDraft(file.path, block=header.block, room=file.length)
    table_bytes = 4 * header.entries
    for start in range(0, table_bytes, TABLE_PIECE):
        piece = file.part(
            header.table_at + start, min(TABLE_PIECE, table_bytes - start), name="block table"
        )
        sectors = np.frombuffer(piece, ">u4").astype(np.int64)
        present = np.flatnonzero(sectors != UNUSED)
        draft.add(present + start // 4, sectors[present] * SECTOR + header.bitmap)
    reserved = [
        (footer.header_at, footer.header_at + _HEADER_BYTES),
        (header.table_at, header.table_at + table_bytes),
    ]
    return draft.finish(size=footer.size, reserved=reserved, room=file.length, lead=header.bitmap)


def _checksum_holds(found: bytes, *, at: int) -> bool:
    """Return whether the one's complement of the byte sum, without the sum itself, is stored."""
    (stored,) = struct.unpack_from(">I", found, at)
    added = sum(found) - sum(found[at : at + 4])
    return bool(stored == ~added & UNUSED)
