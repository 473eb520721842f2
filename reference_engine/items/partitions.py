"""Where on a disk volumes lie: GPT, MBR with logical partitions, dynamic disks, or none of these.

Sources: UEFI 2.10 chapter 5; Linux's block/partitions; Windows Internals, 7th edition, on LDM.
"""

import struct
import zlib
from typing import Final
from uuid import UUID

import msgspec

from reference_engine.items.disk_view import Bytes
from reference_engine.items.errors import TreeDamagedError

_SECTORS: Final = (512, 4096)
_PARTITIONS_MAX: Final = 256
_ENTRY_MAX: Final = 4096
_PROTECTIVE: Final = 0xEE
_EXTENDED: Final = frozenset({0x05, 0x0F, 0x85})
_LDM: Final = 0x42

DYNAMIC: Final = "part of a dynamic disk (LDM)"
SPACES: Final = "part of Storage Spaces"
RESERVED: Final = "reserved by Windows, holds no file system"
BOOT_CODE: Final = "boot code, holds no file system"

_KINDS: Final = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "basic data",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": "LDM metadata",
    "af9b60a0-1431-4f62-bc68-3311714a69ad": "LDM data",
    "e75caf8f-f680-4cee-afa3-b001e56efc2d": "Storage Spaces",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root",
    "933ac7e1-2eb4-4f13-b844-0e14e2aef915": "Linux home",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux boot",
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
}
_WITHOUT: Final = {
    "Microsoft reserved": RESERVED,
    "LDM metadata": DYNAMIC,
    "LDM data": DYNAMIC,
    "Storage Spaces": SPACES,
    "BIOS boot": BOOT_CODE,
}
_TYPES: Final = {
    0x07: "NTFS or exFAT",
    0x0B: "FAT32",
    0x0C: "FAT32",
    0x82: "Linux swap",
    0x83: "Linux",
    0x8E: "Linux LVM",
    0xFD: "Linux RAID",
    0x27: "Windows recovery",
}


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a disk that may hold a file system."""

    start: int
    length: int
    kind: str
    """What its table calls it."""

    name: str = ""
    without: str = ""
    """Why it holds no file system of its own, as far as the table says."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk says of its partitions."""

    kind: str
    partitions: tuple[Partition, ...]
    remark: str = ""
    """What is wrong with the table, and did not keep it from being read."""


async def partition_table(disk: Bytes, /) -> Table | None:
    """Return the disk's table; None where there is none.

    Raises:
        TreeDamagedError: there is one, and it cannot be relied on.
    """
    boot = await disk.read(0, min(512, disk.size))
    if len(boot) < 512 or boot[510:] != b"\x55\xaa":
        return await _gpt(disk, is_expected=False)
    entries = _entries(boot)
    if any(kind == _PROTECTIVE for kind, _, _ in entries):
        return await _gpt(disk, is_expected=True)
    if not any(kind and count for kind, _, count in entries) or any(
        boot[at] & 0x7F for at in range(446, 510, 16)
    ):
        return None  # what stands there is a boot sector's code, or nothing at all
    return await _mbr(disk, entries)


def _entries(sector: bytes) -> list[tuple[int, int, int]]:
    return [
        (sector[at + 4], *struct.unpack_from("<II", sector, at + 8)) for at in range(446, 510, 16)
    ]


async def _mbr(disk: Bytes, entries: list[tuple[int, int, int]]) -> Table:
    found: list[Partition] = []
    for kind, first, count in entries:
        if kind in _EXTENDED:
            found += await _logical(disk, first)
        elif kind and count:
            found.append(_of_mbr(kind, first, count))
    return Table(kind="MBR", partitions=tuple(found))


async def _logical(disk: Bytes, extended: int) -> list[Partition]:
    """Return the logical partitions: a chain of tables, each with one and the next table."""
    found: list[Partition] = []
    table, seen = extended, {0}
    while table not in seen:
        seen.add(table)
        sector = await disk.read(table * 512, 512) if table * 512 + 512 <= disk.size else b""
        if sector[510:] != b"\x55\xaa" or len(found) > _PARTITIONS_MAX:
            raise TreeDamagedError(f"there is no table of logical partitions at sector {table}")
        follows: int | None = None
        for kind, first, count in _entries(sector)[:2]:
            if kind in _EXTENDED:
                follows = extended + first
            elif kind and count:
                found.append(_of_mbr(kind, table + first, count))
        if follows is None:
            return found
        table = follows
    raise TreeDamagedError("the tables of logical partitions go in circles")


def _of_mbr(kind: int, first: int, count: int) -> Partition:
    return Partition(
        start=first * 512,
        length=count * 512,
        kind=_TYPES.get(kind, f"type {kind:#04x}"),
        without=DYNAMIC if kind == _LDM else "",
    )


async def _gpt(disk: Bytes, *, is_expected: bool) -> Table | None:
    """Return what the first sound header says: the one in front, or its copy at the end."""
    for sector in _SECTORS:
        found = await _header(disk, sector, sector)
        if found is not None:
            return Table(kind="GPT", partitions=found)
    for sector in _SECTORS:
        found = await _header(disk, disk.size // sector * sector - sector, sector)
        if found is not None:
            remark = "its GPT is damaged; the copy at the disk's end was used"
            return Table(kind="GPT", partitions=found, remark=remark)
    if is_expected:
        raise TreeDamagedError("neither the GPT nor its copy is whole")
    return None


async def _header(disk: Bytes, at: int, sector: int) -> tuple[Partition, ...] | None:
    if at < sector or at + sector > disk.size:
        return None
    header = await disk.read(at, sector)
    size, stored = struct.unpack_from("<II", header, 12)
    own = struct.unpack_from("<Q", header, 24)[0]
    if header[:8] != b"EFI PART" or not 92 <= size <= sector or own * sector != at:
        return None
    if zlib.crc32(header[:16] + bytes(4) + header[20:size]) != stored:
        return None
    table, count, width, stored = struct.unpack_from("<QIII", header, 72)
    sound = 128 <= width <= _ENTRY_MAX and 0 < count <= _PARTITIONS_MAX
    if not sound or table * sector + count * width > disk.size:
        return None
    entries = await disk.read(table * sector, count * width)
    if zlib.crc32(entries) != stored:
        return None
    found: list[Partition] = []
    for start in range(0, len(entries), width):
        entry = entries[start : start + width]
        if not any(entry[:16]):
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        guid = str(UUID(bytes_le=entry[:16]))
        kind = _KINDS.get(guid, guid)
        found.append(
            Partition(
                start=first * sector,
                length=max(0, last + 1 - first) * sector,
                kind=kind,
                name=entry[56:128].decode("utf-16-le", "replace").partition("\0")[0],
                without=_WITHOUT.get(kind, ""),
            )
        )
    return tuple(found)
