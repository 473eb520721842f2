"""Sizes and percentages as people type them."""

import re
from typing import Final

from reference_engine.app.bench.images import SMALLEST
from reference_engine.app.output import sized
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import MIB, ByteCount

_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MOST: Final = ByteCount(1 << 42)


def disk_size(text: str, /) -> ByteCount:
    """Return a disk's size such as `1GiB`, rounded down to whole MiB.

    Raises:
        InputRefusedError: it is no size, or too small or too large for an image.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(?:i?B)?\s*", text, re.IGNORECASE)
    if match is None:
        raise InputRefusedError(f"{text!r} is no size", "write it like 512MiB or 4GiB")
    size = ByteCount(int(float(match[1]) * _UNITS[match[2].upper()]) // MIB * MIB)
    if not SMALLEST <= size <= _MOST:
        raise InputRefusedError(
            f"a disk of {text} cannot be made",
            f"choose from {sized(SMALLEST)} to {sized(_MOST)}",
        )
    return size


def fraction(text: str, /) -> float:
    """Return a percentage such as `5%` as a fraction.

    Raises:
        InputRefusedError: it is none, or negative.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", text)
    if match is None:
        raise InputRefusedError(f"{text!r} is no percentage", "write it like 5%")
    return float(match[1]) / 100
