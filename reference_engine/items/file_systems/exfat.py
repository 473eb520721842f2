"""exFAT as a tree. Source: Microsoft, "exFAT file system specification", revision 1.00."""

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
    Run,
    directory_content,
    pieces_of_runs,
)

_IN_USE: Final = 0x80
_LABEL: Final = 0x83
_FILE: Final = 0x85
_STREAM: Final = 0xC0
_NAME: Final = 0xC1
_DIRECTORY: Final = 0x10
_TOGETHER: Final = 0x02
_DIRTY: Final = 0x02
_FAILED: Final = 0x04


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where something lies, and how much of it was written."""

    first: int
    together: bool
    length: int
    valid: int


class ExfatTree(FileTree):
    """One exFAT volume."""

    name = "exFAT"
    is_windows = True

    def __init__(self, window: Window, chains: Chains, root: int, /, *, unrest: str) -> None:
        self._window, self._chains, self._root = window, chains, root
        self.label, self.unrest = "", unrest
        self._places: dict[int, _Place] = {}

    @classmethod
    async def open(cls, window: Window, /) -> Self:
        """Return the tree of a volume that has the boot sector of one.

        Raises:
            TreeDamagedError: it cannot be read.
        """
        boot = await window.read(0, 512)
        length, table, table_length, heap, clusters, root = struct.unpack_from("<QIIIII", boot, 72)
        flags, sector_bits, cluster_bits = struct.unpack_from("<HBB", boot, 106)
        if not 9 <= sector_bits <= 12 or sector_bits + cluster_bits > 25:
            raise TreeDamagedError("the boot sector contradicts itself")
        sector = 1 << sector_bits
        await _compare(window, sector)
        cluster = sector << cluster_bits
        if length * sector > window.size:
            raise TreeDamagedError(
                f"the boot sector tells of {length * sector} bytes, the volume has {window.size}"
            )
        if heap * sector + clusters * cluster > length * sector or (
            table_length * sector < (clusters + 2) * 4
        ):
            raise TreeDamagedError("the boot sector contradicts itself")
        chains = Chains(
            window,
            table=table * sector,
            bits=32,
            heap=heap * sector,
            cluster=cluster,
            count=clusters,
        )
        noted = "it has noted errors" if flags & _FAILED else ""
        unrest = "it was in use" if flags & _DIRTY else noted
        tree = cls(window, chains, root, unrest=unrest)
        await tree.entries(await tree.root())
        return tree

    async def root(self) -> Item:
        """Return the root directory."""
        return Item(name="", kind=ItemKind.DIRECTORY, number=self._root)

    async def entries(self, directory: Item, /) -> list[Item]:
        """Return everything in a directory, in its order."""
        if not directory.number:
            return []
        runs, size = await self._lies(directory.number)
        content = await directory_content(self._window, runs, size=size)
        return list(self._items([*entries_in(content, lambda first: bool(first & _IN_USE))]))

    async def _lies(self, number: int) -> tuple[list[Run], int]:
        place = self._places.get(number)
        if place is None or number == self._root:
            runs = await self._chains.runs(number, clusters=None)
            return runs, sum(run.length for run in runs)
        return await self._runs(place), place.length

    async def _runs(self, place: _Place) -> list[Run]:
        clusters = -(-place.length // self._chains.cluster)
        if not clusters:
            return []
        if place.together:
            return self._chains.together(place.first, clusters)
        return await self._chains.runs(place.first, clusters=clusters)

    def _items(self, entries: list[bytes]) -> Iterator[Item]:
        at = 0
        while at < len(entries):
            entry = entries[at]
            at += 1
            if entry[0] == _LABEL:
                self.label = entry[2 : 2 + 2 * min(entry[1], 11)].decode("utf-16-le", "replace")
            elif entry[0] == _FILE:
                count = entry[1]
                if not 2 <= count <= 18 or at + count > len(entries):
                    raise TreeDamagedError("entries of a file are missing")
                yield self._item(entry, entries[at : at + count])
                at += count
            elif entry[0] in {_STREAM, _NAME}:
                raise TreeDamagedError("entries belong to no file")

    def _item(self, entry: bytes, others: list[bytes]) -> Item:
        checksum = 0
        for index, byte in enumerate(b"".join([entry, *others])):
            if index not in {2, 3}:
                checksum = ((checksum & 1) << 15 | checksum >> 1) + byte & 0xFFFF
        if checksum != struct.unpack_from("<H", entry, 2)[0]:
            raise TreeDamagedError("the checksum of a file's entries is wrong")
        stream = others[0]
        flags, count, valid, first, length = struct.unpack_from("<xBxB4xQ4xIQ", stream)
        names = b"".join(each[2:] for each in others[1:] if each[0] == _NAME)
        name = names[: 2 * count].decode("utf-16-le", "surrogatepass")
        if stream[0] != _STREAM or len(name.encode("utf-16-le", "surrogatepass")) != 2 * count:
            raise TreeDamagedError("a file's name is not whole")
        if not name or "/" in name or "\0" in name or valid > length:
            raise TreeDamagedError("a file's entries make no sense")
        is_directory = bool(entry[4] & _DIRECTORY)
        place = _Place(first=first, together=bool(flags & _TOGETHER), length=length, valid=valid)
        shared = length > 0 and self._places.setdefault(first, place) != place
        time, date = struct.unpack_from("<HH", entry, 12)
        modified = dos_time(date, time, tens_ms=entry[21])
        zone = entry[23]
        if modified is not None and zone & 0x80:
            quarters = (zone & 0x7F) - ((zone & 0x40) << 1)
            modified -= quarters * 900 * 1_000_000_000
        return Item(
            name=name,
            kind=ItemKind.DIRECTORY if is_directory else ItemKind.FILE,
            number=first if length or not is_directory else 0,
            size=0 if is_directory else length,
            modified_ns=modified,
            damaged="it shares clusters with another file" if shared else "",
        )

    def pieces(self, item: Item, stream: str, /) -> AsyncIterator[Piece]:
        """Yield what a file holds; behind what was ever written there are zeros."""
        assert not stream, stream
        return self._pieces(item)

    async def _pieces(self, item: Item) -> AsyncIterator[Piece]:
        if not item.size:
            return
        place = self._places[item.number]
        async for piece in pieces_of_runs(self._window, await self._runs(place), size=place.valid):
            yield piece


async def _compare(window: Window, sector: int) -> None:
    """Compare the checksum of the first eleven sectors, which the twelfth repeats."""
    found = await window.read(0, 12 * sector)
    checksum = 0
    for index, byte in enumerate(found[: 11 * sector]):
        if index not in {106, 107, 112}:
            checksum = ((checksum & 1) << 31 | checksum >> 1) + byte & 0xFFFFFFFF
    if checksum != struct.unpack_from("<I", found, 11 * sector)[0]:
        raise TreeDamagedError("the checksum of the boot sector is wrong")
