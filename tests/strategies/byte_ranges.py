"""Ranges of bytes of a small disk, and the Python sets that they stand for."""

from hypothesis import strategies as st

from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount

MOST = 200
"""No range of these tests reaches behind this byte."""

Ranges = list[tuple[int, int]]


def ranges(most: int = MOST) -> st.SearchStrategy[Ranges]:
    """Half-open ranges inside `[0, most)` in any order, empty and overlapping ones too."""
    edges = st.tuples(st.integers(0, most), st.integers(0, most))
    return st.lists(edges.map(lambda pair: (min(pair), max(pair))), max_size=8)


def extent_sets(most: int = MOST) -> st.SearchStrategy[ExtentSet]:
    """Sets of bytes inside `[0, most)`."""
    return ranges(most).map(ExtentSet.of)


def disk_sizes(most: int = MOST) -> st.SearchStrategy[ByteCount]:
    """Sizes of disks, most of them no multiple of anything."""
    return st.integers(1, most).map(ByteCount)


def piece_sizes() -> st.SearchStrategy[ByteCount]:
    """Sizes of the pieces into which somebody cuts a disk."""
    return st.integers(1, 32).map(ByteCount)


def members(extents: ExtentSet) -> set[int]:
    """Return the bytes of an extent set one by one."""
    return {byte for part in extents for byte in range(part.offset, part.end)}
