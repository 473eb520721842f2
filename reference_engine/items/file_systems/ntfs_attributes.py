"""NTFS: what stands in one record of the master file table.

Sources: the NTFS documentation of the Linux-NTFS project; fs/ntfs3/ntfs.h of the Linux kernel.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from reference_engine.items.errors import TreeDamagedError

ATTRIBUTE_LIST: Final = 0x20
FILE_NAME: Final = 0x30
DATA: Final = 0x80

COMPRESSED: Final = 0x0001
ENCRYPTED: Final = 0x4000

_STRIDE: Final = 512
"""Every so many bytes the last two of a record are swapped out for its update number."""

_END: Final = 0xFFFFFFFF


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute, or the first part of one, with the runs of all parts."""

    kind: int
    name: str
    flags: int
    number: int
    """Its own within its record."""

    content: bytes | None
    """What a resident attribute holds; None where it lies in clusters."""

    first: int = 0
    """The cluster of the attribute with which this part begins."""

    clusters: tuple[tuple[int, int | None], ...] = ()
    """Length and place of each run of clusters; no place means zeros."""

    unit: int = 0
    """Clusters that are compressed together."""

    size: int = 0
    valid: int = 0
    """How much was ever written; zeros behind that."""


def fixed_up(raw: bytes, magic: bytes, what: str, /) -> bytes:
    """Return a record with the bytes that stood in the way of its update numbers.

    Raises:
        TreeDamagedError: it is none, or was torn while it was written.
    """
    if raw[:4] != magic:
        raise TreeDamagedError(f"{what} is none")
    where, count = struct.unpack_from("<HH", raw, 4)
    whole = bytearray(raw)
    if count != len(raw) // _STRIDE + 1 or where + 2 * count > _STRIDE - 2:
        raise TreeDamagedError(f"{what} makes no sense")
    mark = raw[where : where + 2]
    for index in range(1, count):
        end = index * _STRIDE
        if raw[end - 2 : end] != mark:
            raise TreeDamagedError(f"{what} was written in part only")
        whole[end - 2 : end] = raw[where + 2 * index : where + 2 * index + 2]
    return bytes(whole)


def attributes_of(raw: bytes, number: int, /) -> Iterator[Attribute]:
    """Yield the attributes of a record, in its order.

    Raises:
        TreeDamagedError: one of them does not end where it should.
    """
    broken = TreeDamagedError(f"record {number} makes no sense")
    at = struct.unpack_from("<H", raw, 20)[0]
    used = struct.unpack_from("<I", raw, 24)[0]
    if not 42 <= at < used <= len(raw):
        raise broken
    while at + 8 <= used:
        kind, length = struct.unpack_from("<II", raw, at)
        if kind == _END:
            return
        if length < 24 or length % 8 or at + length > used:
            raise broken
        yield _attribute(raw[at : at + length], broken)
        at += length
    raise broken


def _attribute(raw: bytes, broken: TreeDamagedError) -> Attribute:
    kind, _, spread, size, where, flags, own = struct.unpack_from("<IIBBHHH", raw)
    if where + 2 * size > len(raw):
        raise broken
    name = raw[where : where + 2 * size].decode("utf-16-le", "surrogatepass")
    if not spread:
        length, start = struct.unpack_from("<IH", raw, 16)
        if start + length > len(raw):
            raise broken
        return Attribute(
            kind=kind,
            name=name,
            flags=flags,
            number=own,
            content=raw[start : start + length],
            size=length,
            valid=length,
        )
    if len(raw) < 64:
        raise broken
    first, last, start, unit = struct.unpack_from("<QQHH", raw, 16)
    real, valid = struct.unpack_from("<QQ", raw, 48)
    clusters = tuple(_clusters(raw[start:], broken))
    if first == 0 and not valid <= real < 1 << 63:
        raise broken
    if sum(length for length, _ in clusters) != (last + 1 - first) % (1 << 64) or unit > 16:
        raise broken
    return Attribute(
        kind=kind,
        name=name,
        flags=flags,
        number=own,
        content=None,
        first=first,
        clusters=clusters,
        unit=1 << unit if unit else 0,
        size=real,
        valid=valid,
    )


def _clusters(packed: bytes, broken: TreeDamagedError) -> Iterator[tuple[int, int | None]]:
    """Yield the runs that mapping pairs tell: each place is a distance from the one before."""
    at = place = 0
    while at < len(packed) and packed[at]:
        wide, far = packed[at] & 15, packed[at] >> 4
        if not 0 < wide <= 8 or far > 8 or at + 1 + wide + far > len(packed):
            raise broken
        length = int.from_bytes(packed[at + 1 : at + 1 + wide], "little")
        if not 0 < length < 1 << 48:
            raise broken
        if far:
            step = packed[at + 1 + wide : at + 1 + wide + far]
            place += int.from_bytes(step, "little", signed=True)
            if place < 0:
                raise broken
        yield length, place if far else None
        at += 1 + wide + far
    if at >= len(packed):
        raise broken
