"""What is to be restored, and where to, as people wrote it."""

import re
import stat
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.adapters.targets.nbd import is_nbd
from reference_engine.app.credentials import KeyOptions
from reference_engine.app.output import sized
from reference_engine.formats.output_file import Existing
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Manner(Enum):
    """How an existing disk is written."""

    ANEW = "anew"
    UPDATE = "update"
    """Only what differs from the point."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be restored, and where to."""

    point: str
    repository: str
    to: str
    disk: str | None
    span: str | None
    existing: Existing
    manner: Manner
    holes: Path | None
    """Where a damaged point's losses are to be written down; None: a damaged point is refused."""

    keys: KeyOptions

    @property
    def is_onto(self) -> bool:
        """Whether something is written that exists already and keeps its identity."""
        return self.manner is Manner.UPDATE or is_nbd(self.to) or is_device(self.to)

    @property
    def is_directory(self) -> bool:
        """Whether images get their names from their disks."""
        return not self.is_onto and (self.to.endswith("/") or Path(self.to).is_dir())


def is_device(to: str, /) -> bool:
    """Return whether `to` is a block device."""
    try:
        return stat.S_ISBLK(Path(to).stat().st_mode)
    except (OSError, ValueError):
        return False


def window_of(span: str | None, /, *, size: ByteCount) -> ExtentSet:
    """Return the bytes that `START-END` names of a disk: `1MiB-3MiB`, `4096-8192`, `1GiB-`.

    Raises:
        InputRefusedError: it names none, or none of this disk's.
    """
    if span is None:
        return ExtentSet.whole(size)
    match = re.fullmatch(r"([^-]*)-([^-]*)", span)
    start = None if match is None else _amount(match[1] or "0")
    end = None if match is None else (_amount(match[2]) if match[2].strip() else int(size))
    if start is None or end is None:
        raise InputRefusedError(f"{span!r} is no range", "write it like 1MiB-3MiB or 4096-8192")
    if not start < end <= size:
        raise InputRefusedError(
            f"the range {span} is empty or leaves the disk", f"the disk has {size} bytes"
        )
    return ExtentSet.of([(start, end)])


def _amount(text: str) -> int | None:
    """Return how many bytes `text` says, in binary units; None where it says nothing."""
    match = re.fullmatch(r"\s*(\d{1,20}(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if match is None:
        return None
    if "." not in match[1]:
        return int(match[1]) * _UNITS[match[2].upper()]
    return int(float(match[1]) * _UNITS[match[2].upper()])


def refuse_size(name: str, room: ByteCount, needed: int, /) -> InputRefusedError:
    """Return why a target of another size cannot be written."""
    return InputRefusedError(
        f"{name} has {room} bytes ({sized(room)}), and {needed} are to be restored",
        "name a target of that size",
    )
