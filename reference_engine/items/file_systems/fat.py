"""FAT12, FAT16 and FAT32 as trees. Source: Microsoft FAT Specification, August 2005."""

import struct
from collections.abc import AsyncIterator, Iterator
from typing import Final, Self

import msgspec

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.file_systems.fat_chains import Chains, dos_time, entries_in
from reference_engine.items.tree import (
    FileTree,
    Item,
    ItemKind,
    Piece,
    directory_content,
    pieces_of_runs,
)

_ROOT: Final = 0
"""As the number of a directory: the root, wherever it lies."""

_DIRECTORY: Final = 0x10
_LABEL: Final = 0x08
_LONG: Final = 0x0F
_DELETED: Final = 0xE5
_OWN: Final = (b".".ljust(11), b"..".ljust(11))
_LAST_PART: Final = 0x40
_PARTS_MAX: Final = 20
_CODE_PAGE: Final = "cp850"
"""What short names are written in; the volume does not say which one it was."""


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    bits: int
    cluster: int
    clusters: int
    table: int
    heap: int
    root_at: int
    root_size: int
    root_cluster: int
    dirty: bool


class FatTree(FileTree):
    """One FAT volume."""

    is_windows = True

    def __init__(self, window: Window, shape: _Shape, /, *, unrest: str) -> None:
        self._window, self._shape = window, shape
        self.name = f"FAT{32 if shape.bits == 28 else shape.bits}"
        self.label, self.unrest = "", unrest
        self._chains = Chains(
            window,
            table=shape.table,
            bits=shape.bits,
            heap=shape.heap,
            cluster=shape.cluster,
            count=shape.clusters,
        )

    @classmethod
    async def open(cls, window: Window, /) -> Self:
        """Return the tree of a volume that has the boot sector of one.

        Raises:
            TreeDamagedError: it cannot be read.
        """
        shape = _shape(await window.read(0, 512), size=window.size)
        width = {12: 0, 16: 2, 28: 4}[shape.bits]
        state = int.from_bytes(await window.read(shape.table + width, width), "little")
        closed = {0: 0, 2: 1 << 15, 4: 1 << 27}[width]
        unrest = "it was in use" if shape.dirty or state & closed != closed else ""
        tree = cls(window, shape, unrest=unrest)
        tree.label = await tree._own_label()
        return tree

    async def root(self) -> Item:
        """Return the root directory."""
        return Item(name="", kind=ItemKind.DIRECTORY, number=_ROOT)

    async def entries(self, directory: Item, /) -> list[Item]:
        """Return everything in a directory, in its order."""
        content = await self._content(directory.number)
        if directory.number != _ROOT:
            own = struct.unpack_from("<H4xH", content, 20)
            named = content[:11] == b".".ljust(11) and content[32:43] == b"..".ljust(11)
            if not named or own[0] << 16 | own[1] != directory.number:
                raise TreeDamagedError("it does not begin with itself")
        return list(self._items(content))

    async def _content(self, number: int) -> bytes:
        shape = self._shape
        if number == _ROOT and shape.bits != 28:
            return await self._window.read(shape.root_at, shape.root_size)
        first = number if number != _ROOT else shape.root_cluster
        runs = await self._chains.runs(first, clusters=None)
        size = sum(run.length for run in runs)
        return await directory_content(self._window, runs, size=size)

    def _items(self, content: bytes) -> Iterator[Item]:
        parts: list[bytes] = []
        for index, entry in enumerate(_entries(content)):
            attributes = entry[11]
            if entry[0] == _DELETED:
                parts = []
                continue
            if attributes & 0x3F == _LONG:
                parts.append(entry)
                continue
            long_name, parts = _long_name(parts, entry), []
            is_own = entry[:11] in _OWN
            if is_own and index > 1:
                raise TreeDamagedError("it has itself in its middle")
            if is_own or attributes & _LABEL:
                continue
            yield self._item(entry, long_name)
        if parts:
            raise TreeDamagedError("a long name belongs to nothing")

    def _item(self, entry: bytes, long_name: str) -> Item:
        high, time, date, low, size = struct.unpack_from("<HHHHI", entry, 20)
        first = low | (high << 16 if self._shape.bits == 28 else 0)
        is_directory = bool(entry[11] & _DIRECTORY)
        name = long_name or _short_name(entry)
        is_guessed = not long_name and not name.isascii()
        reason = ""
        if not 2 <= first < self._shape.clusters + 2 and (is_directory or size):
            reason = f"it begins at cluster {first}, which there is not"
        if entry[11] & 0xC0 or not name or "/" in name or "\0" in name:
            raise TreeDamagedError("its names make no sense")
        return Item(
            name=name,
            kind=ItemKind.DIRECTORY if is_directory else ItemKind.FILE,
            number=first,
            size=0 if is_directory else size,
            modified_ns=dos_time(date, time),
            note="name in code page 850, as far as can be told" if is_guessed else "",
            damaged=reason,
        )

    def pieces(self, item: Item, stream: str, /) -> AsyncIterator[Piece]:
        """Yield what a file holds."""
        assert not stream, stream
        return self._pieces(item)

    async def _pieces(self, item: Item) -> AsyncIterator[Piece]:
        if not item.size:
            return
        runs = await self._chains.runs(item.number, clusters=-(-item.size // self._shape.cluster))
        async for piece in pieces_of_runs(self._window, runs, size=item.size):
            yield piece

    async def _own_label(self) -> str:
        for entry in _entries(await self._content(_ROOT)):
            if entry[0] != _DELETED and entry[11] & 0x3F != _LONG and entry[11] & _LABEL:
                return entry[:11].decode(_CODE_PAGE).rstrip()
        return ""


def _shape(boot: bytes, *, size: int) -> _Shape:
    sector, each, reserved, tables, root, few, _, short = struct.unpack_from("<HBHBHHBH", boot, 11)
    many, long, _, _, root_cluster = struct.unpack_from("<IIHHI", boot, 32)
    sectors, length = few or many, short or long
    root_sectors = -(-root * 32 // sector) if sector else 0
    heap = reserved + tables * length + root_sectors
    sound = sector in {512, 1024, 2048, 4096} and each and each & (each - 1) == 0
    if not sound or not tables or not length or not reserved or heap >= sectors:
        raise TreeDamagedError("the boot sector contradicts itself")
    if sectors * sector > size:
        raise TreeDamagedError(
            f"the boot sector tells of {sectors * sector} bytes, the volume has {size}"
        )
    clusters = (sectors - heap) // each
    bits = 28 if not short else 12 if clusters < 4085 else 16
    if clusters > length * sector * 8 // (32 if bits == 28 else bits):
        raise TreeDamagedError("its table is too short for its clusters")
    return _Shape(
        bits=bits,
        cluster=each * sector,
        clusters=clusters,
        table=reserved * sector,
        heap=heap * sector,
        root_at=(reserved + tables * length) * sector,
        root_size=root * 32,
        root_cluster=root_cluster,
        dirty=bool(boot[65 if bits == 28 else 37] & 1),
    )


def _entries(content: bytes) -> Iterator[bytes]:
    return entries_in(content, lambda first: first not in {0, _DELETED})


def _long_name(parts: list[bytes], entry: bytes) -> str:
    """Return the name that parts before an entry spell; empty where they are not its own.

    A system that knows no long names leaves the parts of a name that it has changed.
    """
    if not parts:
        return ""
    checksum = 0
    for byte in entry[:11]:
        checksum = ((checksum & 1) << 7 | checksum >> 1) + byte & 0xFF
    wanted = list(range(len(parts), 0, -1))
    numbers = [each[0] & 0x1F for each in parts]
    if not parts[0][0] & _LAST_PART or numbers != wanted or len(parts) > _PARTS_MAX:
        raise TreeDamagedError("parts of a long name are missing")
    if any(each[13] != checksum for each in parts):
        return ""
    units = b"".join(each[1:11] + each[14:26] + each[28:32] for each in reversed(parts))
    name = units.decode("utf-16-le", "surrogatepass")
    return name.partition("\0")[0]


def _short_name(entry: bytes) -> str:
    raw = (b"\xe5" if entry[0] == 0x05 else entry[:1]) + entry[1:11]
    base, extension = (part.decode(_CODE_PAGE).rstrip() for part in (raw[:8], raw[8:]))
    # Windows NT notes in these bits that all letters were small ones.
    base = base.lower() if entry[12] & 0x08 else base
    extension = extension.lower() if entry[12] & 0x10 else extension
    return f"{base}.{extension}" if extension else base
