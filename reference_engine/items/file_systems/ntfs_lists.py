"""NTFS: files whose attributes lie in several records, and attributes that lie in several parts.

Each entry of an attribute list names one attribute, or one part of one that is in clusters, and
the record that holds it. Source: ATTR_LIST_ENTRY in layout.h of ntfs-3g.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.file_systems.ntfs_attributes import FILE_NAME, Attribute

LIST_MAX: Final = 256 * 1024
"""No list is longer, says layout.h: Windows cannot have one; ntfs-3g refuses it."""

NUMBER: Final = (1 << 48) - 1
"""What of a reference to a record is its number; above that is how often it was used anew."""

_HEAD: Final = 26


class Listed(NamedTuple):
    """An entry of an attribute list."""

    kind: int
    name: str
    first: int
    """The cluster of the attribute with which this part begins."""

    holder: int
    """The record that has it: number and sequence."""

    number: int
    """Its own within that record."""


def listed_in(content: bytes, number: int, /) -> Iterator[Listed]:
    """Yield the entries of an attribute list; `number`: of the record that has the list.

    Raises:
        TreeDamagedError: they do not fill the list, or one is there twice.
    """
    broken = TreeDamagedError(f"the attributes of record {number} make no sense")
    seen: set[Listed] = set()
    at = 0
    while at < len(content):
        if at + _HEAD > len(content):
            raise broken
        kind, length, size, where = struct.unpack_from("<IHBB", content, at)
        first, holder, own = struct.unpack_from("<QQH", content, at + 8)
        if length < _HEAD or at + length > len(content) or where + 2 * size > length:
            raise broken
        name = content[at + where : at + where + 2 * size].decode("utf-16-le", "surrogatepass")
        entry = Listed(kind, name, first, holder, own)
        if entry in seen:
            raise broken
        seen.add(entry)
        yield entry
        at += length


def found_in(attributes: Iterable[Attribute], entry: Listed, number: int, /) -> Attribute:
    """Return what an entry names of the attributes of its record.

    Raises:
        TreeDamagedError: it is not there.
    """
    for each in attributes:
        if (each.kind, each.name, each.first, each.number) == entry[:3] + entry[4:]:
            return each
    raise TreeDamagedError(f"record {number} lacks an attribute")


def joined(parts: Iterable[Attribute], number: int, /) -> tuple[Attribute, ...]:
    """Return attributes that are whole: the parts of one, which ascend, have become one.

    Raises:
        TreeDamagedError: a part is missing, or an attribute is there twice.
    """
    found: dict[tuple[int, str, int], list[Attribute]] = {}
    ends: dict[tuple[int, str, int], int] = {}
    for place, part in enumerate(parts):
        # A file has a name for each directory that it is in; of anything else there is one.
        key = (part.kind, part.name, place if part.kind == FILE_NAME else 0)
        own = found.setdefault(key, [])
        if own and (own[0].content is not None or part.content is not None):
            raise TreeDamagedError(f"record {number} has an attribute twice")
        if part.first != ends.get(key, 0):
            raise TreeDamagedError(f"record {number} lacks a part of an attribute")
        own.append(part)
        ends[key] = part.first + sum(length for length, _ in part.clusters)
    return tuple(_whole(each) for each in found.values())


def _whole(parts: list[Attribute]) -> Attribute:
    if len(parts) == 1:
        return parts[0]
    clusters = tuple(run for part in parts for run in part.clusters)
    return msgspec.structs.replace(parts[0], clusters=clusters)
