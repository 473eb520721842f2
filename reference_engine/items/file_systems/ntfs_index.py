"""NTFS directories: a tree of blocks with names, walked as a whole."""

import struct
from collections.abc import AsyncIterator, Iterator
from typing import Final, NamedTuple

from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.file_systems.ntfs_attributes import fixed_up
from reference_engine.items.file_systems.ntfs_records import Record, Records
from reference_engine.items.tree import DIRECTORY_MAX

_ROOT: Final = 0x90
_ALLOCATION: Final = 0xA0
_INDEX: Final = "$I30"
_BY_NAME: Final = 0x30
_HAS_BELOW: Final = 1
_IS_LAST: Final = 2
_DOS: Final = 2
_DEPTH_MAX: Final = 32


class IndexedName(NamedTuple):
    """A name in a directory, and the record that it stands for."""

    name: str
    number: int
    sequence: int


async def names_in(records: Records, directory: Record, /) -> AsyncIterator[IndexedName]:
    """Yield the names in a directory in its order, without those for DOS.

    Raises:
        TreeDamagedError: a block of it is missing, torn, or another one's.
    """
    root = directory.one(_ROOT, _INDEX)
    if root is None or root.content is None or len(root.content) < 32:
        raise TreeDamagedError(f"directory {directory.number} has no index")
    kind, _, size = struct.unpack_from("<III", root.content)
    if kind != _BY_NAME or not 512 <= size <= 65536:
        raise TreeDamagedError(f"the index of directory {directory.number} makes no sense")
    below = directory.one(_ALLOCATION, _INDEX)
    blocks = b"" if below is None else await records.content(below, limit=DIRECTORY_MAX)
    # A block is named by the cluster that it begins in, or by its sector if it is smaller.
    step = records.geometry.cluster if size >= records.geometry.cluster else 512
    seen: set[int] = set()

    def walked(node: bytes, depth: int) -> Iterator[IndexedName]:
        if depth > _DEPTH_MAX:
            raise TreeDamagedError(f"the index of directory {directory.number} is too deep")
        for found, child in _entries(node, directory):
            if child is not None:
                if child in seen:
                    raise TreeDamagedError(
                        f"the index of directory {directory.number} goes in circles"
                    )
                seen.add(child)
                at = child * step
                if at < 0 or at + size > len(blocks):
                    raise TreeDamagedError(f"a block of directory {directory.number} is missing")
                block = fixed_up(
                    blocks[at : at + size], b"INDX", f"a block of directory {directory.number}"
                )
                if struct.unpack_from("<Q", block, 16)[0] != child:
                    raise TreeDamagedError(
                        f"a block of directory {directory.number} is another one's"
                    )
                yield from walked(block[24:], depth + 1)
            if found is not None:
                yield found

    for each in walked(root.content[16:], 0):
        yield each


def _entries(node: bytes, directory: Record) -> Iterator[tuple[IndexedName | None, int | None]]:
    """Yield each entry of a node: its name, and the block that comes before it."""
    broken = TreeDamagedError(f"names of directory {directory.number} make no sense")
    at, end, room = struct.unpack_from("<III", node)
    if not 16 <= at <= end <= min(room, len(node)):
        raise broken
    while at + 16 <= end:
        reference, length, size, flags = struct.unpack_from("<QHHI", node, at)
        if length < 16 or length % 8 or at + length > end:
            raise broken
        child = None
        if flags & _HAS_BELOW:
            if length < 24:
                raise broken
            child = struct.unpack_from("<Q", node, at + length - 8)[0]
        if flags & _IS_LAST:
            yield None, child
            return
        if size < 66 or 16 + size > length:
            raise broken
        key = node[at + 16 : at + 16 + size]
        parent, count, space = struct.unpack_from("<Q56xBB", key)
        if parent & ((1 << 48) - 1) != directory.number or 66 + 2 * count > size or space > 3:
            raise broken
        found = None
        if space != _DOS:
            name = key[66 : 66 + 2 * count].decode("utf-16-le", "surrogatepass")
            if not name or "/" in name or "\0" in name:
                raise broken
            found = IndexedName(name, reference & ((1 << 48) - 1), reference >> 48)
        yield found, child
        at += length
    raise broken
