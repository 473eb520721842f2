"""Units: every number that crosses a function boundary says what it counts."""

from typing import NewType

ByteCount = NewType("ByteCount", int)
"""Bytes; never negative."""

Instant = NewType("Instant", int)
"""Microseconds on one clock. Instants of two different clocks are never compared."""

Duration = NewType("Duration", int)
"""Microseconds between two instants of one clock."""

MILLISECOND = Duration(1_000)
SECOND = Duration(1_000_000)
MINUTE = Duration(60_000_000)
HOUR = Duration(3_600_000_000)

KIB = ByteCount(1 << 10)
MIB = ByteCount(1 << 20)
GIB = ByteCount(1 << 30)


def seconds(amount: float) -> Duration:
    """Return `amount` seconds as a whole number of microseconds."""
    return Duration(round(amount * SECOND))
