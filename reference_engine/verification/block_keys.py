"""Blocks told apart by content and place, so that each is read once however many points have it."""

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.repository.block_map import PIECES, Page, Places
from reference_engine.repository.ordered import distinct

Keys = npt.NDArray[np.uint64]
"""One number a block: different content or another place makes another one, but for one in 2^64."""

_ODD: Final = tuple(
    np.uint64(each)
    for each in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
)


def block_keys(page: Page, /) -> Keys:
    """Return the keys of the page's blocks that are no holes, in the order of `page.numbers()`."""
    numbers = page.numbers()
    digests = np.ascontiguousarray(page.digests[numbers]).view(np.uint64)
    keys = digests[:, 0] ^ (digests[:, 1] * _ODD[0]) ^ _mixed(page.places[numbers])
    if len(page.piece_keys):
        every = np.zeros(len(page.places), np.uint64)
        every[numbers] = keys
        pieces = _mixed(page.piece_places) * ((page.piece_keys % PIECES).astype(np.uint64) * 2 + 3)
        np.bitwise_xor.at(every, page.piece_keys // PIECES, pieces)
        keys = every[numbers]
    return keys


def _mixed(places: Places) -> Keys:
    wide = places.astype(np.uint64)
    mixed: Keys = (wide[:, 0] * _ODD[1]) ^ (wide[:, 1] * _ODD[2]) ^ (wide[:, 3] * _ODD[3])
    return (mixed ^ (mixed >> np.uint64(29))) * _ODD[0]


def part_of(pack: str, /, *, count: int) -> int:
    """Return to which of `count` parts a pack belongs, counted from 1."""
    return zlib.crc32(pack.encode()) % count + 1


class SeenBlocks:
    """Keys that were met: 8 bytes each, 128 MiB for a TiB of different blocks of 64 KiB."""

    def __init__(self) -> None:
        self._runs: list[Keys] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def has(self, keys: Keys, /) -> npt.NDArray[np.bool_]:
        """Return for each key whether it was met."""
        found = np.zeros(len(keys), np.bool_)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            found |= run[at] == keys
        return found

    def add(self, keys: Keys, /) -> None:
        """Meet these keys."""
        if not len(keys):
            return
        self._runs.append(distinct(keys))
        # Runs double in length, so that there are few of them and each key is moved seldom.
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs[-1] = distinct(np.concatenate((self._runs[-1], last)))
