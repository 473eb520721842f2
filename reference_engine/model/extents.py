"""Byte ranges of a virtual disk, and the algebra of sets of them.

Change maps, skew sets and transfer plans are all sets of byte ranges; trackers, guests and
repositories each cut a disk into other pieces, and bytes are what they have in common.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from reference_engine.model.units import ByteCount

Bounds = npt.NDArray[np.int64]
"""Shape (n, 2): start and end of each range, ascending, disjoint, not touching."""


_FEW: Final = 24
"""So many ranges are joined one by one in the time that arrays take for any number of them."""


class Extent(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """The bytes `[offset, offset + length)` of a virtual disk."""

    offset: ByteCount
    length: ByteCount

    @property
    def end(self) -> ByteCount:
        """The first byte behind the extent."""
        return ByteCount(self.offset + self.length)


class ExtentSet:
    """An immutable set of bytes of one disk, held as disjoint ascending ranges."""

    __slots__ = ("_bounds",)

    def __init__(self, bounds: Bounds, /) -> None:
        """Take `bounds` as they are: ascending, disjoint, not touching, of shape (n, 2)."""
        assert bounds.ndim == 2, bounds.shape
        assert bounds.shape[1] == 2, bounds.shape
        self._bounds = bounds
        self._bounds.flags.writeable = False

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]], /) -> "ExtentSet":
        """Return the union of `[start, end)` ranges, given in any order, overlapping or not."""
        listed = [(start, end) for start, end in ranges if end > start]
        if not listed:
            return EMPTY
        if len(listed) <= _FEW:
            return cls(_joined(listed))
        return cls(_coalesce(np.array(listed, np.int64)))

    @classmethod
    def whole(cls, size: ByteCount, /) -> "ExtentSet":
        """Return every byte of a disk of `size`."""
        return cls(np.array([(0, size)], np.int64)) if size > 0 else EMPTY

    @classmethod
    def of_pieces(
        cls, pieces: npt.NDArray[np.int64], /, *, piece: ByteCount, size: ByteCount
    ) -> "ExtentSet":
        """Return the bytes of the `pieces` (ascending unique numbers, each `piece` bytes long).

        The last piece of a disk whose `size` is no multiple of `piece` ends with the disk.
        """
        if len(pieces) == 0:
            return EMPTY
        breaks = (pieces[1:] - pieces[:-1] != 1).nonzero()[0]
        bounds = np.empty((len(breaks) + 1, 2), np.int64)
        starts, ends = bounds[:, 0], bounds[:, 1]
        starts[0], ends[-1] = pieces[0], pieces[-1]
        starts[1:], ends[:-1] = pieces[breaks + 1], pieces[breaks]
        ends += 1
        bounds *= piece
        np.minimum(ends, size, out=ends)
        return cls(bounds)

    @property
    def bounds(self) -> Bounds:
        """The ranges as an array of shape (n, 2), not writable."""
        return self._bounds

    @property
    def total(self) -> ByteCount:
        """How many bytes the set holds."""
        return ByteCount(int(np.add.reduce(self._bounds[:, 1] - self._bounds[:, 0])))

    def __iter__(self) -> Iterator[Extent]:
        for start, end in self._bounds.tolist():
            yield Extent(offset=ByteCount(start), length=ByteCount(end - start))

    def __len__(self) -> int:
        return len(self._bounds)

    def __bool__(self) -> bool:
        return len(self._bounds) > 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExtentSet) and np.array_equal(self._bounds, other._bounds)

    def __hash__(self) -> int:
        return hash(self._bounds.tobytes())

    def __repr__(self) -> str:
        return f"ExtentSet.of({[tuple(pair) for pair in self._bounds.tolist()]})"

    def __or__(self, other: "ExtentSet") -> "ExtentSet":
        if not other:
            return self
        if not self:
            return other
        return ExtentSet(_coalesce(np.concatenate((self._bounds, other._bounds))))

    def __and__(self, other: "ExtentSet") -> "ExtentSet":
        if not self or not other:
            return EMPTY
        # One window of a disk is often cut out of all that changed on it.
        if len(other._bounds) == 1:
            return _cut(self, *other._bounds[0].tolist())
        if len(self._bounds) == 1:
            return _cut(other, *self._bounds[0].tolist())
        low = max(self._bounds[0, 0], other._bounds[0, 0])
        high = min(self._bounds[-1, 1], other._bounds[-1, 1])
        return _sweep(_between(self, low, high), _between(other, low, high), depth=2)

    def __sub__(self, other: "ExtentSet") -> "ExtentSet":
        if not self or not other:
            return self
        end = int(max(self._bounds[-1, 1], other._bounds[-1, 1]))
        return self & other.complement(ByteCount(end))

    def __le__(self, other: "ExtentSet") -> bool:
        if len(self._bounds) and len(other._bounds) == 1:
            [(low, high)] = other._bounds.tolist()
            return bool(low <= self._bounds[0, 0] and self._bounds[-1, 1] <= high)
        return not self - other

    def complement(self, size: ByteCount, /) -> "ExtentSet":
        """Return the bytes of `[0, size)` outside this set; nothing of it lies behind `size`."""
        edges = np.concatenate(([0], self._bounds.ravel(), [size])).reshape(-1, 2)
        return ExtentSet(edges[edges[:, 1] > edges[:, 0]])

    def clipped(self, size: ByteCount, /) -> "ExtentSet":
        """Return the part of this set that lies in `[0, size)`."""
        return self & ExtentSet.whole(size)

    def aligned(self, piece: ByteCount, /, *, size: ByteCount) -> "ExtentSet":
        """Return the smallest set of whole pieces that covers this set, ended by the disk."""
        if not self:
            return self
        widened = np.empty_like(self._bounds)
        widened[:, 0] = self._bounds[:, 0] // piece * piece
        widened[:, 1] = np.minimum(-(-self._bounds[:, 1] // piece) * piece, size)
        return ExtentSet(_coalesce(widened))

    def pieces(self, piece: ByteCount, /) -> npt.NDArray[np.int64]:
        """Return the ascending numbers of the pieces of `piece` bytes that the set touches."""
        if not self:
            return np.empty(0, np.int64)
        if len(self._bounds) == 1:
            [(start, end)] = self._bounds.tolist()
            return np.arange(start // piece, -(-end // piece))
        first = self._bounds[:, 0] // piece
        counts = -(-self._bounds[:, 1] // piece) - first
        ends = counts.cumsum()
        found = (first - ends + counts).repeat(counts)
        found += np.arange(len(found))
        # Ranges are disjoint, so only neighbours can share a piece.
        again = (found[1:] == found[:-1]).nonzero()[0]
        return np.delete(found, again) if len(again) else found

    def windows(self, most: ByteCount, /) -> Iterator["ExtentSet"]:
        """Yield the set in ascending parts of at most `most` bytes each."""
        gathered: list[tuple[int, int]] = []
        room = int(most)
        for start, end in self._bounds.tolist():
            at = start
            while at < end:
                take = min(end - at, room)
                gathered.append((at, at + take))
                at += take
                room -= take
                if room == 0:
                    yield ExtentSet(np.array(gathered, np.int64))
                    gathered, room = [], int(most)
        if gathered:
            yield ExtentSet(np.array(gathered, np.int64))


def _joined(ranges: Iterable[tuple[int, int]]) -> Bounds:
    """Return the union of a few ranges."""
    joined: list[list[int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return np.array(joined, np.int64).reshape(-1, 2)


def _coalesce(ranges: npt.NDArray[np.int64]) -> Bounds:
    if len(ranges) <= _FEW:
        return _joined(ranges.tolist())
    ordered = ranges[np.argsort(ranges[:, 0], kind="stable")]
    reach = np.maximum.accumulate(ordered[:, 1])
    opens = np.concatenate(([True], ordered[1:, 0] > reach[:-1]))
    starts = ordered[opens, 0]
    closes = np.concatenate((opens[1:], [True]))
    return np.stack((starts, reach[closes]), axis=1)


def _cut(whole: ExtentSet, low: int, high: int) -> ExtentSet:
    """Return what of the set lies in `[low, high)`."""
    bounds = whole.bounds
    first = int(bounds[:, 1].searchsorted(low, "right"))
    last = int(bounds[:, 0].searchsorted(high, "left"))
    if first >= last:
        return EMPTY
    part = bounds[first:last]
    if part[0, 0] < low or part[-1, 1] > high:
        part = part.copy()
        part[0, 0], part[-1, 1] = max(part[0, 0], low), min(part[-1, 1], high)
    return ExtentSet(part)


def _between(whole: ExtentSet, low: np.int64, high: np.int64) -> ExtentSet:
    """Return the ranges that reach into `[low, high)`, uncut."""
    bounds = whole.bounds
    first = np.searchsorted(bounds[:, 1], low, side="right")
    last = np.searchsorted(bounds[:, 0], high, side="left")
    return ExtentSet(bounds[first:last])


def _sweep(one: ExtentSet, other: ExtentSet, /, *, depth: int) -> ExtentSet:
    """Return the bytes that lie in `depth` of the two sets."""
    if not one or not other:
        return EMPTY
    edges = np.concatenate((one.bounds.ravel(), other.bounds.ravel()))
    steps = np.tile(np.array([1, -1]), len(edges) // 2)
    # At equal positions an end comes before a start, so that touching ranges do not overlap.
    order = np.lexsort((steps, edges))
    covered = np.cumsum(steps[order])
    places = edges[order]
    inside = np.flatnonzero(covered >= depth)
    if len(inside) == 0:
        return EMPTY
    return ExtentSet(_coalesce(np.stack((places[inside], places[inside + 1]), axis=1)))


EMPTY: Final = ExtentSet(np.empty((0, 2), np.int64))


def encode_extents(value: Any, /) -> Any:
    """Return `value` as plain data; the `enc_hook` of every encoder that meets an ExtentSet."""
    if isinstance(value, ExtentSet):
        return value.bounds.ravel().tolist()
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def decode_extents(kind: type, value: Any, /) -> Any:
    """Return an ExtentSet from what `encode_extents` made of it; the `dec_hook` of decoders.

    Raises:
        ValueError: the numbers are no ascending disjoint ranges.
    """
    if kind is not ExtentSet:
        raise NotImplementedError(f"cannot decode {kind.__name__}")
    if isinstance(value, list) and not value:
        return EMPTY
    edges = np.array(value, np.int64)
    if len(edges) % 2 or (len(edges) and edges[0] < 0) or (edges[1:] <= edges[:-1]).any():
        raise ValueError("byte ranges are not ascending and disjoint")
    return ExtentSet(edges.reshape(-1, 2)) if len(edges) else EMPTY
