"""ext2, ext3 and ext4 as trees: directories, links, and what inodes hold themselves."""

import stat
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Final, Self

from google_crc32c import extend as crc32c_extend

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.file_systems.ext_inodes import (
    ENCRYPTED,
    INDEXED,
    INLINE,
    Inode,
    Inodes,
    parse_layout,
)
from reference_engine.items.tree import (
    DIRECTORY_MAX,
    FileTree,
    Item,
    ItemKind,
    Piece,
    content_of,
    directory_content,
    item_or_damage,
    pieces_of_runs,
    special_in_words,
)

_ROOT: Final = 2
_TARGET_MAX: Final = 65536
_INLINE_PARENT: Final = 4
_XATTR_MAGIC: Final = 0xEA020000
_SYSTEM: Final = 7
"""The index of names that begin with `system.`; `data` is what does not fit into an inode."""


class ExtTree(FileTree):
    """One ext2, ext3 or ext4 volume."""

    is_windows = False

    def __init__(self, window: Window, inodes: Inodes, /) -> None:
        self._window, self._inodes = window, inodes
        self._layout = layout = inodes.layout
        self.name, self.label, self.unrest = layout.name, layout.label, layout.unrest

    @classmethod
    async def open(cls, window: Window, /) -> Self:
        """Return the tree of a volume that has the superblock of one.

        Raises:
            TreeDamagedError, TreeUnsupportedError: it cannot be read.
        """
        layout = parse_layout(await window.read(1024, 1024), size=window.size)
        return cls(window, Inodes(window, layout))

    async def root(self) -> Item:
        """Return the root directory."""
        item = await self._item("", await self._inodes.inode(_ROOT))
        if item.kind is not ItemKind.DIRECTORY:
            raise TreeDamagedError("the root is no directory")
        return item

    async def entries(self, directory: Item, /) -> list[Item]:
        """Return everything in a directory, in its order."""
        inode = await self._inodes.inode(directory.number)
        if inode.flags & ENCRYPTED:
            raise TreeUnsupportedError("the directory is encrypted (fscrypt), names and all")
        return [
            await item_or_damage(name, number, self._numbered(name, number))
            for name, number in await self._names(inode)
        ]

    async def _numbered(self, name: str, number: int) -> Item:
        return await self._item(name, await self._inodes.inode(number))

    def pieces(self, item: Item, stream: str, /) -> AsyncIterator[Piece]:
        """Yield what a file holds."""
        assert not stream, stream
        return self._pieces(item.number)

    async def _pieces(self, number: int) -> AsyncIterator[Piece]:
        inode = await self._inodes.inode(number)
        if inode.flags & ENCRYPTED:
            raise TreeUnsupportedError("encrypted (fscrypt)")
        if inode.flags & INLINE:
            yield Piece(0, (inode.block + _beside(inode))[: inode.size])
            return
        runs = await self._inodes.runs(inode)
        async for piece in pieces_of_runs(self._window, runs, size=inode.size):
            yield piece

    async def _item(self, name: str, inode: Inode) -> Item:
        kind, target, unsupported, note = ItemKind.OTHER, "", "", ""
        if stat.S_ISREG(inode.mode):
            kind = ItemKind.FILE
        elif stat.S_ISDIR(inode.mode):
            kind = ItemKind.DIRECTORY
        elif stat.S_ISLNK(inode.mode):
            kind = ItemKind.LINK
            if not inode.flags & ENCRYPTED:
                target = await self._target(inode)
        elif inode.mode:
            note = special_in_words(inode.mode)
        else:
            raise TreeDamagedError(f"inode {inode.number} is not in use")
        if inode.flags & ENCRYPTED:
            unsupported = "encrypted (fscrypt)"
        return Item(
            name=name,
            kind=kind,
            number=inode.number,
            size=inode.size if kind is ItemKind.FILE else 0,
            modified_ns=inode.modified_ns,
            links=inode.links,
            target=target,
            note=note,
            unsupported=unsupported,
        )

    async def _target(self, inode: Inode) -> str:
        fast = inode.size < len(inode.block) and not struct.unpack_from("<I", inode.raw, 0x1C)[0]
        if fast and not inode.flags & INLINE:
            content = inode.block[: inode.size]
        else:
            pieces = self._pieces(inode.number)
            content = await content_of(pieces, size=inode.size, limit=_TARGET_MAX)
        if not content or b"\0" in content:
            raise TreeDamagedError(f"the link of inode {inode.number} has no target")
        return content.decode("utf-8", "surrogateescape")

    async def _names(self, inode: Inode) -> list[tuple[str, int]]:
        """Return the names in a directory; every block of it must be one, to its last byte."""
        if inode.flags & INLINE:
            parts = [inode.block[_INLINE_PARENT:]]
            beside = _beside(inode)
            parts += [beside] if beside else []
            return [each for part in parts for each in self._parsed(inode, part, is_first=False)]
        block = self._layout.block
        if inode.size > DIRECTORY_MAX or inode.size % block or not inode.size:
            raise TreeDamagedError(f"a directory of {inode.size} bytes (inode {inode.number})")
        runs = await self._inodes.runs(inode)
        stored = sum(run.length for run in runs if run.at is not None)
        if stored < inode.size:
            raise TreeDamagedError(f"blocks of the directory are missing (inode {inode.number})")
        content = await directory_content(self._window, runs, size=inode.size)
        found: list[tuple[str, int]] = []
        for at in range(0, inode.size, block):
            part = content[at : at + block]
            self._compare(inode, part, is_first=at == 0)
            found += self._parsed(inode, part, is_first=at == 0)
        return found

    def _compare(self, inode: Inode, part: bytes, *, is_first: bool) -> None:
        """Compare a block's checksum: at its end, or behind the index that it is."""
        if inode.seed is None:
            return
        length, kind = struct.unpack_from("<4xHxB", part, len(part) - 12)
        if length == 12 and kind == 0xDE:
            stored = struct.unpack_from("<I", part, len(part) - 4)[0]
            whole = crc32c_extend(inode.seed, part[:-12]) ^ 0xFFFFFFFF == stored
        else:
            at = 32 if is_first else 8
            limit, count = struct.unpack_from("<HH", part, at)
            end = at + 8 * limit
            whole = bool(inode.flags & INDEXED) and count <= limit and end + 8 <= len(part)
            if whole:
                reserved, stored = part[end : end + 4], struct.unpack_from("<I", part, end + 4)[0]
                found = crc32c_extend(inode.seed, part[: at + 8 * count])
                whole = crc32c_extend(found, reserved + bytes(4)) ^ 0xFFFFFFFF == stored
        if not whole:
            raise TreeDamagedError(f"the checksum of a directory is wrong (inode {inode.number})")

    def _parsed(self, inode: Inode, part: bytes, *, is_first: bool) -> Iterator[tuple[str, int]]:
        at, count = 0, 0
        while at < len(part):
            broken = TreeDamagedError(f"names of a directory make no sense (inode {inode.number})")
            if at + 8 > len(part):
                raise broken
            number, length, size, high = struct.unpack_from("<IHBB", part, at)
            if not self._layout.file_types:
                size |= high << 8
            if len(part) == 65536 and length in {0, 65535}:
                length = 65536
            name = part[at + 8 : at + 8 + size]
            if length < 12 or length % 4 or at + length > len(part) or 8 + size > length:
                raise broken
            is_own = is_first and count < 2
            if is_own and name != (b".", b"..")[count]:
                raise broken
            if number and not is_own:
                odd = name in {b"", b".", b".."} or b"/" in name or b"\0" in name
                if odd or number > self._layout.inodes:
                    raise broken
                yield name.decode("utf-8", "surrogateescape"), number
            at, count = at + length, count + 1


def _beside(inode: Inode) -> bytes:
    """Return what of an inode's content lies in its attributes, behind the 60 bytes."""
    extra = struct.unpack_from("<H", inode.raw, 0x80)[0] if len(inode.raw) > 128 else 0
    start = 128 + extra
    if start + 4 > len(inode.raw):
        return b""
    if struct.unpack_from("<I", inode.raw, start)[0] != _XATTR_MAGIC:
        return b""
    base = at = start + 4
    while at + 16 <= len(inode.raw) and inode.raw[at : at + 4] != bytes(4):
        size, index, where, _, length = struct.unpack_from("<BBHII", inode.raw, at)
        if index == _SYSTEM and inode.raw[at + 16 : at + 16 + size] == b"data":
            if base + where + length > len(inode.raw):
                raise TreeDamagedError(f"content of inode {inode.number} lies outside of it")
            return inode.raw[base + where : base + where + length]
        at += 16 + -(-size // 4) * 4
    return b""
