"""Which bytes of a real disk image a simulated guest may overwrite without harming a file.

The file systems say so themselves: ext2, ext3 and ext4 in their block bitmaps, NTFS in $Bitmap.
What is in doubt is not free: a file system that was not cleanly unmounted has newer bitmaps in its
journal, so it contributes nothing, like every file system and layout that is not known here.

Sources: the ext4 disk layout of the Linux kernel documentation, the NTFS documentation of the
Linux-NTFS project, UEFI 2.10 chapter 5 (GPT).
"""

import struct
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from reference_engine.formats.image import DiskImage
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import MIB, ByteCount

SECTORS: Final = (512, 4096)
PARTITIONS_MAX: Final = 256
GPT_ENTRY_MAX: Final = 4096

_PROTECTIVE: Final = 0xEE
_EXTENDED: Final = (0x05, 0x0F, 0x85)

_EXT_MAGIC: Final = 0xEF53
_EXT_CLEAN: Final = 1
_EXT_NEEDS_RECOVERY: Final = 0x4
_EXT_JOURNAL_DEVICE: Final = 0x8
_EXT_META_BG: Final = 0x10
_EXT_64BIT: Final = 0x80
_EXT_BIGALLOC: Final = 0x200
_EXT_BLOCK_UNINIT: Final = 0x2
_EXT_GROUP_MIN: Final = 256
"""mke2fs makes no smaller groups; it bounds the table of their descriptors."""

_NTFS_VOLUME_RECORD: Final = 3
_NTFS_BITMAP_RECORD: Final = 6
_NTFS_VOLUME_INFORMATION: Final = 0x70
_NTFS_DATA: Final = 0x80
_NTFS_DIRTY: Final = 1
_NTFS_STRIDE: Final = 512
"""Every so many bytes the last two of a record are swapped out for its update number."""

Ranges = npt.NDArray[np.int64]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a disk that may hold a file system."""

    image: DiskImage
    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes the part has."""
        return self.end - self.start

    def read(self, offset: int, length: int, /) -> bytes:
        """Return the bytes at `offset` of the part, as far as it goes."""
        begin = min(self.start + max(offset, 0), self.end)
        stop = min(begin + max(length, 0), self.end)
        return self.image.read(ByteCount(begin), ByteCount(stop - begin))

    def free(self, ranges: list[Ranges], /) -> ExtentSet:
        """Return ranges of the part as bytes of the disk."""
        if not ranges:
            return EMPTY
        pairs = (np.concatenate(ranges) + self.start).clip(self.start, self.end)
        return ExtentSet.of((start, end) for start, end in pairs.tolist())


def free_space(image: DiskImage, /) -> ExtentSet | None:
    """Return the bytes that the file systems on `image` declare free: perhaps too few of them.

    None means that there is no file system known here, so that nothing is known to be in use
    either.
    """
    whole = Window(image=image, start=0, end=image.size)
    parts = sorted((whole, *_partitions(whole)), key=lambda part: part.start)
    known = [(part, free) for part in parts if (free := _free_of(part)) is not None]
    if not known:
        return None
    if any(one.end > other.start for (one, _), (other, _) in pairwise(known)):
        # One of two that claim the same bytes is a leftover, and nothing says which.
        return EMPTY
    free = EMPTY
    for _, declared in known:
        free |= declared
    return free


def _free_of(part: Window) -> ExtentSet | None:
    readers: tuple[Callable[[Window], ExtentSet | None], ...] = (_ext_free, _ntfs_free)
    return next((free for read in readers if (free := read(part)) is not None), None)


def _partitions(disk: Window) -> Iterator[Window]:
    """Yield the partitions of the disk: by GPT where there is one, else by MBR."""
    boot = disk.read(0, 512)
    if len(boot) < 512 or boot[510:] != b"\x55\xaa":
        return
    kinds = {boot[at + 4] for at in range(446, 510, 16)}
    runs = _gpt_runs(disk) if _PROTECTIVE in kinds else _mbr_runs(disk)
    for start, end in islice(runs, PARTITIONS_MAX):
        if 0 < start < end <= disk.length:
            yield Window(image=disk.image, start=start, end=end)


def _gpt_runs(disk: Window) -> Iterator[tuple[int, int]]:
    for sector in SECTORS:
        header = disk.read(sector, 92)
        if header.startswith(b"EFI PART"):
            break
    else:
        return
    table, count, width = struct.unpack_from("<QII", header, 72)
    if not 128 <= width <= GPT_ENTRY_MAX:
        return
    entries = disk.read(table * sector, min(count, PARTITIONS_MAX) * width)
    for at in range(0, len(entries) - 127, width):
        first, last = struct.unpack_from("<QQ", entries, at + 32)
        if any(entries[at : at + 16]):
            yield first * sector, (last + 1) * sector


def _mbr_runs(disk: Window) -> Iterator[tuple[int, int]]:
    extended = 0
    for kind, first, count in _mbr_entries(disk, 0):
        if kind in _EXTENDED:
            extended = first
        elif kind:
            yield first * 512, (first + count) * 512
    table = extended
    for _ in range(PARTITIONS_MAX if extended else 0):
        follows = 0
        for kind, first, count in _mbr_entries(disk, table):
            if kind in _EXTENDED:
                follows = extended + first
            elif kind:
                yield (table + first) * 512, (table + first + count) * 512
        if not follows:
            return
        table = follows


def _mbr_entries(disk: Window, sector: int) -> list[tuple[int, int, int]]:
    found = disk.read(sector * 512, 512)
    if len(found) < 512 or found[510:] != b"\x55\xaa":
        return []
    return [
        (found[at + 4], *struct.unpack_from("<II", found, at + 8)) for at in range(446, 510, 16)
    ]


def _clear_bits(bitmap: bytes, *, count: int) -> Ranges:
    """Return the runs of clear bits among the first `count`, as `[first, behind the last)`."""
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")[:count]
    edges = np.diff(np.concatenate(([1], bits, [1])).astype(np.int8))
    return np.stack((np.flatnonzero(edges == -1), np.flatnonzero(edges == 1)), axis=1)


class _Ext(msgspec.Struct, frozen=True, kw_only=True):
    """What the superblock of an ext file system says of its block groups."""

    block: int
    blocks: int
    first: int
    in_group: int
    descriptor: int

    @property
    def groups(self) -> int:
        return -(-(self.blocks - self.first) // self.in_group)


def _ext_free(part: Window) -> ExtentSet | None:
    found = part.read(1024, 1024)
    if len(found) < 1024 or struct.unpack_from("<H", found, 56)[0] != _EXT_MAGIC:
        return None
    shape = _ext_shape(found, length=part.length)
    if shape is None:
        return EMPTY
    table = part.read((shape.first + 1) * shape.block, shape.groups * shape.descriptor)
    if len(table) < shape.groups * shape.descriptor:
        return EMPTY
    ranges: list[Ranges] = []
    for group in range(shape.groups):
        at = group * shape.descriptor
        bitmap_at: int = struct.unpack_from("<I", table, at)[0]
        if shape.descriptor >= 64:
            bitmap_at |= struct.unpack_from("<I", table, at + 32)[0] << 32
        (flags,) = struct.unpack_from("<H", table, at + 18)
        base = shape.first + group * shape.in_group
        bitmap = part.read(bitmap_at * shape.block, shape.block)
        if not flags & _EXT_BLOCK_UNINIT and len(bitmap) == shape.block:
            runs = _clear_bits(bitmap, count=min(shape.in_group, shape.blocks - base))
            ranges.append((runs + base) * shape.block)
    return part.free(ranges)


def _ext_shape(found: bytes, *, length: int) -> _Ext | None:
    """Return the layout of a clean file system; None where its bitmaps cannot be relied on."""
    low, first, log_block = struct.unpack_from("<I12xII", found, 4)
    (in_group,) = struct.unpack_from("<I", found, 32)
    (state,) = struct.unpack_from("<H", found, 58)
    incompatible, read_only = struct.unpack_from("<II", found, 96)
    unknown = incompatible & (_EXT_NEEDS_RECOVERY | _EXT_JOURNAL_DEVICE | _EXT_META_BG)
    if unknown or read_only & _EXT_BIGALLOC or not state & _EXT_CLEAN or log_block > 6:
        return None
    wide = bool(incompatible & _EXT_64BIT)
    block = 1024 << log_block
    descriptor = struct.unpack_from("<H", found, 254)[0] if wide else 32
    blocks = low | (struct.unpack_from("<I", found, 336)[0] << 32 if wide else 0)
    sound = first < blocks <= length // block and _EXT_GROUP_MIN <= in_group <= 8 * block
    if not sound or not 32 <= descriptor <= block:
        return None
    return _Ext(block=block, blocks=blocks, first=first, in_group=in_group, descriptor=descriptor)


class _Ntfs(msgspec.Struct, frozen=True, kw_only=True):
    """What the boot sector of an NTFS volume says of its layout."""

    part: Window
    cluster: int
    clusters: int
    record: int
    table_at: int


class _Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """The unnamed attribute of one kind of a file record: its value, or where that lies."""

    value: bytes
    runs: tuple[tuple[int, int], ...]
    """(first cluster, clusters) of each run; a hole has the first cluster -1."""

    length: int


def _ntfs_free(part: Window) -> ExtentSet | None:
    boot = part.read(0, 512)
    if len(boot) < 512 or boot[3:11] != b"NTFS    ":
        return None
    volume = _ntfs_volume(part, boot)
    if volume is None:
        return EMPTY
    table = _attribute(_record(volume, part.read(volume.table_at, volume.record)), _NTFS_DATA)
    if table is None:
        return EMPTY
    records = [
        _record(volume, _value(volume, table, offset=number * volume.record, length=volume.record))
        for number in (_NTFS_VOLUME_RECORD, _NTFS_BITMAP_RECORD)
    ]
    information = _attribute(records[0], _NTFS_VOLUME_INFORMATION)
    bitmap = _attribute(records[1], _NTFS_DATA)
    if information is None or bitmap is None or len(information.value) < 12:
        return EMPTY
    if struct.unpack_from("<H", information.value, 10)[0] & _NTFS_DIRTY:
        return EMPTY
    ranges: list[Ranges] = []
    # The last cluster may hold the backup boot sector, which no bitmap speaks of.
    usable = min(volume.clusters - 1, bitmap.length * 8)
    for start in range(0, -(-usable // 8), MIB):
        bits = min(8 * MIB, usable - 8 * start)
        piece = _value(volume, bitmap, offset=start, length=-(-bits // 8))
        if len(piece) * 8 < bits:
            break
        ranges.append((_clear_bits(piece, count=bits) + 8 * start) * volume.cluster)
    return part.free(ranges)


def _ntfs_volume(part: Window, boot: bytes) -> _Ntfs | None:
    sector, per_cluster = struct.unpack_from("<HB", boot, 11)
    sectors, table = struct.unpack_from("<QQ", boot, 40)
    (per_record,) = struct.unpack_from("<b", boot, 64)
    # A count from 129 on is the negative power of two that large clusters are written as.
    cluster = sector * (per_cluster if per_cluster <= 128 else 1 << (256 - per_cluster))
    if sector < 256 or not 256 <= cluster <= 2 * MIB or per_record < -16:
        return None
    record = 1 << -per_record if per_record < 0 else per_record * cluster
    clusters = sectors * sector // cluster
    if not 512 <= record <= 65536 or clusters * cluster > part.length or table >= clusters:
        return None
    return _Ntfs(
        part=part, cluster=cluster, clusters=clusters, record=record, table_at=table * cluster
    )


def _record(volume: _Ntfs, found: bytes) -> bytes:
    """Return a file record with its fixups undone; nothing where it is no whole record."""
    if len(found) != volume.record or not found.startswith(b"FILE"):
        return b""
    at, count = struct.unpack_from("<HH", found, 4)
    if (count - 1) * _NTFS_STRIDE != volume.record or at + 2 * count > volume.record:
        return b""
    whole = bytearray(found)
    stamp = found[at : at + 2]
    for index in range(1, count):
        end = index * _NTFS_STRIDE
        if whole[end - 2 : end] != stamp:
            return b""
        whole[end - 2 : end] = found[at + 2 * index : at + 2 * index + 2]
    return bytes(whole)


def _attribute(record: bytes, kind: int) -> _Attribute | None:
    """Return the unnamed attribute of `kind`; None where it is not in this record."""
    at = struct.unpack_from("<H", record, 20)[0] if record else 0
    while 0 < at <= len(record) - 24:
        found, length, resident_not, name = struct.unpack_from("<IIBB", record, at)
        body = record[at : at + length]
        if found == kind and not name:
            return _mapped(body) if resident_not else _resident(body)
        if len(body) < 24:
            return None
        at += length
    return None


def _resident(body: bytes) -> _Attribute | None:
    if len(body) < 24:
        return None
    length, at = struct.unpack_from("<IH", body, 16)
    value = body[at : at + length]
    return _Attribute(value=value, runs=(), length=len(value))


def _mapped(body: bytes) -> _Attribute | None:
    if len(body) < 64:
        return None
    first_cluster, runs_at = struct.unpack_from("<Q8xH", body, 16)
    (length,) = struct.unpack_from("<Q", body, 48)
    if first_cluster:
        return None
    runs: list[tuple[int, int]] = []
    cluster = 0
    at = runs_at
    while at < len(body) and body[at]:
        count_bytes, step_bytes = body[at] & 15, body[at] >> 4
        middle, end = at + 1 + count_bytes, at + 1 + count_bytes + step_bytes
        cluster += int.from_bytes(body[middle:end], "little", signed=True)
        count = int.from_bytes(body[at + 1 : middle], "little")
        runs.append((cluster if step_bytes else -1, count))
        at = end
    return _Attribute(value=b"", runs=tuple(runs), length=length)


def _value(volume: _Ntfs, attribute: _Attribute, *, offset: int, length: int) -> bytes:
    """Return bytes of an attribute's value, as far as its runs go."""
    if not attribute.runs:
        return attribute.value[offset : offset + length]
    parts: list[bytes] = []
    begin, stop = 0, min(offset + length, attribute.length)
    for cluster, count in attribute.runs:
        end = begin + count * volume.cluster
        first, last = max(begin, offset), min(end, stop)
        if first < last and cluster < 0:
            break
        if first < last:
            at = cluster * volume.cluster + first - begin
            parts.append(volume.part.read(at, last - first))
        begin = end
    return b"".join(parts)
