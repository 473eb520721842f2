"""Planted bugs of whoever takes single files out of points."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from msgspec.structs import replace

from reference_engine.items import browsing, extracting, partitions
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.file_systems import ext, ntfs, ntfs_attributes, xfs
from reference_engine.items.file_systems.ntfs_records import Record
from reference_engine.items.file_systems.ntfs_reparse import parse_reparse
from reference_engine.items.lvm import mapped
from reference_engine.items.lvm.volume_group import Segment
from reference_engine.items.tree import Piece, pieces_of_runs
from simulator.campaign.planted_bugs import Patch


def damaged_directory_empty() -> list[Patch]:
    """A directory that cannot be read is listed as an empty one."""
    entries = browsing.entries

    async def lenient(*which: Any) -> Any:
        try:
            return await entries(*which)
        except TreeDamagedError:
            return []

    return [(browsing, "entries", lenient)]


def unwritten_bytes_shown() -> list[Patch]:
    """What was reserved for a file of NTFS and never written is read from its clusters."""
    attribute = ntfs_attributes._attribute  # noqa: SLF001 - a planted bug

    def believing(*which: Any) -> Any:
        found = attribute(*which)
        return replace(found, valid=found.size)

    return [(ntfs_attributes, "_attribute", believing)]


def streams_mixed_up() -> list[Patch]:
    """Of several streams of a file the first one is read, whichever is asked for."""

    def first(self: Record, kind: int, name: str = "", /) -> Any:
        del name
        return next((each for each in self.attributes if each.kind == kind), None)

    return [(Record, "one", first)]


def holes_forgotten() -> list[Patch]:
    """What follows a hole in a file is moved to where the hole began."""

    async def together(*which: Any, size: int) -> AsyncIterator[Piece]:
        at = 0
        async for piece in pieces_of_runs(*which, size=size):
            yield Piece(at, piece.content)
            at += len(piece.content)

    return [(each, "pieces_of_runs", together) for each in (ext, ntfs, xfs)]


def reparse_points_read() -> list[Patch]:
    """What stands in for a file's content is taken out as its content."""

    def harmless(content: bytes, /) -> Any:
        return parse_reparse(content)._replace(unsupported="")

    return [(ntfs, "parse_reparse", harmless)]


def logical_partitions_overlooked() -> list[Patch]:
    """Only the four partitions of a disk's first sector are looked at."""

    async def none(*_: object) -> list[object]:
        return []

    return [(partitions, "_logical", none)]


def second_names_without_streams() -> list[Patch]:
    """A file that is there already under another name is not given its streams once more."""
    one = extracting.Extraction._one  # noqa: SLF001 - a planted bug

    async def once(self: Any, each: Any, path: Any) -> None:
        item = each.item
        known = item.links > 1 and item.number in self._first
        left = each._replace(item=replace(item, streams=())) if known else each
        await one(self, left, path)

    return [(extracting.Extraction, "_one", once)]


def stripes_in_a_row() -> list[Patch]:
    """What is striped over two physical volumes is read from one and then from the other."""

    def in_a_row(segment: Segment, inside: int) -> tuple[str, int, int]:
        share = segment.length // len(segment.areas)
        column, rest = divmod(inside, share)
        area = segment.areas[column]
        return area.volume, area.start + rest, share - rest

    return [(mapped, "_place", in_a_row)]


PLANTED: Final[tuple[tuple[str, Callable[[], list[Patch]]], ...]] = (
    ("damaged-directory-empty", damaged_directory_empty),
    ("unwritten-bytes-shown", unwritten_bytes_shown),
    ("streams-mixed-up", streams_mixed_up),
    ("holes-forgotten", holes_forgotten),
    ("reparse-points-read", reparse_points_read),
    ("logical-partitions-overlooked", logical_partitions_overlooked),
    ("second-names-without-streams", second_names_without_streams),
    ("stripes-in-a-row", stripes_in_a_row),
)
