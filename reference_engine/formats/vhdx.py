"""Reading VHDX: headers, log, region tables, metadata and block table, in that order.

Metadata, block table and payload carry no checksum in this format; they are checked for
contradictions only. What a header, a region table or the log says is checked by CRC-32C.

Source: [MS-VHDX].
"""

import struct
from typing import Final

import msgspec
import numpy as np

from reference_engine.formats import vhdx_layout as layout
from reference_engine.formats.block_image import BlockImage
from reference_engine.formats.block_map import TABLE_PIECE, BlockMap, BlockMapDraft
from reference_engine.formats.image import DamagedImageError
from reference_engine.formats.image_file import ImageFile
from reference_engine.formats.vhdx_layout import BlockState, Header, ItemFlag, Region, TableShape
from reference_engine.formats.vhdx_log import PatchedFile, replayed
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import MIB, ByteCount

_ITEM_BYTES: Final = {
    layout.FILE_PARAMETERS: 8,
    layout.VIRTUAL_SIZE: 8,
    layout.DISK_ID: 16,
    layout.LOGICAL_SECTOR: 4,
    layout.PHYSICAL_SECTOR: 4,
}
_OFFSET_MAX: Final = 1 << 62


class VhdxDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What a VHDX file says of its disk besides the content."""

    size: ByteCount
    block: ByteCount
    logical_sector: ByteCount
    physical_sector: ByteCount
    disk_id: bytes
    data_write_id: bytes
    """New whenever the guest's data changed; a child names its parent by it."""

    stays_allocated: bool
    log_was_replayed: bool


class _Regions(msgspec.Struct, frozen=True, kw_only=True):
    table: Region
    metadata: Region


def is_vhdx(file: ImageFile, /) -> bool:
    """Return whether the file begins like a VHDX."""
    length = len(layout.IDENTIFIER)
    return file.length >= length and file.read(0, length) == layout.IDENTIFIER


def open_vhdx(file: ImageFile, /) -> BlockImage[VhdxDetails]:
    """Return the disk in a file that `is_vhdx`, as it is once the log is replayed.

    Raises:
        InputRefusedError: it is a differencing disk, or needs what is not known here.
        DamagedImageError: a checksum, a bound or an order is not as it has to be.
    """
    header = _header(file)
    has_log = header.log_id != layout.NO_LOG
    source = replayed(file, header) if has_log else PatchedFile(file, (), length=file.length)
    regions = _regions(source, header)
    details = _details(source, regions.metadata, header)
    blocks = _blocks(source, details, header, regions)
    kind = "fixed" if details.stays_allocated else "dynamic"
    return BlockImage(source, blocks, format_name=f"{kind} VHDX", details=details)


def _header(file: ImageFile) -> Header:
    found = [
        layout.parsed_header(file.part(at, layout.HEADER_BYTES, name="headers"))
        for at in layout.HEADERS_AT
    ]
    valid = [header for header in found if header is not None]
    if not valid:
        raise DamagedImageError(file.path, "the checksum of neither of its headers holds")
    header = max(valid, key=lambda header: header.sequence)
    if header.version != 1:
        raise InputRefusedError(
            f"{file.path} is a VHDX of version {header.version}", "convert it to version 1"
        )
    if header.log_at < layout.FRONT_BYTES or header.log_at % MIB or header.log_length % MIB:
        raise DamagedImageError(file.path, f"its log cannot lie at byte {header.log_at}")
    if header.log_at + header.log_length > file.length:
        raise DamagedImageError(file.path, f"it ends after {file.length} bytes, inside its log")
    return header


def _regions(source: PatchedFile, header: Header) -> _Regions:
    found = [
        layout.parsed_regions(source.part(at, layout.REGION_TABLE_BYTES, name="region tables"))
        for at in layout.REGION_TABLES_AT
    ]
    regions = next((table for table in found if table is not None), None)
    if regions is None:
        raise DamagedImageError(source.path, "the checksum of neither of its region tables holds")
    known = {layout.BAT_REGION, layout.METADATA_REGION}
    for region in regions:
        if region.kind not in known and region.required & 1:
            raise InputRefusedError(
                f"{source.path} has a region of an unknown kind, without which it cannot be read",
                "convert it with the program that wrote it",
            )
        if region.at < layout.FRONT_BYTES or region.at % MIB or region.length % MIB:
            raise DamagedImageError(source.path, f"no region can lie at byte {region.at}")
        if region.kind in known and region.end > source.length:
            raise DamagedImageError(
                source.path, f"it ends after {source.length} bytes, inside a region"
            )
    tables = [region for region in regions if region.kind == layout.BAT_REGION]
    metadata = [region for region in regions if region.kind == layout.METADATA_REGION]
    if len(tables) != 1 or len(metadata) != 1:
        raise DamagedImageError(source.path, "it has not just one block table and one metadata")
    assert header.log_at + header.log_length <= source.length, header
    return _Regions(table=tables[0], metadata=metadata[0])


def _metadata(source: PatchedFile, region: Region) -> dict[bytes, bytes]:
    if region.length < layout.METADATA_TABLE_BYTES:
        raise DamagedImageError(source.path, "its metadata region is too short")
    found = source.part(region.at, layout.METADATA_TABLE_BYTES, name="metadata")
    items = layout.parsed_metadata(found)
    if items is None:
        raise DamagedImageError(source.path, "its metadata table is not valid")
    values: dict[bytes, bytes] = {}
    for item in items:
        if item.flags & ItemFlag.USER:
            continue
        if item.kind == layout.PARENT_LOCATOR:
            values[item.kind] = b""
        elif item.kind in _ITEM_BYTES:
            inside = layout.METADATA_TABLE_BYTES <= item.at <= region.length - item.length
            if not inside or item.length != _ITEM_BYTES[item.kind] or item.kind in values:
                raise DamagedImageError(source.path, "an item of its metadata is not valid")
            values[item.kind] = source.part(region.at + item.at, item.length, name="metadata")
        elif item.flags & ItemFlag.REQUIRED:
            raise InputRefusedError(
                f"{source.path} has metadata of an unknown kind, without which it cannot be read",
                "convert it with the program that wrote it",
            )
    if not _ITEM_BYTES.keys() <= values.keys():
        raise DamagedImageError(source.path, "its metadata lacks a required item")
    return values


def _details(source: PatchedFile, region: Region, header: Header) -> VhdxDetails:
    values = _metadata(source, region)
    block, flags = struct.unpack("<II", values[layout.FILE_PARAMETERS])
    (size,) = struct.unpack("<Q", values[layout.VIRTUAL_SIZE])
    (logical,) = struct.unpack("<I", values[layout.LOGICAL_SECTOR])
    (physical,) = struct.unpack("<I", values[layout.PHYSICAL_SECTOR])
    if flags & layout.HAS_PARENT or layout.PARENT_LOCATOR in values:
        raise InputRefusedError(
            f"{source.path} is a differencing VHDX, which holds changes against a parent only",
            "merge it into its parent first (Merge-VHD)",
        )
    if not layout.BLOCK_MIN <= block <= layout.BLOCK_MAX or block & (block - 1):
        raise DamagedImageError(source.path, f"a VHDX cannot have blocks of {block} bytes")
    if logical not in layout.SECTORS or physical not in layout.SECTORS:
        raise DamagedImageError(source.path, f"a VHDX cannot have sectors of {logical} bytes")
    if size == 0 or size % logical or size > layout.SIZE_MAX:
        raise DamagedImageError(source.path, f"a VHDX cannot have a size of {size} bytes")
    return VhdxDetails(
        size=ByteCount(size),
        block=ByteCount(block),
        logical_sector=ByteCount(logical),
        physical_sector=ByteCount(physical),
        disk_id=values[layout.DISK_ID],
        data_write_id=header.data_write_id,
        stays_allocated=bool(flags & layout.LEAVE_ALLOCATED),
        log_was_replayed=header.log_id != layout.NO_LOG,
    )


def _blocks(
    source: PatchedFile, details: VhdxDetails, header: Header, regions: _Regions
) -> BlockMap:
    shape = TableShape(size=details.size, block=details.block, sector=details.logical_sector)
    table_bytes = 8 * shape.entries
    if table_bytes > regions.table.length:
        raise DamagedImageError(
            source.path, f"its block table is too short for a disk of {details.size} bytes"
        )
    draft = BlockMapDraft(source.path, block=details.block, room=source.length)
    for start in range(0, table_bytes, TABLE_PIECE):
        found = source.read(regions.table.at + start, min(TABLE_PIECE, table_bytes - start))
        entries = np.frombuffer(found, "<u8")
        places = np.arange(len(entries), dtype=np.int64) + start // 8
        payload = places % (shape.ratio + 1) != shape.ratio
        entries, places = entries[payload], places[payload]
        states = entries & np.uint64(layout.STATE_MASK)
        present = states == BlockState.FULLY_PRESENT
        unknown = ~(present | np.isin(states, np.array(layout.ABSENT_STATES, np.uint64)))
        unknown |= present & ((entries & np.uint64(layout.RESERVED_MASK)) != 0)
        if unknown.any():
            place = int(places[unknown][0])
            raise DamagedImageError(source.path, f"entry {place} of its block table is not valid")
        offsets = entries[present] >> np.uint64(layout.OFFSET_SHIFT)
        numbers = places[present] - places[present] // (shape.ratio + 1)
        in_bytes = np.minimum(offsets, _OFFSET_MAX // MIB).astype(np.int64) * MIB
        draft.add(numbers, in_bytes)
    reserved = [
        (0, layout.FRONT_BYTES),
        (header.log_at, header.log_at + header.log_length),
        (regions.table.at, regions.table.end),
        (regions.metadata.at, regions.metadata.end),
    ]
    return draft.finish(size=details.size, reserved=reserved, room=source.length, lead=0)
