"""Finding a block that is stored already: in the base point, or earlier in the same run.

Not finding one costs space only, so the memory of a run's own blocks may be bounded.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.repository.block_map import BlockMap, Digests

RECENT_MAX: Final = 1 << 19
"""Blocks of a run that each of two generations remembers; some 100 MiB in all."""

PlaceRow = tuple[int, int, int]
"""Pack number, offset, stored length."""


class BaseIndex:
    """Every block of the base point, of whatever disk, found by digest."""

    def __init__(self, maps: Iterable[BlockMap], /) -> None:
        digests: list[Digests] = [np.empty((0, 16), np.uint8)]
        places = [np.empty((0, 3), np.uint32)]
        for blocks in maps:
            numbers = blocks.numbers()
            digests.append(blocks.digests[numbers])
            columns = (blocks.packs, blocks.offsets, blocks.stored)
            places.append(np.stack([column[numbers] for column in columns], axis=1))
        keys = np.ascontiguousarray(np.concatenate(digests)).view(np.uint64)
        order = np.argsort(keys[:, 0], kind="stable")
        self._heads = keys[order, 0]
        self._tails = keys[order, 1]
        self._places = np.concatenate(places)[order]

    def find(self, digests: Digests, /) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint32]]:
        """Return for each digest whether a block has it, and a place where it is stored."""
        found = np.zeros(len(digests), np.bool_)
        places = np.zeros((len(digests), 3), np.uint32)
        if len(self._heads) == 0:
            return found, places
        keys = digests.view(np.uint64)
        # Of several blocks that share half a digest only the first is looked at.
        at = np.minimum(np.searchsorted(self._heads, keys[:, 0]), len(self._heads) - 1)
        found = (self._heads[at] == keys[:, 0]) & (self._tails[at] == keys[:, 1])
        places[found] = self._places[at[found]]
        return found, places


class RecentBlocks:
    """The blocks that this run stored last."""

    def __init__(self) -> None:
        self._young: dict[bytes, PlaceRow] = {}
        self._old: dict[bytes, PlaceRow] = {}

    def find(self, digest: bytes, /) -> PlaceRow | None:
        """Return where a block of this digest was stored."""
        return self._young.get(digest) or self._old.get(digest)

    def remember(self, digest: bytes, place: PlaceRow, /) -> None:
        """Let later blocks of this digest refer to `place`."""
        if len(self._young) >= RECENT_MAX:
            self._old, self._young = self._young, {}
        self._young[digest] = place
