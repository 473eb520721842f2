"""XFS: the superblock, inodes, and where their content lies.

Sources: "XFS Algorithms & Data Structures", 3rd edition; fs/xfs/libxfs/xfs_format.h.
"""

import struct
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from google_crc32c import value as crc32c

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.tree import Run, checked_runs

MAGIC: Final = b"XFSB"
_FTYPE_V4: Final = 0x200
_FTYPE: Final = 0x1
_BIGTIME_FLAG: Final = 1 << 3
_KNOWN: Final = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80
_UNKNOWN_NAMES: Final = {0x10: "XFS that needs repair", 0x100: "XFS with a metadata directory"}
_MANY_EXTENTS: Final = 0x20
_REALTIME: Final = 1

LOCAL: Final = 1
_EXTENTS: Final = 2
_BTREE: Final = 3
_NODES_MAX: Final = 1 << 20
_BIGTIME_START: Final = -(1 << 31)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What the superblock says."""

    block: int
    blocks: int
    group_blocks: int
    groups: int
    inode_size: int
    per_block_bits: int
    group_bits: int
    directory_block: int
    root: int
    file_types: bool
    checks: bool
    """Whether metadata has checksums: version 5."""

    many_extents: bool
    log_start: int
    log_blocks: int
    label: str


class Inode(msgspec.Struct, frozen=True, kw_only=True):
    """One inode, checked."""

    number: int
    mode: int
    form: int
    """How its content is kept: in itself, as extents, or as a tree of them."""

    size: int
    links: int
    modified_ns: int
    extents: int
    fork: bytes
    is_realtime: bool


def parse_layout(found: bytes, /, *, size: int) -> Layout:
    """Return the layout that a superblock describes; `size`: of the volume.

    Raises:
        TreeDamagedError: it contradicts itself.
        TreeUnsupportedError: it names a feature that is not known here.
    """
    block, blocks = struct.unpack_from(">IQ", found, 4)
    log_start, root = struct.unpack_from(">QQ", found, 48)
    group_blocks, groups, _, log_blocks, version, sector = struct.unpack_from(">IIIIHH", found, 84)
    inode_size, per_block = struct.unpack_from(">HH", found, 104)
    block_bits, sector_bits, inode_bits, per_block_bits, group_bits = struct.unpack_from(
        ">5B", found, 120
    )
    directory_bits = found[192]
    features2 = struct.unpack_from(">I", found, 200)[0]
    incompatible = struct.unpack_from(">I", found, 216)[0]
    number = version & 0xF
    if number not in {4, 5}:
        raise TreeUnsupportedError(f"XFS of version {number}")
    checks = number == 5
    unknown = incompatible & ~_KNOWN if checks else 0
    if unknown:
        lowest = unknown & -unknown
        raise TreeUnsupportedError(
            _UNKNOWN_NAMES.get(lowest, f"XFS with the unknown feature {lowest:#x}")
        )
    sound = (
        9 <= block_bits <= 16
        and block == 1 << block_bits
        and 9 <= sector_bits <= 15
        and sector == 1 << sector_bits
        and 8 <= inode_bits <= 11
        and inode_size == 1 << inode_bits
        and per_block == 1 << per_block_bits
        and per_block * inode_size == block
        and group_blocks > 0
        and (1 << group_bits) >= group_blocks
        and group_bits <= 31
        and groups > 0
        and group_blocks * (groups - 1) < blocks <= group_blocks * groups
        and block_bits + directory_bits <= 16
    )
    if not sound:
        raise TreeDamagedError("the superblock contradicts itself")
    if checks and not is_sealed(found[:sector], at=224):
        raise TreeDamagedError("the superblock's checksum is wrong")
    if blocks * block > size:
        raise TreeDamagedError(
            f"the superblock tells of {blocks * block} bytes, the volume has {size}"
        )
    return Layout(
        block=block,
        blocks=blocks,
        group_blocks=group_blocks,
        groups=groups,
        inode_size=inode_size,
        per_block_bits=per_block_bits,
        group_bits=group_bits,
        directory_block=block << directory_bits,
        root=root,
        file_types=bool(incompatible & _FTYPE) if checks else bool(features2 & _FTYPE_V4),
        checks=checks,
        many_extents=checks and bool(incompatible & _MANY_EXTENTS),
        log_start=log_start,
        log_blocks=log_blocks,
        label=found[108:120].partition(b"\0")[0].decode("utf-8", "replace"),
    )


def is_sealed(content: bytes, /, *, at: int) -> bool:
    """Return whether a block has the checksum that stands in it."""
    stored = struct.unpack_from("<I", content, at)[0]
    return bool(crc32c(content[:at] + bytes(4) + content[at + 4 :]) == stored)


class Inodes:
    """All inodes of one volume."""

    def __init__(self, window: Window, layout: Layout, /) -> None:
        self._window, self.layout = window, layout

    def place(self, block: int, /) -> int:
        """Return where a block lies, whose upper bits are its group.

        Raises:
            TreeDamagedError: nowhere.
        """
        layout = self.layout
        group, inside = block >> layout.group_bits, block & ((1 << layout.group_bits) - 1)
        flat = group * layout.group_blocks + inside
        if group >= layout.groups or inside >= layout.group_blocks or flat >= layout.blocks:
            raise TreeDamagedError(f"block {block} lies nowhere")
        return flat * layout.block

    async def inode(self, number: int, /) -> Inode:
        """Return an inode, its checksum compared.

        Raises:
            TreeDamagedError: there is none of that number, or it is not what was written.
        """
        layout = self.layout
        start = self.place(number >> layout.per_block_bits)
        index = number & ((1 << layout.per_block_bits) - 1)
        raw = await self._window.read(start + index * layout.inode_size, layout.inode_size)
        magic, mode, version, form = struct.unpack_from(">2sHBB", raw)
        is_new = version == 3
        if magic != b"IN" or is_new != layout.checks or not mode:
            raise TreeDamagedError(f"inode {number} is none")
        if is_new and (
            not is_sealed(raw, at=100) or struct.unpack_from(">Q", raw, 152)[0] != number
        ):
            raise TreeDamagedError(f"the checksum of inode {number} is wrong")
        links, size = struct.unpack_from(">16xI36xQ", raw)
        flags = struct.unpack_from(">H", raw, 90)[0]
        flags2 = struct.unpack_from(">Q", raw, 120)[0] if is_new else 0
        extents = struct.unpack_from(">I", raw, 76)[0]
        if layout.many_extents:
            extents = struct.unpack_from(">Q", raw, 24)[0]
        start = 176 if is_new else 100
        end = start + raw[82] * 8 if raw[82] else len(raw)
        if end > len(raw):
            raise TreeDamagedError(f"inode {number} contradicts itself")
        if flags2 & _BIGTIME_FLAG:
            since = struct.unpack_from(">Q", raw, 40)[0]
            modified = since + _BIGTIME_START * 1_000_000_000
        else:
            seconds, nanoseconds = struct.unpack_from(">ii", raw, 40)
            modified = seconds * 1_000_000_000 + nanoseconds
        return Inode(
            number=number,
            mode=mode,
            form=form,
            size=size,
            links=links if version > 1 else struct.unpack_from(">H", raw, 6)[0],
            modified_ns=modified,
            extents=extents,
            fork=raw[start:end],
            is_realtime=bool(flags & _REALTIME),
        )

    async def runs(self, inode: Inode, /) -> list[Run]:
        """Return where the content of an inode lies.

        Raises:
            TreeDamagedError: its extents are not what they should be.
            TreeUnsupportedError: it lies on another device.
        """
        if inode.is_realtime:
            raise TreeUnsupportedError("content in XFS's realtime section")
        found: list[Run] = []
        if inode.form == _EXTENTS:
            if inode.extents * 16 > len(inode.fork):
                raise TreeDamagedError(f"the extents of inode {inode.number} make no sense")
            found = [self._run(inode.fork, at) for at in range(0, 16 * inode.extents, 16)]
        elif inode.form == _BTREE:
            found = [run async for run in self._tree(inode)]
            if len(found) != inode.extents:
                raise TreeDamagedError(f"extents of inode {inode.number} are missing")
        else:
            raise TreeDamagedError(f"inode {inode.number} has no extents")
        return checked_runs(found, room=self.layout.blocks * self.layout.block)

    def _run(self, found: bytes, at: int) -> Run:
        high, low = struct.unpack_from(">QQ", found, at)
        block = self.layout.block
        logical = high >> 9 & ((1 << 54) - 1)
        where = (high & 0x1FF) << 43 | low >> 21
        count = low & 0x1FFFFF
        # What was reserved and never written reads as zeros.
        place = None if high >> 63 else self.place(where)
        return Run(logical * block, count * block, place)

    async def _tree(self, inode: Inode) -> AsyncIterator[Run]:
        level, count = struct.unpack_from(">HH", inode.fork)
        most = (len(inode.fork) - 4) // 16
        if not 0 < level <= 16 or count > most:
            raise TreeDamagedError(f"the extents of inode {inode.number} make no sense")
        below = struct.unpack_from(f">{count}Q", inode.fork, 4 + 8 * most)
        waiting = [(each, level - 1) for each in reversed(below)]
        left = _NODES_MAX
        head = 72 if self.layout.checks else 24
        while waiting:
            block, level = waiting.pop()
            left -= 1
            node = await self._node(inode, block, level)
            count = struct.unpack_from(">H", node, 6)[0]
            most = (len(node) - head) // 16
            if count > most or not left:
                raise TreeDamagedError(f"the extents of inode {inode.number} make no sense")
            if not level:
                for at in range(head, head + 16 * count, 16):
                    yield self._run(node, at)
                continue
            below = struct.unpack_from(f">{count}Q", node, head + 8 * most)
            waiting += [(each, level - 1) for each in reversed(below)]

    async def _node(self, inode: Inode, block: int, level: int) -> bytes:
        node = await self._window.read(self.place(block), self.layout.block)
        checks = self.layout.checks
        magic, found = struct.unpack_from(">4sH", node)
        sound = magic == (b"BMA3" if checks else b"BMAP") and found == level
        if not sound or (
            checks
            and (
                not is_sealed(node, at=64) or struct.unpack_from(">Q", node, 56)[0] != inode.number
            )
        ):
            raise TreeDamagedError(f"a block of extents of inode {inode.number} is none")
        return node
