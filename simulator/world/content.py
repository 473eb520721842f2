"""The bytes of a cell: a pure function of the disk, the cell and the stamp."""

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount
from simulator.world.stamps import NEVER_WRITTEN, TRIMMED, Cells, StampImage, Stamps

_U: Final = np.uint64
_WORDS: Final = 64
"""Distinct words in a cell's pattern; repeated, they let content compress as a guest's does."""


class Underlay(Protocol):
    """What lies under cells that the simulated guest never wrote: a real disk image."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly `length` bytes from `offset`."""


_STEPS: Final = np.arange(1, _WORDS, dtype=_U) * _U(0x9E3779B97F4A7C15)


def _mixed(words: Stamps) -> Stamps:
    """Return `mix` of each word; numpy says nothing of arrays that overflow."""
    words = words + _U(0x9E3779B97F4A7C15)
    words ^= words >> _U(30)
    words *= _U(0xBF58476D1CE4E5B9)
    words ^= words >> _U(27)
    words *= _U(0x94D049BB133111EB)
    words ^= words >> _U(31)
    return words


class DiskContent:
    """How stamps of one disk become bytes. `size` in bytes may end inside the last cell."""

    def __init__(
        self, key: int, /, *, cell: ByteCount, size: ByteCount, underlay: Underlay | None
    ) -> None:
        self.key, self.cell, self.size, self.underlay = key, cell, size, underlay
        self.cells = -(-size // cell)
        self.real: list[range] = []
        """Cells of applications: what is written there has real bytes, kept by its stamp."""

        self.written: dict[int, bytes] = {}

    def resized(self, size: ByteCount, /) -> "DiskContent":
        """Return how the same stamps become bytes on a disk of another size."""
        other = DiskContent(self.key, cell=self.cell, size=size, underlay=self.underlay)
        other.real, other.written = self.real, self.written
        return other

    def _veil(self, cells: Cells) -> Stamps:
        return _mixed(cells.astype(_U) * _U(0xD1342543DE82EF95) ^ _U(self.key))

    def expand(self, cells: Cells, stamps: Stamps, /) -> npt.NDArray[np.uint8]:
        """Return the bytes of whole cells, shape (number of cells, cell size)."""
        heads = self._veil(cells) ^ stamps
        repeats = -(-self.cell // (8 * _WORDS))
        words = np.empty((len(cells), repeats, _WORDS), _U)
        words[:, :, 0] = heads[:, None]
        words[:, :, 1:] = _mixed(heads[:, None] + _STEPS)[:, None, :]
        out = words.reshape(len(cells), repeats * _WORDS).view(np.uint8)[:, : self.cell]
        trimmed = (stamps >= _U(TRIMMED)).nonzero()[0]
        if len(trimmed):
            out[trimmed] = 0
        bare = (stamps == NEVER_WRITTEN).nonzero()[0]
        if len(bare):
            if self.underlay is None:
                out[bare] = 0
            else:
                self._lay_under(out, bare, cells)
        for part in self.real:
            for row in np.flatnonzero((cells >= part.start) & (cells < part.stop)).tolist():
                real = self.written.get(int(stamps[row]))
                if real is not None:
                    out[row] = np.frombuffer(real, np.uint8)
        return out

    def _lay_under(
        self, out: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], cells: Cells
    ) -> None:
        assert self.underlay is not None
        at = 0
        while at < len(rows):
            end = at + 1
            while end < len(rows) and cells[rows[end]] == cells[rows[end - 1]] + 1:
                end += 1
            start = int(cells[rows[at]]) * self.cell
            length = min((end - at) * self.cell, self.size - start)
            raw = np.zeros((end - at) * self.cell, np.uint8)
            raw[:length] = np.frombuffer(self.underlay.read(start, length), np.uint8)
            out[rows[at:end]] = raw.reshape(-1, self.cell)
            at = end

    def read(self, image: StampImage, start: int, end: int, /) -> bytes:
        """Return the bytes `[start, end)` of the disk as `image` has it."""
        assert 0 <= start < end <= self.size, (start, end, self.size)
        first = start // self.cell
        cells = np.arange(first, -(-end // self.cell))
        raw = self.expand(cells, image.read(cells)).reshape(-1)
        return raw[start - first * self.cell : end - first * self.cell].tobytes()

    def read_all(self, image: StampImage, extents: ExtentSet, /) -> npt.NDArray[np.uint8]:
        """Return the bytes of `extents`, one range after the other."""
        cells = extents.pieces(self.cell)
        raw = self.expand(cells, image.read(cells)).reshape(-1)
        if not (extents.bounds.ravel()[:-1] % self.cell).any():
            return raw[: extents.total]  # whole cells, but perhaps the last one
        parts = [np.empty(0, np.uint8)]
        for start, end in extents.bounds.tolist():
            at = int(cells.searchsorted(start // self.cell)) * self.cell + start % self.cell
            parts.append(raw[at : at + end - start])
        return np.concatenate(parts)
