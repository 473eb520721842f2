"""Long durations as people write them: `30d`, `12h`, `1y2w`."""

import re
from typing import Final

from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import HOUR, Duration

_HOURS: Final = {"h": 1, "d": 24, "w": 24 * 7, "y": 24 * 365}
_WRITTEN: Final = re.compile(r"(?:[0-9]{1,6}[hdwy])+")
_PART: Final = re.compile(r"([0-9]+)([hdwy])")
_LONGEST: Final = Duration(1000 * 24 * 365 * HOUR)


def parse_duration(text: str, option: str, /) -> Duration:
    """Return what `text`, given for `option`, says: hours, days, weeks and years of 365 days.

    Raises:
        InputRefusedError: it says nothing like that.
    """
    if not _WRITTEN.fullmatch(text):
        raise InputRefusedError(
            f"{option} is {text!r}, which is no duration", "write it like 12h, 30d, 8w or 1y"
        )
    hours = sum(int(count) * _HOURS[unit] for count, unit in _PART.findall(text))
    if hours * HOUR > _LONGEST:
        raise InputRefusedError(f"{option} is {text}", "at most 1000y is possible")
    return Duration(hours * HOUR)


def write_duration(duration: Duration, /) -> str:
    """Return a duration of whole hours in one unit."""
    hours = duration // HOUR
    unit = next(unit for unit in "ywdh" if hours % _HOURS[unit] == 0)
    return f"{hours // _HOURS[unit]}{unit}"
