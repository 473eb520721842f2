"""NTFS as a tree: files with their streams, links, and what is stored compressed."""

import struct
from collections.abc import AsyncIterator
from typing import Final, Self

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.file_systems.lznt1 import decompressed
from reference_engine.items.file_systems.ntfs_attributes import (
    COMPRESSED,
    DATA,
    ENCRYPTED,
    FILE_NAME,
    Attribute,
)
from reference_engine.items.file_systems.ntfs_index import IndexedName, names_in
from reference_engine.items.file_systems.ntfs_records import Record, Records, parse_geometry
from reference_engine.items.file_systems.ntfs_reparse import Reparse, parse_reparse
from reference_engine.items.tree import (
    FileTree,
    Item,
    ItemKind,
    Piece,
    Run,
    Stream,
    item_or_damage,
    pieces_of_runs,
)
from reference_engine.model.units import MIB

_STANDARD: Final = 0x10
_VOLUME_NAME: Final = 0x60
_VOLUME_INFORMATION: Final = 0x70
_INDEX_ROOT: Final = 0x90
_REPARSE: Final = 0xC0

_LOG: Final = 2
_VOLUME: Final = 3
_ROOT: Final = 5
_OWN_RECORDS: Final = 24
"""Records below this are the file system's own: $MFT, $LogFile, $Extend."""

_DIRTY: Final = 1
_CLEAN: Final = 2
_NO_CLIENT: Final = 0xFFFF
_DOS_SPACE: Final = 2
_EPOCH: Final = 116_444_736_000_000_000
"""1970 in 100 ns since 1601."""

_SMALL_MAX: Final = 64 * 1024
_UNIT_MAX: Final = 1 * MIB


class NtfsTree(FileTree):
    """One NTFS volume."""

    name = "NTFS"
    is_windows = True

    def __init__(self, window: Window, records: Records, /, *, label: str, unrest: str) -> None:
        self._window, self._records = window, records
        self.label, self.unrest = label, unrest

    @classmethod
    async def open(cls, window: Window, /) -> Self:
        """Return the tree of a volume that has the boot sector of one.

        Raises:
            TreeDamagedError: it cannot be read.
        """
        records = Records(window, parse_geometry(await window.read(0, 512), size=window.size))
        await records.begin()
        volume = await records.record(_VOLUME)
        named = volume.one(_VOLUME_NAME)
        label = b"" if named is None else (named.content or b"")
        return cls(
            window,
            records,
            label=label.decode("utf-16-le", "replace"),
            unrest=await _unrest(window, records, volume),
        )

    async def root(self) -> Item:
        """Return the root directory."""
        return await self._item("", await self._records.record(_ROOT))

    async def entries(self, directory: Item, /) -> list[Item]:
        """Return everything in a directory, in its order, but what is the file system's own."""
        record = await self._records.record(directory.number)
        found: list[Item] = []
        async for each in names_in(self._records, record):
            if each.number < _OWN_RECORDS:
                continue
            child = self._named(each, record.number)
            found.append(await item_or_damage(each.name, each.number, child))
        return found

    async def _named(self, name: IndexedName, parent: int) -> Item:
        child = await self._records.record(name.number)
        if not child.in_use or child.sequence != name.sequence or child.base:
            raise TreeDamagedError(f"record {name.number} is another file's by now")
        if not _is_named(child, name.name, parent):
            raise TreeDamagedError(f"record {name.number} has another name")
        return await self._item(name.name, child)

    async def _item(self, name: str, record: Record) -> Item:
        standard = record.one(_STANDARD)
        if standard is None or standard.content is None or len(standard.content) < 36:
            raise TreeDamagedError(f"record {record.number} lacks its own attributes")
        modified = struct.unpack_from("<Q", standard.content, 8)[0]
        data = record.every(DATA)
        main = next((each for each in data if not each.name), None)
        is_directory = record.one(_INDEX_ROOT, "$I30") is not None
        reparse = Reparse()
        point = record.one(_REPARSE)
        if point is not None:
            reparse = parse_reparse(await self._records.content(point, limit=_SMALL_MAX))
        kind = ItemKind.DIRECTORY if is_directory else ItemKind.FILE
        if reparse.is_link or reparse.is_special:
            kind = ItemKind.LINK if reparse.is_link else ItemKind.OTHER
        unsupported = reparse.unsupported
        if any(each.flags & ENCRYPTED for each in data):
            unsupported = unsupported or "encrypted (EFS)"
        names = [each.content or b"" for each in record.every(FILE_NAME)]
        return Item(
            name=name,
            kind=kind,
            number=record.number,
            size=main.size if main is not None and kind is ItemKind.FILE else 0,
            modified_ns=(modified - _EPOCH) * 100,
            links=sum(len(each) > 65 and each[65] != _DOS_SPACE for each in names),
            target=reparse.target,
            streams=tuple(Stream(name=each.name, size=each.size) for each in data if each.name),
            note=reparse.note,
            unsupported=unsupported,
        )

    def pieces(self, item: Item, stream: str, /) -> AsyncIterator[Piece]:
        """Yield what a file, or one stream of an item, holds."""
        return self._pieces(item, stream)

    async def _pieces(self, item: Item, stream: str) -> AsyncIterator[Piece]:
        data = (await self._records.record(item.number)).one(DATA, stream)
        if data is None:
            if stream:
                raise TreeDamagedError(f"record {item.number} has no stream {stream}")
            return
        if data.content is not None:
            yield Piece(0, data.content)
            return
        if data.flags & ENCRYPTED:
            raise TreeUnsupportedError("encrypted (EFS)")
        if data.flags & 0xFF not in {0, COMPRESSED}:
            raise TreeUnsupportedError(f"compressed by method {data.flags & 0xFF:#x}")
        runs = self._records.runs(data)
        if data.flags & COMPRESSED and data.unit:
            async for piece in self._compressed(data, runs):
                yield piece
            return
        async for piece in pieces_of_runs(self._window, _until(runs, data.valid), size=data.valid):
            yield piece

    async def _compressed(self, data: Attribute, runs: list[Run]) -> AsyncIterator[Piece]:
        """Yield each unit: as it is where it is whole, unpacked where a part of it is missing."""
        unit = data.unit * self._records.geometry.cluster
        if unit > _UNIT_MAX:
            raise TreeDamagedError("content is compressed in too large parts")
        for start, stored in _units(runs, unit):
            if start >= data.valid:
                return
            length = min(unit, data.valid - start)
            packed = b"".join([await self._window.read(at, size) for at, size in stored])
            content = packed if len(packed) == unit else decompressed(packed, size=unit)
            yield Piece(start, content[:length])


def _is_named(child: Record, name: str, parent: int) -> bool:
    """Return whether a record says itself that it has this name in this directory."""
    wanted = name.encode("utf-16-le", "surrogatepass")
    return any(
        own.content[66 : 66 + 2 * own.content[64]] == wanted
        and int.from_bytes(own.content[:6], "little") == parent
        for own in child.every(FILE_NAME)
        if own.content is not None and len(own.content) > 66
    )


def _until(runs: list[Run], end: int) -> list[Run]:
    return [run for run in runs if run.offset < end]


def _units(runs: list[Run], unit: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return for each unit that holds something what of it is stored where."""
    found: dict[int, list[tuple[int, int]]] = {}
    for run in runs:
        if run.at is None:
            continue
        done = 0
        while done < run.length:
            offset = run.offset + done
            start = offset - offset % unit
            length = min(run.length - done, start + unit - offset)
            stored = found.setdefault(start, [])
            if start + sum(size for _, size in stored) != offset:
                raise TreeDamagedError("a part of compressed content has a hole before its end")
            stored.append((run.at + done, length))
            done += length
    return sorted(found.items())


async def _unrest(window: Window, records: Records, volume: Record) -> str:
    """Return why changes may be missing."""
    told = volume.one(_VOLUME_INFORMATION)
    if told is None or told.content is None or len(told.content) < 12:
        raise TreeDamagedError("the volume does not say of which version it is")
    if struct.unpack_from("<H", told.content, 10)[0] & _DIRTY:
        return "it is marked dirty"
    log = (await records.record(_LOG)).one(DATA)
    if log is None or log.content is not None:
        raise TreeDamagedError("the volume has no $LogFile")
    for run in records.runs(log)[:1]:
        if run.at is not None and run.length >= 4096:
            return _log_state(await window.read(run.at, 4096))
    return ""


def _log_state(page: bytes) -> str:
    """Return whether $LogFile was left open. Source: ntfs_is_logfile_clean of ntfs-3g."""
    if page[:4] not in {b"RSTR", b"CHKD"}:
        return ""  # it was emptied
    area = struct.unpack_from("<H", page, 24)[0]
    if area + 16 > len(page):
        return "its $LogFile cannot be read"
    clients, flags = struct.unpack_from("<12xHH", page, area)
    is_clean = clients == _NO_CLIENT or flags & _CLEAN
    return "" if is_clean else "its $LogFile was not closed"
