"""A volume group as its text describes it: where the pieces of each logical volume lie.

Source: lvm(8); LVM2's lib/format_text/import_vsn1.c; lvmthin(7) and lvmraid(7) for what is not read
here.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.lvm.text import Section, parsed
from reference_engine.model.units import KIB

_SECTOR: Final = 512
_STRIPE_MIN: Final = 4 * KIB

_Kind = TypeVar("_Kind", int, str, "list[Any]")


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """A run of bytes of a physical volume."""

    volume: str
    """The physical volume's identity, without hyphens."""

    start: int


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a logical volume: one run of bytes, or several whose stripes take turns."""

    start: int
    length: int
    areas: tuple[Area, ...]
    stripe: int
    """Bytes of a stripe; the whole length where there is one area."""


class LogicalVolume(msgspec.Struct, frozen=True, kw_only=True):
    """A logical volume that people see."""

    name: str
    size: int
    segments: tuple[Segment, ...] = ()
    unsupported: str = ""
    damaged: str = ""

    @property
    def areas(self) -> list[Area]:
        """Where its pieces lie, the first of them first."""
        return [area for segment in self.segments for area in segment.areas]


class VolumeGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A volume group as one of its texts has it."""

    name: str
    uuid: str
    version: int
    """Of two texts the one with the greater number holds."""

    volumes: tuple[str, ...]
    """Identities of its physical volumes."""

    logical: tuple[LogicalVolume, ...]
    """In the order in which they were made."""


def volume_group(text: str, /) -> VolumeGroup:
    """Return what a metadata area's text describes.

    Raises:
        TreeDamagedError: it describes none, or contradicts itself.
    """
    whole = parsed(text)
    [(name, group), *others] = [
        (name, what) for name, what in whole.items() if isinstance(what, dict)
    ] or [("", {})]
    if others or not group:
        raise TreeDamagedError("the text of a volume group describes none, or several")
    extent = _number(group, "extent_size") * _SECTOR
    if not extent:
        raise TreeDamagedError(f"{name} has extents of no size")
    begins = {
        key: Area(volume=_identity(each), start=_number(each, "pe_start") * _SECTOR)
        for key, each in _sections(group, "physical_volumes")
    }
    described = _sections(group, "logical_volumes")
    snapshots = _snapshots(described)
    return VolumeGroup(
        name=name,
        uuid=_identity(group),
        version=_number(group, "seqno"),
        volumes=tuple(each.volume for each in begins.values()),
        logical=tuple(
            _logical(name, each, extent, begins, snapshots.get(name, ""))
            for name, each in described
            if "VISIBLE" in _list(each, "status")
        ),
    )


def _snapshots(described: list[tuple[str, Section]]) -> dict[str, str]:
    """Return why volumes of which, or for which, snapshots are kept are not what they seem."""
    reasons: dict[str, str] = {}
    for _, each in described:
        for segment in _segments(each):
            if segment.get("type") == "snapshot":
                origin = str(segment.get("origin"))
                if "merging_store" in segment:
                    reasons[origin] = "a snapshot is being merged into it: not read here"
                store = str(segment.get("merging_store", segment.get("cow_store")))
                reasons[store] = f"a snapshot of {_plain(origin)}: not read here"
    return reasons


def _logical(
    name: str, described: Section, extent: int, begins: Mapping[str, Area], reason: str
) -> LogicalVolume:
    segments: list[Segment] = []
    size, damaged = 0, ""
    try:
        for segment in sorted(_segments(described), key=_first):
            _follow(segment, size // extent)
            length = _number(segment, "extent_count") * extent
            kind = str(segment.get("type"))
            if kind == "striped":
                areas, stripe = _stripes(segment, length, extent, begins)
                segments.append(Segment(start=size, length=length, areas=areas, stripe=stripe))
            else:
                reason = reason or f"{_plain(kind)}: not put together here"
            size += length
    except TreeDamagedError as error:
        damaged = error.cause
    return LogicalVolume(
        name=name, size=size, segments=tuple(segments), unsupported=reason, damaged=damaged
    )


def _first(segment: Section) -> int:
    return _number(segment, "start_extent")


def _follow(segment: Section, extents: int) -> None:
    """Return if a segment has a length and begins behind so many extents."""
    if _first(segment) != extents or not _number(segment, "extent_count"):
        raise TreeDamagedError("its segments do not follow each other")


def _stripes(
    segment: Section, length: int, extent: int, begins: Mapping[str, Area]
) -> tuple[tuple[Area, ...], int]:
    """Return on which areas a segment of so many bytes lies, and how long its stripes are."""
    stripes = _list(segment, "stripes")
    count = _number(segment, "stripe_count")
    stripe = length if count == 1 else _number(segment, "stripe_size") * _SECTOR
    is_even = count > 1 and stripe >= _STRIPE_MIN and length % (count * stripe) == 0
    if len(stripes) != 2 * count or not (count == 1 or is_even):
        raise TreeDamagedError("its stripes contradict each other")
    areas: list[Area] = []
    for volume, first in zip(stripes[::2], stripes[1::2], strict=True):
        if volume not in begins or not isinstance(first, int):
            raise TreeDamagedError(f"it lies on {_plain(str(volume))}, no physical volume")
        area = begins[volume]
        areas.append(Area(volume=area.volume, start=area.start + first * extent))
    return tuple(areas), stripe


def _plain(name: str) -> str:
    """Return a name that people may see as it is: a stranger wrote it."""
    return name if re.fullmatch(r"[\w.+-]{1,128}", name, re.ASCII) else repr(name[:40])


def _segments(described: Section) -> list[Section]:
    return [
        each
        for key, each in described.items()
        if key.startswith("segment") and isinstance(each, dict)
    ]


def _sections(within: Section, key: str) -> list[tuple[str, Section]]:
    found = within.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise TreeDamagedError(f"the {key} of a volume group are no sections")
    return list(found.items())


def _number(within: Section, key: str) -> int:
    return _of_type(within, key, int)


def _list(within: Section, key: str) -> list[Any]:
    return _of_type(within, key, list)


def _identity(within: Section) -> str:
    return _of_type(within, "id", str).replace("-", "")


def _of_type(within: Section, key: str, wanted: type[_Kind]) -> _Kind:
    value = within.get(key)
    if not isinstance(value, wanted):
        raise TreeDamagedError(f"the text of a volume group has no sound {key}")
    return value
