"""Durations and sizes as people write them: `"1h30m"`, `"250 ms"`, `"64 MiB"`."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from reference_engine.model.units import (
    GIB,
    HOUR,
    KIB,
    MIB,
    MILLISECOND,
    MINUTE,
    SECOND,
)

_TIMES: Final = {"ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": 24 * HOUR}
_SIZES: Final = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": 1024 * GIB}
_TIME: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)\s*")
_LONGEST: Final = 36525 * 24 * HOUR
_SIZE: Final = re.compile(r"([0-9]{1,15})\s*(B|KiB|MiB|GiB|TiB)(?:\s*\+\s*([0-9]{1,15})\s*B)?")


def parse_duration(text: object, /) -> int:
    """Return microseconds.

    Raises:
        ValueError: no duration with a unit.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text == 0:
        return 0
    if isinstance(text, str):
        unsigned = text.strip().removeprefix("-")
        parts = _TIME.findall(unsigned)
        if parts and _TIME.sub("", unsigned) == "":
            total = sum(float(amount) * _TIMES[unit] for amount, unit in parts)
            if total > _LONGEST:
                raise ValueError("is more than a hundred years")
            return -round(total) if text.strip().startswith("-") else round(total)
    raise ValueError('should be a duration with a unit, such as "90s", "1h30m" or "250 ms"')


def parse_size(text: object, /) -> int:
    """Return bytes.

    Raises:
        ValueError: no size with a unit.
    """
    if isinstance(text, str):
        found = _SIZE.fullmatch(text.strip())
        if found is not None:
            return int(found[1]) * _SIZES[found[2]] + int(found[3] or 0)
    raise ValueError('should be a size with a unit, such as "64 MiB" or "64 MiB + 512 B"')


def write_duration(amount: int, /) -> str:
    """Return the shortest text that `parse_duration` reads as `amount` microseconds."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    for unit in ("h", "m", "s", "ms"):
        if amount and amount % _TIMES[unit] == 0:
            return f"{sign}{amount // _TIMES[unit]}{unit}"
    return f"{sign}{amount / MILLISECOND!r}ms" if amount else "0s"


def write_size(amount: int, /) -> str:
    """Return a text that `parse_size` reads as `amount` bytes."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if amount and amount % _SIZES[unit] == 0:
            return f"{amount // _SIZES[unit]} {unit}"
    return f"{amount} B"


TimeSpan = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(write_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*-?([0-9]+(\.[0-9]+)?\s*(ms|s|m|h|d)\s*)+$"},
                {"const": 0},
            ],
            "format": "duration with a unit",
            "examples": ["250ms", "90s", "1h30m"],
        },
        mode="validation",
    ),
]
"""Microseconds, written with a unit."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(write_size),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": (r"^\s*[0-9]{1,15}\s*(B|KiB|MiB|GiB|TiB)(\s*\+\s*[0-9]{1,15}\s*B)?\s*$"),
            "format": "size with a unit",
            "examples": ["64 KiB", "2 MiB", "2 MiB + 512 B"],
        },
        mode="validation",
    ),
]
"""Bytes, written with a unit."""
