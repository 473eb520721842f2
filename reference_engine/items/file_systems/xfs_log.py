"""Whether the log of an XFS volume was closed.

A volume that is frozen has written everything back, and then the superblock once more, so that
files which are open and have no name are looked after when it is mounted next: all that is left to
replay are records of the superblock alone. Source: xfs_log_quiesce and xfs_log_cover of Linux.
"""

import struct
from typing import Final

from reference_engine.items.disk_view import Window
from reference_engine.items.file_systems.xfs_inodes import Inodes

_SECTOR: Final = 512
_MAGIC: Final = 0xFEEDBABE
_UNMOUNT: Final = 0x20
_BUFFER: Final = 0x123C
_COVER_OPERATIONS: Final = 5
"""Start, header, what is written, its content, commit."""

_LOOKED_AT_MAX: Final = 64
"""Sectors; records of the superblock are of two each."""

OPEN: Final = "its log was not closed"


async def log_unrest(window: Window, inodes: Inodes, /) -> str:
    """Return why changes may be missing; empty if an unmount was the last thing in the log.

    Raises:
        TreeDamagedError: the log lies nowhere.
    """
    layout = inodes.layout
    if not layout.log_start:
        return "its log is on another device"
    start = inodes.place(layout.log_start)
    count = layout.log_blocks * layout.block // _SECTOR
    if not count:
        return OPEN
    head = await _head(window, start, count)
    tail: int | None = None
    for back in range(1, min(_LOOKED_AT_MAX, count) + 1):
        at = (head - back) % count
        record = await window.read(start + at * _SECTOR, _SECTOR)
        if struct.unpack_from(">I", record)[0] != _MAGIC:
            continue
        own, oldest = struct.unpack_from(">QQ", record, 16)
        operations = struct.unpack_from(">I", record, 40)[0]
        held = await window.read(start + (at + 1) % count * _SECTOR, _SECTOR)
        if tail is None and operations == 1 and held[9] & _UNMOUNT:
            return ""
        if not _is_cover(held, operations):
            break
        tail = oldest if tail is None else tail
        if own <= tail:
            return ""
    return OPEN


async def _head(window: Window, start: int, count: int) -> int:
    """Return where the next record would go: behind the last sector of the newest cycle."""

    async def cycle(sector: int) -> int:
        found = await window.read(start + sector * _SECTOR, 8)
        first, second = struct.unpack(">II", found)
        return int(second if first == _MAGIC else first)

    newest = await cycle(0)
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        if await cycle(middle) == newest:
            low = middle
        else:
            high = middle
    return high % count


def _is_cover(held: bytes, operations: int) -> bool:
    """Return whether a record holds one transaction that writes the superblock, and no other."""
    kind, block = struct.unpack_from("<H6xq", held, 52)
    return operations == _COVER_OPERATIONS and kind == _BUFFER and block == 0
