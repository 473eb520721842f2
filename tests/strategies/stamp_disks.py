"""Disks of stamps, small ones of one page and large ones of many, and what is written to them."""

import msgspec
import numpy as np
from hypothesis import strategies as st

from simulator.world.stamps import NEVER_WRITTEN, TRIMMED, Cells, Stamps

SIZES = (1, 7, 300, (1 << 14) + 5)
"""Disks in cells: the largest is kept in pages."""


class StampWrite(msgspec.Struct, frozen=True, kw_only=True):
    """Cells, each named once, and their stamps."""

    cells: Cells
    stamps: Stamps

    def as_pairs(self) -> dict[int, int]:
        """Return the stamp of each cell."""
        return dict(zip(self.cells.tolist(), self.stamps.tolist(), strict=True))


def stamps() -> st.SearchStrategy[int]:
    """Stamps of writes and trims, never the one that means that nothing was written."""
    written = st.integers(NEVER_WRITTEN + 1, 1 << 40)
    return written | written.map(lambda stamp: stamp | TRIMMED)


@st.composite
def stamp_writes(draw: st.DrawFn, cells: int) -> StampWrite:
    """Writes of a few cells, mostly at the ends of pages and of the disk."""
    edges = [at for at in (0, 1023, 1024, 2047, cells - 1) if at < cells]
    places = st.sampled_from(edges) | st.integers(0, cells - 1)
    chosen = draw(st.lists(places, unique=True, max_size=6))
    values = [draw(stamps()) for _ in chosen]
    return StampWrite(cells=np.array(chosen, np.int64), stamps=np.array(values, np.uint64))


def histories(cells: int) -> st.SearchStrategy[list[StampWrite]]:
    """Writes to one disk, in order."""
    return st.lists(stamp_writes(cells), max_size=6)
