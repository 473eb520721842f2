"""Comparing what a restore returned with the truth, byte for byte."""

from collections.abc import Callable
from typing import Final

import numpy as np
from blake3 import blake3

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId
from reference_engine.model.units import MIB, ByteCount
from simulator.oracle.evidence import DiskProof
from simulator.world.content import DiskContent
from simulator.world.stamps import StampImage

WINDOW: Final = 4 * MIB

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]

ReadRestored = Callable[[int, int], bytes | memoryview]
"""Returns the restored bytes `[start, end)`."""


def compare_disk(
    disk: DiskId,
    /,
    *,
    content: DiskContent,
    expected: StampImage,
    mask: ExtentSet,
    size: ByteCount,
    read: ReadRestored,
) -> DiskProof:
    """Return the proof for one disk; every byte of it is compared, zeros too."""
    wrong: list[tuple[int, int]] = []
    marked: list[tuple[int, int]] = []
    print_of = blake3()
    for start in range(0, max(size, content.size), WINDOW):
        end = min(start + WINDOW, size)
        truth = _truth(content, expected, start, max(min(start + WINDOW, content.size), start))
        raw = np.frombuffer(read(start, end), np.uint8) if end > start else truth[:0]
        print_of.update(raw.data)
        if len(raw) != len(truth):
            wrong.append((start + min(len(raw), len(truth)), start + max(len(raw), len(truth))))
            length = min(len(raw), len(truth))
            raw, truth = raw[:length], truth[:length]
        here = mask & ExtentSet.of([(start, start + len(raw))]) if len(raw) else EMPTY
        for first, last in here.bounds.tolist():
            truth[first - start : last - start] = 0
        if _same(raw, truth):
            continue
        masked = np.zeros(len(raw), bool)
        for first, last in here.bounds.tolist():
            masked[first - start : last - start] = True
        wrong += _ranges(start, (raw != truth) & ~masked)
        marked += _ranges(start, (raw != 0) & masked)
    return DiskProof(
        disk=disk,
        compared=size,
        wrong=ExtentSet.of(wrong),
        not_blank=ExtentSet.of(marked),
        fingerprint=print_of.hexdigest(length=16),
    )


def compare_bytes(
    content: DiskContent,
    expected: StampImage,
    extents: ExtentSet,
    raw: bytes,
    /,
    *,
    mask: ExtentSet,
) -> ExtentSet:
    """Return where the restored bytes of `extents`, one range after the other, are wrong.

    Inside the mask they have to be zeros.
    """
    truth = content.read_all(expected, extents)
    wrong: list[tuple[int, int]] = []
    at = 0
    read = np.frombuffer(raw, np.uint8)
    if not mask and raw == truth.tobytes():  # memory is compared at once
        return EMPTY
    for start, end in extents.bounds.tolist():
        here, whole = read[at:][: end - start], truth[at:][: end - start]
        at += end - start
        for first, last in (mask & ExtentSet.of([(start, end)])).bounds.tolist():
            whole[first - start : last - start] = 0
        wrong += _ranges(start, here != whole)
    return ExtentSet.of(wrong)


def _same(raw: Bytes, truth: Bytes) -> bool:
    """Return whether as many bytes are equal: eight at a time where that is possible."""
    if len(raw) % 8 == 0:
        return bool((raw.view(np.uint64) == truth.view(np.uint64)).all())
    return bool((raw == truth).all())


def fingerprint(size: ByteCount, read: ReadRestored, /) -> str:
    """Return the digest of a whole restored disk, as `compare_disk` makes it."""
    print_of = blake3()
    for start in range(0, size, WINDOW):
        print_of.update(read(start, min(start + WINDOW, size)))
    return print_of.hexdigest(length=16)


def _truth(content: DiskContent, expected: StampImage, start: int, end: int) -> Bytes:
    if end <= start:
        return np.empty(0, np.uint8)
    first = start // content.cell
    assert start % content.cell == 0, start
    cells = np.arange(first, -(-end // content.cell))
    flat: Bytes = content.expand(cells, expected.read(cells)).reshape(-1)[: end - start]
    return flat


def _ranges(start: int, flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(start + first, start + last) for first, last in edges.reshape(-1, 2).tolist()]
