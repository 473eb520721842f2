"""How the parts of a VHDX file are laid out: one place for what reader and writer agree on.

All numbers are little-endian. Checksums are CRC-32C over a structure whose checksum is zero.

Source: [MS-VHDX] 2.1 to 2.6.
"""

import struct
from enum import IntEnum, IntFlag
from typing import Final
from uuid import UUID

import msgspec
from google_crc32c import value as crc32c

from reference_engine.model.units import KIB, MIB, ByteCount

IDENTIFIER: Final = b"vhdxfile"
HEADERS_AT: Final = (64 * KIB, 128 * KIB)
HEADER_BYTES: Final = 4 * KIB
REGION_TABLES_AT: Final = (192 * KIB, 256 * KIB)
REGION_TABLE_BYTES: Final = 64 * KIB
FRONT_BYTES: Final = MIB
"""Identifier, headers and region tables; everything else lies behind."""

METADATA_TABLE_BYTES: Final = 64 * KIB
ENTRIES_MAX: Final = 2047
NO_LOG: Final = bytes(16)

SIZE_MAX: Final = 64 << 40
BLOCK_MIN: Final = MIB
BLOCK_MAX: Final = 256 * MIB
SECTORS: Final = (512, 4096)

_HEADER: Final = struct.Struct("<4sIQ16s16s16sHHIQ")
_TABLE_HEAD: Final = struct.Struct("<4sIII")
_REGION: Final = struct.Struct("<16sQII")
_METADATA_HEAD: Final = struct.Struct("<8sHH")
_ITEM: Final = struct.Struct("<16sIIII")

BAT_REGION: Final = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
METADATA_REGION: Final = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le

FILE_PARAMETERS: Final = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
VIRTUAL_SIZE: Final = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
DISK_ID: Final = UUID("beca12ab-b2e6-4523-93ef-c309e000c746").bytes_le
LOGICAL_SECTOR: Final = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f").bytes_le
PHYSICAL_SECTOR: Final = UUID("cda348c7-445d-4471-9cc9-e9885251c556").bytes_le
PARENT_LOCATOR: Final = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le

LEAVE_ALLOCATED: Final = 1
HAS_PARENT: Final = 2


class ItemFlag(IntFlag):
    """Whom a metadata item belongs to, and whether a reader has to know it."""

    USER = 1
    VIRTUAL_DISK = 2
    REQUIRED = 4


class BlockState(IntEnum):
    """The low three bits of an entry of the block allocation table."""

    NOT_PRESENT = 0
    UNDEFINED = 1
    ZERO = 2
    UNMAPPED = 3
    FULLY_PRESENT = 6
    PARTIALLY_PRESENT = 7


ABSENT_STATES: Final = (
    BlockState.NOT_PRESENT,
    BlockState.UNDEFINED,
    BlockState.ZERO,
    BlockState.UNMAPPED,
)
STATE_MASK: Final = 7
RESERVED_MASK: Final = 0xF_FFF8
OFFSET_SHIFT: Final = 20


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The switch of a VHDX file: the valid header with the larger sequence number counts."""

    sequence: int
    file_write_id: bytes
    data_write_id: bytes
    log_id: bytes
    log_version: int
    version: int
    log_length: int
    log_at: int

    def packed(self) -> bytes:
        """Return the header as it stands in the file, checksum included."""
        fields = _HEADER.pack(
            b"head",
            0,
            self.sequence,
            self.file_write_id,
            self.data_write_id,
            self.log_id,
            self.log_version,
            self.version,
            self.log_length,
            self.log_at,
        )
        return sealed(fields.ljust(HEADER_BYTES, b"\0"))


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the file that the region table names."""

    kind: bytes
    at: int
    length: int
    required: int

    @property
    def end(self) -> int:
        """The first byte behind the region."""
        return self.at + self.length


class MetadataItem(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the metadata table; `at` counts from the start of the metadata region."""

    kind: bytes
    at: int
    length: int
    flags: ItemFlag


def sealed(structure: bytes, /) -> bytes:
    """Return `structure` with its checksum in bytes 4 to 8."""
    checksum = crc32c(structure[:4] + bytes(4) + structure[8:])
    return structure[:4] + struct.pack("<I", checksum) + structure[8:]


def is_sealed(structure: bytes, signature: bytes, /) -> bool:
    """Return whether `structure` bears the signature and its checksum holds."""
    return structure.startswith(signature) and structure == sealed(structure)


def parsed_header(found: bytes, /) -> Header | None:
    """Return the header in `found`, or None where there is no valid one."""
    if not is_sealed(found, b"head"):
        return None
    fields = _HEADER.unpack_from(found)
    return Header(
        sequence=fields[2],
        file_write_id=fields[3],
        data_write_id=fields[4],
        log_id=fields[5],
        log_version=fields[6],
        version=fields[7],
        log_length=fields[8],
        log_at=fields[9],
    )


def packed_regions(regions: tuple[Region, ...], /) -> bytes:
    """Return a region table as it stands in the file, checksum included."""
    entries = [_REGION.pack(r.kind, r.at, r.length, r.required) for r in regions]
    table = _TABLE_HEAD.pack(b"regi", 0, len(regions), 0) + b"".join(entries)
    return sealed(table.ljust(REGION_TABLE_BYTES, b"\0"))


def parsed_regions(found: bytes, /) -> tuple[Region, ...] | None:
    """Return the regions named in `found`, or None where there is no valid table."""
    if not is_sealed(found, b"regi"):
        return None
    count = _TABLE_HEAD.unpack_from(found)[2]
    if count > ENTRIES_MAX:
        return None
    entries = [_REGION.unpack_from(found, 16 + 32 * index) for index in range(count)]
    return tuple(
        Region(kind=kind, at=at, length=length, required=required)
        for kind, at, length, required in entries
    )


def packed_metadata(items: tuple[tuple[bytes, ItemFlag, bytes], ...], /) -> bytes:
    """Return table and values of a metadata region, from (kind, flags, value) of each item."""
    table = _METADATA_HEAD.pack(b"metadata", 0, len(items)).ljust(32, b"\0")
    values = b""
    for kind, flags, value in items:
        table += _ITEM.pack(kind, METADATA_TABLE_BYTES + len(values), len(value), flags, 0)
        values += value
    return table.ljust(METADATA_TABLE_BYTES, b"\0") + values


def parsed_metadata(found: bytes, /) -> tuple[MetadataItem, ...] | None:
    """Return the entries of the metadata table in `found`, or None where it is not valid."""
    signature, _, count = _METADATA_HEAD.unpack_from(found)
    if signature != b"metadata" or count > ENTRIES_MAX:
        return None
    entries = [_ITEM.unpack_from(found, 32 + 32 * index) for index in range(count)]
    return tuple(
        MetadataItem(kind=kind, at=at, length=length, flags=ItemFlag(flags & 7))
        for kind, at, length, flags, _ in entries
    )


class TableShape(msgspec.Struct, frozen=True, kw_only=True):
    """How the block allocation table of a disk without a parent is laid out."""

    size: ByteCount
    block: ByteCount
    sector: ByteCount

    @property
    def blocks(self) -> int:
        """How many blocks the disk has."""
        return -(-self.size // self.block)

    @property
    def ratio(self) -> int:
        """After how many blocks the table holds one entry for their sector bitmap."""
        return (self.sector << 23) // self.block

    @property
    def entries(self) -> int:
        """How many entries the table has."""
        return self.blocks + (self.blocks - 1) // self.ratio

    def index(self, block: int, /) -> int:
        """Return the place of a block in the table."""
        return block + block // self.ratio
