"""The algebra of change maps: what has to be copied so that the base becomes the new image."""

from collections.abc import Iterable

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import ByteCount


def union(maps: Iterable[ExtentSet], /) -> ExtentSet:
    """Return every byte that any of the trackers saw written."""
    joined = EMPTY
    for one in maps:
        joined = joined | one
    return joined


def delta(*, tracked: ExtentSet, carried: ExtentSet, skew: ExtentSet, size: ByteCount) -> ExtentSet:
    """Return what an incremental copy has to read: never too little.

    `tracked`: written between the two tracker switches. `carried`: R of the base. `skew`: R of
    this run; it was written after the base's switch as well, so that a sound tracker has it
    already, but a copy that trusted it alone would mix two instants.
    """
    return (tracked | carried | skew).clipped(size)
