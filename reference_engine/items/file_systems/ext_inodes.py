"""ext2, ext3 and ext4: the superblock, inodes, and where their content lies.

Sources: Linux kernel documentation, "ext4 Data Structures and Algorithms"; fs/ext4/ext4.h.
"""

import struct
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from google_crc32c import extend as crc32c_extend
from google_crc32c import value as crc32c

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.tree import Run, checked_runs

FILE_TYPES: Final = 0x2
_NEEDS_RECOVERY: Final = 0x4
_META_BG: Final = 0x10
_EXTENTS: Final = 0x40
_64BIT: Final = 0x80
_SEED: Final = 0x2000
_KNOWN: Final = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000
_INLINE: Final = 0x8000
_KNOWN_TOO: Final = _INLINE | 0x10000 | 0x20000
"""Encrypted and case-folding directories are a matter of each inode."""

_UNKNOWN_NAMES: Final = {0x1: "compression", 0x8: "an external journal", 0x1000: "dirdata"}
_SPARSE_SUPER: Final = 0x1
_CHECKSUMS: Final = 0x400

ENCRYPTED: Final = 0x800
INDEXED: Final = 0x1000
BY_EXTENTS: Final = 0x80000
INLINE: Final = 0x10000000

_EXTENT_MAGIC: Final = 0xF30A
_UNWRITTEN: Final = 1 << 15
_NODES_MAX: Final = 1 << 20
"""Blocks of pointers of one file; ext4 needs fewer for 16 TiB in pieces of 128 KiB."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What the superblock says."""

    block: int
    blocks: int
    first: int
    in_group: int
    inodes: int
    inodes_in_group: int
    inode_size: int
    descriptor: int
    first_meta_group: int | None
    sparse_super: bool
    file_types: bool
    seed: int | None
    """With what checksums begin; None where there are none."""

    label: str
    name: str
    unrest: str


class Inode(msgspec.Struct, frozen=True, kw_only=True):
    """One inode, checked."""

    number: int
    raw: bytes
    mode: int
    size: int
    links: int
    flags: int
    modified_ns: int
    seed: int | None
    """With what checksums of its own blocks begin."""

    @property
    def block(self) -> bytes:
        """The 60 bytes that point to its content, or are it."""
        return self.raw[0x28:0x64]


def parse_layout(found: bytes, /, *, size: int) -> Layout:
    """Return the layout that the 1024 bytes of a superblock describe; `size`: of the volume.

    Raises:
        TreeDamagedError: they contradict themselves.
        TreeUnsupportedError: they name a feature that is not known here.
    """
    inodes, low = struct.unpack_from("<II", found, 0)
    first, log_block = struct.unpack_from("<II", found, 20)
    in_group, inodes_in_group = struct.unpack_from("<I4xI", found, 32)
    compatible, incompatible, read_only = struct.unpack_from("<III", found, 92)
    revision = struct.unpack_from("<I", found, 76)[0]
    if not revision:
        compatible = incompatible = read_only = 0
    unknown = incompatible & ~(_KNOWN | _KNOWN_TOO)
    if unknown:
        lowest = unknown & -unknown
        raise TreeUnsupportedError(
            f"ext4 with {_UNKNOWN_NAMES.get(lowest, f'the unknown feature {lowest:#x}')}"
        )
    sums = bool(read_only & _CHECKSUMS)
    if sums and crc32c(found[:1020]) ^ 0xFFFFFFFF != struct.unpack_from("<I", found, 1020)[0]:
        raise TreeDamagedError("the superblock's checksum is wrong")
    seed = None
    if sums and incompatible & _SEED:
        seed = struct.unpack_from("<I", found, 0x270)[0] ^ 0xFFFFFFFF
    elif sums:
        seed = crc32c(found[0x68:0x78])
    wide = bool(incompatible & _64BIT)
    inode_size = struct.unpack_from("<H", found, 88)[0] if revision else 128
    blocks = low | (struct.unpack_from("<I", found, 336)[0] << 32 if wide else 0)
    layout = Layout(
        block=1024 << min(log_block, 7),
        blocks=blocks,
        first=first,
        in_group=in_group,
        inodes=inodes,
        inodes_in_group=inodes_in_group,
        inode_size=inode_size,
        descriptor=struct.unpack_from("<H", found, 254)[0] if wide else 32,
        first_meta_group=(
            struct.unpack_from("<I", found, 0x104)[0] if incompatible & _META_BG else None
        ),
        sparse_super=bool(read_only & _SPARSE_SUPER),
        file_types=bool(incompatible & FILE_TYPES),
        seed=seed,
        label=found[0x78:0x88].partition(b"\0")[0].decode("utf-8", "replace"),
        name="ext4" if incompatible & (_EXTENTS | _64BIT) else "ext3" if compatible & 4 else "ext2",
        unrest=_unrest(incompatible, struct.unpack_from("<H", found, 58)[0], compatible),
    )
    sound = (
        log_block <= 6
        and first < blocks
        and 0 < in_group <= 8 * layout.block
        and 0 < inodes_in_group <= 8 * layout.block
        and inodes > 0
        and 128 <= inode_size <= layout.block
        and inode_size & (inode_size - 1) == 0
        and 32 <= layout.descriptor <= layout.block
    )
    if not sound:
        raise TreeDamagedError("the superblock contradicts itself")
    if blocks * layout.block > size:
        raise TreeDamagedError(
            f"the superblock tells of {blocks * layout.block} bytes, the volume has {size}"
        )
    return layout


def _unrest(incompatible: int, state: int, compatible: int) -> str:
    """Return why changes may be missing. A frozen ext4 has written its journal back."""
    if incompatible & _NEEDS_RECOVERY:
        return "its journal was not replayed"
    if not state & 1 and not compatible & 4:
        return "it was mounted, and has no journal"
    if state & 2:
        return "it has noted errors"
    return ""


class Inodes:
    """All inodes of one volume."""

    def __init__(self, window: Window, layout: Layout, /) -> None:
        self._window, self.layout = window, layout

    async def inode(self, number: int, /) -> Inode:
        """Return an inode, its checksum compared.

        Raises:
            TreeDamagedError: there is none of that number, or it is not what was written.
        """
        layout = self.layout
        if not 0 < number <= layout.inodes:
            raise TreeDamagedError(f"there is no inode {number}")
        group, index = divmod(number - 1, layout.inodes_in_group)
        where = await self._table(group)
        raw = await self._window.read(
            where * layout.block + index * layout.inode_size, layout.inode_size
        )
        mode, low = struct.unpack_from("<H2xI", raw)
        seconds, links, flags = struct.unpack_from("<I6xH4xI", raw, 0x10)
        extra_size = struct.unpack_from("<H", raw, 0x80)[0] if layout.inode_size > 128 else 0
        extra = struct.unpack_from("<I", raw, 0x88)[0] if extra_size >= 12 else 0
        signed = seconds - ((seconds & 0x80000000) << 1)
        seed = None
        if layout.seed is not None:
            seed = crc32c_extend(
                crc32c_extend(layout.seed, struct.pack("<I", number)), raw[0x64:0x68]
            )
            self._compare(number, raw, seed, extra_size)
        return Inode(
            number=number,
            raw=raw,
            mode=mode,
            size=low | struct.unpack_from("<I", raw, 0x6C)[0] << 32,
            links=links,
            flags=flags,
            modified_ns=(signed + ((extra & 3) << 32)) * 1_000_000_000 + (extra >> 2),
            seed=seed,
        )

    @staticmethod
    def _compare(number: int, raw: bytes, seed: int, extra_size: int) -> None:
        blank = bytearray(raw)
        stored, mask = struct.unpack_from("<H", raw, 0x7C)[0], 0xFFFF
        blank[0x7C:0x7E] = bytes(2)
        if extra_size >= 4:
            stored, mask = stored | struct.unpack_from("<H", raw, 0x82)[0] << 16, 0xFFFFFFFF
            blank[0x82:0x84] = bytes(2)
        if (crc32c_extend(seed, bytes(blank)) ^ 0xFFFFFFFF) & mask != stored:
            raise TreeDamagedError(f"the checksum of inode {number} is wrong")

    async def _table(self, group: int) -> int:
        layout = self.layout
        in_block = layout.block // layout.descriptor
        above, index = divmod(group, in_block)
        where = layout.first + 1 + above
        if layout.first_meta_group is not None and above >= layout.first_meta_group:
            leader = above * in_block
            where = layout.first + leader * layout.in_group + self._has_super(leader)
        at = where * layout.block + index * layout.descriptor
        found = await self._window.read(at, layout.descriptor)
        table: int = struct.unpack_from("<I", found, 8)[0]
        if layout.descriptor >= 64:
            table |= struct.unpack_from("<I", found, 0x28)[0] << 32
        if not layout.first <= table < layout.blocks:
            raise TreeDamagedError(f"the inodes of group {group} lie nowhere")
        return table

    def _has_super(self, group: int) -> bool:
        if group <= 1 or not self.layout.sparse_super:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))

    async def runs(self, inode: Inode, /) -> list[Run]:
        """Return where the content of an inode lies.

        Raises:
            TreeDamagedError: its pointers are not what they should be.
        """
        room = self.layout.blocks * self.layout.block
        if inode.flags & BY_EXTENTS:
            below = self._extents(inode, inode.block, depth=None, seen=[0])
        else:
            below = self._pointers(inode)
        found = [run async for run in below]
        return checked_runs(found, room=room)

    async def _extents(
        self, inode: Inode, node: bytes, *, depth: int | None, seen: list[int]
    ) -> AsyncIterator[Run]:
        """Yield the extents below a node; `seen` counts nodes, which a loop would multiply."""
        block = self.layout.block
        magic, count, most, level = struct.unpack_from("<HHHH", node)
        sound = magic == _EXTENT_MAGIC and count <= most <= (len(node) - 12) // 12
        if not sound or level > 5 or (depth is not None and level != depth):
            raise TreeDamagedError(f"the extents of inode {inode.number} make no sense")
        for at in range(12, 12 + 12 * count, 12):
            if level:
                low, high = struct.unpack_from("<IH", node, at + 4)
                seen[0] += 1
                if seen[0] > _NODES_MAX:
                    raise TreeDamagedError(f"the extents of inode {inode.number} go in circles")
                child = await self._node(inode, low | high << 32)
                async for run in self._extents(inode, child, depth=level - 1, seen=seen):
                    yield run
                continue
            logical, length, high, low = struct.unpack_from("<IHHI", node, at)
            where: int | None = (low | high << 32) * block
            if length > _UNWRITTEN:  # it was reserved, and reads as zeros
                length, where = length - _UNWRITTEN, None
            yield Run(logical * block, length * block, where)

    async def _node(self, inode: Inode, where: int) -> bytes:
        block = self.layout.block
        node = await self._window.read(where * block, block)
        if inode.seed is not None:
            most = struct.unpack_from("<H", node, 4)[0]
            end = 12 + 12 * most
            if end + 4 > block or (
                crc32c_extend(inode.seed, node[:end]) ^ 0xFFFFFFFF
                != struct.unpack_from("<I", node, end)[0]
            ):
                raise TreeDamagedError(f"the checksum of extents of inode {inode.number} is wrong")
        return node

    async def _pointers(self, inode: Inode) -> AsyncIterator[Run]:
        block = self.layout.block
        wide = block // 4
        total = -(-inode.size // block)
        pointers = struct.unpack("<15I", inode.block)
        spans = [(at, pointer, 0) for at, pointer in enumerate(pointers[:12])]
        first = 12
        for level, pointer in enumerate(pointers[12:], 1):
            spans.append((first, pointer, level))
            first += wide**level
        left = _NODES_MAX
        spans.reverse()
        while spans:
            logical, pointer, level = spans.pop()
            if not pointer or logical >= total:
                continue
            if not level:
                yield Run(logical * block, block, pointer * block)
                continue
            left -= 1
            if not left:
                raise TreeDamagedError(f"the pointers of inode {inode.number} go in circles")
            below = struct.unpack(f"<{wide}I", await self._window.read(pointer * block, block))
            step = wide ** (level - 1)
            spans += [
                (logical + index * step, each, level - 1)
                for index, each in reversed([*enumerate(below)])
                if each
            ]


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1
