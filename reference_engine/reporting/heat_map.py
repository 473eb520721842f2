"""Which blocks of a disk each point changed, reconciled and sent, as a small indexed PNG.

A column is a stretch of the disk, a row is a point. Where a stretch holds blocks of several
kinds, the rarest wins: reconciled before sent in vain before changed.
"""

import base64
import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.reporting.night import HeatPoint, HeatRow

COLUMNS_MOST: Final = 1024
UNCHANGED: Final = 0
CHANGED: Final = 1
SENT_UNCHANGED: Final = 2
RECONCILED: Final = 3
PALETTE: Final = bytes.fromhex("bbbbbb4477aaccbb44aa3377")
ALPHA: Final = bytes((0, 255, 255, 255))
"""Unchanged blocks let the page shine through, which suits a light and a dark page."""

Map = npt.NDArray[np.uint8]
"""One kind of block (a number above) for each point (row) and stretch of the disk (column)."""


def stretch_of(row: HeatRow, /) -> ByteCount:
    """Return how many bytes one column shows: a whole number of blocks."""
    blocks = -(-row.size // row.block)
    return ByteCount(-(-blocks // COLUMNS_MOST) * row.block)


def block_map(row: HeatRow, /) -> Map:
    """Return what the picture of this disk shows."""
    stretch = stretch_of(row)
    columns = max(-(-row.size // stretch), 1)
    drawn = np.zeros((len(row.points), columns), np.uint8)
    for number, point in enumerate(row.points):
        drawn[number, _touched(point.changed, stretch, columns)] = CHANGED
        drawn[number, _touched(sent_in_vain(point), stretch, columns)] = SENT_UNCHANGED
        drawn[number, _touched(point.reconciled, stretch, columns)] = RECONCILED
    return drawn


def sent_in_vain(point: HeatPoint, /) -> ExtentSet:
    """Return what was sent although it had neither changed nor needed reconciliation."""
    return point.sent - (point.changed | point.reconciled)


def _touched(extents: ExtentSet, stretch: ByteCount, columns: int) -> npt.NDArray[np.bool_]:
    bounds = extents.bounds
    steps = np.zeros(columns + 1, np.int64)
    np.add.at(steps, np.minimum(bounds[:, 0] // stretch, columns), 1)
    np.add.at(steps, np.minimum(-(-bounds[:, 1] // stretch), columns), -1)
    touched: npt.NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return touched


def png(drawn: Map, /) -> bytes:
    """Return the map as an indexed PNG, one pixel a cell.

    Source: Portable Network Graphics specification, third edition, sections 5 and 11.
    """
    height, width = drawn.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    # Each scan line starts with its filter type; 0 is none.
    lines = np.hstack((np.zeros((height, 1), np.uint8), drawn)).tobytes()
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"PLTE", PALETTE)
        + _chunk(b"tRNS", ALPHA)
        + _chunk(b"IDAT", zlib.compress(lines, 9))
        + _chunk(b"IEND", b"")
    )


def png_address(drawn: Map, /) -> str:
    """Return the map's PNG as an address that holds it whole."""
    return "data:image/png;base64," + base64.b64encode(png(drawn)).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
