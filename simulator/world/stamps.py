"""Disks of stamps: sparse pages, copy-on-write snapshots."""

from typing import Final

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.int64]
Stamps = npt.NDArray[np.uint64]

NEVER_WRITTEN: Final = 0
TRIMMED: Final = 1 << 63
"""Set in a stamp whose write was a trim: the cell reads as zeros."""

_ONE_PAGE: Final = 1 << 14
_PAGE: Final = 1 << 10


class StampImage:
    """The stamps of one disk at one instant; never changes."""

    __slots__ = ("cells", "page", "pages")

    def __init__(self, cells: int, pages: dict[int, Stamps], /) -> None:
        self.cells = cells
        self.page = cells if cells <= _ONE_PAGE else _PAGE
        self.pages = pages

    def read(self, cells: Cells, /) -> Stamps:
        """Return the stamps of `cells`, in their order."""
        if self.cells <= self.page:  # one page holds the whole disk: nothing to look up
            whole = self.pages.get(0)
            return np.zeros(len(cells), np.uint64) if whole is None else whole[cells]
        out = np.zeros(len(cells), np.uint64)
        if len(cells) == 0:
            return out
        first = int(cells.min()) // self.page
        if first == int(cells.max()) // self.page:
            page = self.pages.get(first)
            return out if page is None else page[cells - first * self.page]
        numbers = cells // self.page
        for number in np.unique(numbers).tolist():
            page = self.pages.get(number)
            if page is not None:
                chosen = numbers == number
                out[chosen] = page[cells[chosen] - number * self.page]
        return out

    def written(self) -> Cells:
        """Return the cells that were ever written, ascending."""
        parts = [
            self.pages[number].nonzero()[0] + number * self.page for number in sorted(self.pages)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def differs(self, other: "StampImage", /) -> Cells:
        """Return the cells in which the two images differ, ascending; sizes may differ too."""
        assert self.page == other.page or self.cells != other.cells
        if self.page != other.page:
            count = max(self.cells, other.cells)
            return np.flatnonzero(self.padded(count) != other.padded(count))
        nothing = np.zeros(self.page, np.uint64)
        parts = []
        for number in sorted(self.pages.keys() | other.pages.keys()):
            mine = self.pages.get(number, nothing)
            theirs = other.pages.get(number, nothing)
            if mine is not theirs:
                parts.append(np.flatnonzero(mine != theirs) + number * self.page)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def padded(self, count: int, /) -> Stamps:
        """Return the stamps of `count` cells, of which those behind the end were never written."""
        stamps = np.zeros(count, np.uint64)
        stamps[: self.cells] = self.read(np.arange(self.cells))
        return stamps

    def overlaid(self, cells: Cells, stamps: Stamps, /) -> "StampImage":
        """Return this image with the stamps of `cells` replaced."""
        disk = StampDisk(self.cells)
        disk.pages = dict(self.pages)
        disk.write(cells, stamps)
        return disk.snapshot()


class StampDisk(StampImage):
    """A disk that is being written."""

    __slots__ = ("_owned",)

    def __init__(self, cells: int, /) -> None:
        super().__init__(cells, {})
        self._owned: set[int] = set()

    def snapshot(self) -> StampImage:
        """Return the disk as it is now; later writes do not reach it."""
        self._owned = set()
        return StampImage(self.cells, dict(self.pages))

    def write(self, cells: Cells, stamps: Stamps, /) -> None:
        """Give `cells`, each named once, their new stamps."""
        if len(cells) == 0:
            return
        if self.cells <= self.page:  # the disk ends with its page, so numpy keeps writes inside
            self._own(0)[cells] = stamps
            return
        last = int(cells.max())
        assert last < self.cells, "a write behind the end of the disk"
        first = int(cells.min()) // self.page
        if first == last // self.page:  # nearly every burst: no need to look which pages it has
            self._own(first)[cells - first * self.page] = stamps
            return
        numbers = cells // self.page
        for number in np.unique(numbers).tolist():
            chosen = numbers == number
            self._own(number)[cells[chosen] - number * self.page] = stamps[chosen]

    def _own(self, number: int) -> Stamps:
        """Return a page that no snapshot shares."""
        page = self.pages.get(number)
        if page is None:
            page = np.zeros(self.page, np.uint64)
        elif number not in self._owned:
            page = page.copy()
        self.pages[number] = page
        self._owned.add(number)
        return page
