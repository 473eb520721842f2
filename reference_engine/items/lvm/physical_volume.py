"""A physical volume: its label, and the newest text of each of its metadata areas.

Source: LVM2's lib/label/label.h, lib/format_text/layout.h and lib/misc/crc.c; `pvck --dump headers`
prints the same fields.
"""

import struct
import zlib
from typing import Final

import msgspec

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError
from reference_engine.model.units import MIB

_SECTOR: Final = 512
_LABELS: Final = 4
"""The label is in one of the first sectors."""

_LABEL: Final = struct.Struct("<8sQII8s")
_CHECKED_FROM: Final = 20
_AREA: Final = struct.Struct("<QQ")
_AREAS_MAX: Final = 16
_HEADER: Final = struct.Struct("<I16sIQQ")
_MAGIC: Final = b" LVM2 x[5A%r0N*>"
_TEXT: Final = struct.Struct("<QQII")
_IGNORED: Final = 1
_TEXT_MAX: Final = 8 * MIB
"""A text of some thousand logical volumes; the default area has 1 MiB."""


class PhysicalVolume(msgspec.Struct, frozen=True, kw_only=True):
    """What a physical volume says of itself."""

    uuid: str
    """32 characters, without the hyphens of its texts."""

    window: Window
    texts: tuple[str, ...]
    """Descriptions of its group that are whole; none where the group keeps them elsewhere."""

    damaged: str = ""
    """Why a metadata area cannot be read."""


async def physical_volume(window: Window, /) -> PhysicalVolume | None:
    """Return what the volume says of itself; None where no label of it is whole."""
    head = await window.head(_LABELS * _SECTOR)
    for start in range(0, len(head) - _SECTOR + 1, _SECTOR):
        found = _labelled(head[start : start + _SECTOR], start // _SECTOR)
        if found is not None:
            return await _with_texts(window, *found)
    return None


def _crc(content: bytes) -> int:
    """Return LVM2's checksum: CRC-32 with a first value of its own, and not inverted in the end."""
    return zlib.crc32(content, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def _labelled(sector: bytes, number: int) -> tuple[str, list[int]] | None:
    """Return the identity, and where metadata areas begin."""
    magic, own, stored, offset, kind = _LABEL.unpack_from(sector)
    if (magic, own, kind) != (b"LABELONE", number, b"LVM2 001"):
        return None
    if _crc(sector[_CHECKED_FROM:]) != stored or offset + 40 > _SECTOR:
        return None
    uuid = sector[offset : offset + 32].decode("ascii", "replace")
    at, lists = offset + 40, list[list[int]]([[], []])
    for areas in lists:  # where data lie, then where metadata lie, each list ended by zeros
        while at + _AREA.size <= _SECTOR:
            start, size = _AREA.unpack_from(sector, at)
            at += _AREA.size
            if (start, size) == (0, 0):
                break
            areas.append(start)
    return uuid, lists[1][:_AREAS_MAX]


async def _with_texts(window: Window, uuid: str, areas: list[int]) -> PhysicalVolume:
    texts: list[str] = []
    damaged = ""
    for start in areas:
        try:
            text = await _text(window, start)
        except TreeDamagedError as error:
            damaged = error.cause
        else:
            texts += [text] if text else []
    return PhysicalVolume(uuid=uuid, window=window, texts=tuple(texts), damaged=damaged)


async def _text(window: Window, start: int) -> str:
    """Return the text of one area; empty where there is none."""
    header = await window.read(start, _SECTOR)
    stored, magic, _, own, size = _HEADER.unpack_from(header)
    if _crc(header[4:]) != stored or magic != _MAGIC or own != start:
        raise TreeDamagedError(f"the metadata area at {start} is not whole")
    offset, length, stored, flags = _TEXT.unpack_from(header, _HEADER.size)
    if not offset or not length or flags & _IGNORED:
        return ""
    if length > min(size - _SECTOR, _TEXT_MAX) or not _SECTOR <= offset < size:
        raise TreeDamagedError(f"the text of the metadata area at {start} has {length} bytes")
    # Texts are written one behind the other, round and round behind the area's header.
    first = min(length, size - offset)
    content = await window.read(start + offset, first)
    content += await window.read(start + _SECTOR, length - first)
    if _crc(content) != stored:
        raise TreeDamagedError(f"the text of the metadata area at {start} is not whole")
    return content.rstrip(b"\0").decode("utf-8", "replace")
