"""XFS as a tree: directories in all their forms, and links."""

import stat
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Final, Self

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.file_systems.xfs_inodes import (
    LOCAL,
    Inode,
    Inodes,
    is_sealed,
    parse_layout,
)
from reference_engine.items.file_systems.xfs_log import log_unrest
from reference_engine.items.tree import (
    DIRECTORY_MAX,
    FileTree,
    Item,
    ItemKind,
    Piece,
    Run,
    content_of,
    directory_content,
    item_or_damage,
    pieces_of_runs,
    special_in_words,
)

_LEAVES: Final = 32 << 30
"""From here on a directory holds its index, which tells nothing new."""

_TARGET_MAX: Final = 1024
_FREE: Final = 0xFFFF
_KINDS: Final = {stat.S_IFREG: ItemKind.FILE, stat.S_IFDIR: ItemKind.DIRECTORY}


class XfsTree(FileTree):
    """One XFS volume."""

    name = "XFS"
    is_windows = False

    def __init__(self, window: Window, inodes: Inodes, /, *, unrest: str) -> None:
        self._window, self._inodes = window, inodes
        self._layout = inodes.layout
        self.label, self.unrest = inodes.layout.label, unrest

    @classmethod
    async def open(cls, window: Window, /) -> Self:
        """Return the tree of a volume that has the superblock of one.

        Raises:
            TreeDamagedError, TreeUnsupportedError: it cannot be read.
        """
        layout = parse_layout(await window.head(32768), size=window.size)
        inodes = Inodes(window, layout)
        return cls(window, inodes, unrest=await log_unrest(window, inodes))

    async def root(self) -> Item:
        """Return the root directory."""
        item = await self._item("", await self._inodes.inode(self._layout.root))
        if item.kind is not ItemKind.DIRECTORY:
            raise TreeDamagedError("the root is no directory")
        return item

    async def entries(self, directory: Item, /) -> list[Item]:
        """Return everything in a directory, in its order."""
        inode = await self._inodes.inode(directory.number)
        return [
            await item_or_damage(name, number, self._numbered(name, number))
            for name, number in await self._names(inode)
        ]

    async def _numbered(self, name: str, number: int) -> Item:
        return await self._item(name, await self._inodes.inode(number))

    def pieces(self, item: Item, stream: str, /) -> AsyncIterator[Piece]:
        """Yield what a file holds."""
        assert not stream, stream
        return self._pieces(item)

    async def _pieces(self, item: Item) -> AsyncIterator[Piece]:
        inode = await self._inodes.inode(item.number)
        if not inode.size:
            return
        runs = await self._inodes.runs(inode)
        async for piece in pieces_of_runs(self._window, runs, size=inode.size):
            yield piece

    async def _item(self, name: str, inode: Inode) -> Item:
        kind = _KINDS.get(stat.S_IFMT(inode.mode), ItemKind.OTHER)
        target = note = ""
        if stat.S_ISLNK(inode.mode):
            kind, target = ItemKind.LINK, await self._target(inode)
        elif kind is ItemKind.OTHER:
            note = special_in_words(inode.mode)
        return Item(
            name=name,
            kind=kind,
            number=inode.number,
            size=inode.size if kind is ItemKind.FILE else 0,
            modified_ns=inode.modified_ns,
            links=inode.links,
            target=target,
            note=note,
            unsupported="content in XFS's realtime section" if inode.is_realtime else "",
        )

    async def _target(self, inode: Inode) -> str:
        if not 0 < inode.size <= _TARGET_MAX:
            raise TreeDamagedError(f"the link of inode {inode.number} has no target")
        if inode.form == LOCAL:
            content = inode.fork[: inode.size]
        else:
            runs = await self._inodes.runs(inode)
            size = sum(run.length for run in runs)
            whole = await content_of(
                pieces_of_runs(self._window, runs, size=size), size=size, limit=8 * 65536
            )
            content = self._unsealed(inode, whole)
        if len(content) < inode.size or b"\0" in content:
            raise TreeDamagedError(f"the link of inode {inode.number} is not whole")
        return content.decode("utf-8", "surrogateescape")

    def _unsealed(self, inode: Inode, whole: bytes) -> bytes:
        """Return the target without the headers of its blocks."""
        if not self._layout.checks:
            return whole[: inode.size]
        found = b""
        for at in range(0, len(whole), self._layout.block):
            block = whole[at : at + self._layout.block]
            length = struct.unpack_from(">I", block, 8)[0]
            if block[:4] != b"XSLM" or not is_sealed(block, at=12) or 56 + length > len(block):
                raise TreeDamagedError(f"the link of inode {inode.number} is not whole")
            found += block[56 : 56 + length]
        return found[: inode.size]

    async def _names(self, inode: Inode) -> list[tuple[str, int]]:
        if inode.form == LOCAL:
            return list(self._short(inode))
        runs = [run for run in await self._inodes.runs(inode) if run.offset < _LEAVES]
        if inode.size > DIRECTORY_MAX or not runs:
            raise TreeDamagedError(f"a directory of {inode.size} bytes (inode {inode.number})")
        covered = sum(run.length for run in runs if run.at is not None)
        end = runs[-1].offset + runs[-1].length
        if covered != end or end != inode.size:
            raise TreeDamagedError(f"blocks of the directory are missing (inode {inode.number})")
        whole = await directory_content(self._window, runs, size=end)
        step = self._layout.directory_block
        blocks = [whole[at : at + step] for at in range(0, end, step)]
        return [
            each
            for number, block in enumerate(blocks)
            for each in self._parsed(inode, block, Run(number * step, step, None))
        ]

    def _short(self, inode: Inode) -> Iterator[tuple[str, int]]:
        """Yield the names of a directory that lies in its inode."""
        broken = TreeDamagedError(f"names of a directory make no sense (inode {inode.number})")
        fork = inode.fork[: inode.size]
        if len(fork) < 6 or len(fork) != inode.size:
            raise broken
        width = 8 if fork[1] else 4
        at = 2 + width
        for _ in range(fork[0]):
            size = fork[at] if at < len(fork) else 0
            end = at + 3 + size + self._layout.file_types + width
            if not size or end > len(fork):
                raise broken
            number = int.from_bytes(fork[end - width : end], "big")
            yield _text(fork[at + 3 : at + 3 + size], broken), number
            at = end
        if at != len(fork):
            raise broken

    def _parsed(self, inode: Inode, block: bytes, place: Run) -> Iterator[tuple[str, int]]:
        """Yield the names in one block of a directory; it must be one, to its last byte."""
        broken = TreeDamagedError(f"a block of the directory is none (inode {inode.number})")
        checks, magic = self._layout.checks, block[:4]
        single = magic == (b"XDB3" if checks else b"XD2B")
        if not single and magic != (b"XDD3" if checks else b"XD2D"):
            raise broken
        if checks and (
            not is_sealed(block, at=4) or struct.unpack_from(">Q", block, 40)[0] != inode.number
        ):
            raise broken
        at, end = 64 if checks else 16, len(block)
        if single:
            count = struct.unpack_from(">I", block, end - 8)[0]
            end -= 8 + 8 * count
        count = 0
        while at < end:
            if at + 8 > end:
                raise broken
            free, length = struct.unpack_from(">HH", block, at)
            if free == _FREE:
                if length < 8 or length % 8 or at + length > end:
                    raise broken
                at += length
                continue
            number, size = struct.unpack_from(">QB", block, at)
            length = -(-(11 + size + self._layout.file_types) // 8) * 8
            if not size or at + length > end:
                raise broken
            name = block[at + 9 : at + 9 + size]
            is_own = place.offset == 0 and count < 2
            if is_own and name != (b".", b"..")[count]:
                raise broken
            if not is_own:
                yield _text(name, broken), number
            at, count = at + length, count + 1


def _text(name: bytes, broken: TreeDamagedError) -> str:
    if b"/" in name or b"\0" in name or name in {b".", b".."}:
        raise broken
    return name.decode("utf-8", "surrogateescape")
