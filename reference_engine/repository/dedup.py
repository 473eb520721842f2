"""Finding a block that is stored already, in any point or earlier in the same run.

Not finding one costs space only, so memory is bounded: of more blocks than `KEYS_MAX` the ones
that were stored last are known.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.repository.block_map import DIGEST_SIZE, Digests, Places

KEYS_MAX: Final = 1 << 23
"""Known blocks, 32 bytes each: 512 GiB of different blocks of 64 KiB, 256 MiB of memory."""

MERGED_MAX: Final = 1 << 18
"""Runs larger than this are not merged: merging takes memory, and forgetting goes run by run."""

RECENT_MAX: Final = 1 << 12
"""Blocks of the run that are looked up one by one before they are sorted in."""

Halves = npt.NDArray[np.uint64]

PlaceRow = tuple[int, int, int, int]
"""Pack number, offset and stored length of a frame, offset inside what it holds."""


class _Run:
    """Blocks in the order of their digests' first halves."""

    def __init__(self, heads: Halves, tails: Halves, places: Places, /) -> None:
        self.heads, self.tails, self.places = heads, tails, places

    @classmethod
    def sorted(cls, digests: Digests, places: Places, /) -> "_Run":
        """Return a run of blocks in any order."""
        keys = np.ascontiguousarray(digests).view(np.uint64)
        order = np.argsort(keys[:, 0], kind="stable")
        return cls(keys[order, 0], keys[order, 1], places[order])

    def merged(self, other: "_Run", /) -> "_Run":
        """Return one run of the blocks of both; of two that are equal, this one's comes first."""
        heads = np.concatenate((self.heads, other.heads))
        order = np.argsort(heads, kind="stable")
        tails = np.concatenate((self.tails, other.tails))[order]
        return _Run(heads[order], tails, np.concatenate((self.places, other.places))[order])

    def __len__(self) -> int:
        return len(self.heads)

    def find(self, digests: Digests) -> tuple[npt.NDArray[np.bool_], Places]:
        """Return for each digest whether a block has it, and the places of those that have."""
        keys = np.ascontiguousarray(digests).view(np.uint64)
        # Of several blocks that share half a digest only the first is looked at.
        at = np.minimum(np.searchsorted(self.heads, keys[:, 0]), len(self.heads) - 1)
        found = (self.heads[at] == keys[:, 0]) & (self.tails[at] == keys[:, 1])
        return found, self.places[at[found]]


class KnownBlocks:
    """Where blocks of known digests are stored."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._recent: dict[bytes, PlaceRow] = {}

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs) + len(self._recent)

    def learn(self, digests: Digests, places: Places, /) -> None:
        """Know these blocks too; the ones learnt first are forgotten first."""
        if len(digests):
            self._runs.append(_Run.sorted(digests, places))
        # Every block is merged a few times, and every search looks at a few runs only.
        while len(self._runs) > 1 and (
            len(self._runs[-2]) <= min(2 * len(self._runs[-1]), MERGED_MAX)
        ):
            last = self._runs.pop()
            self._runs[-1] = self._runs[-1].merged(last)
        while len(self._runs) > 1 and len(self) > KEYS_MAX:
            del self._runs[0]

    def remember(self, digests: Digests, places: Places, /) -> None:
        """Let later blocks of these digests refer to `places`; cheaper than `learn` for a few."""
        rows: list[PlaceRow] = list(map(tuple, places.tolist()))
        self._recent.update(zip(_keys(digests), rows, strict=True))
        if len(self._recent) >= RECENT_MAX:
            raw = np.frombuffer(b"".join(self._recent), np.uint8).reshape(-1, DIGEST_SIZE)
            rows = list(self._recent.values())
            self._recent = {}
            self.learn(raw, np.array(rows, np.uint32))

    def find(self, digests: Digests, /) -> tuple[npt.NDArray[np.bool_], Places]:
        """Return for each digest whether a block has it, and a place where it is stored."""
        found = np.zeros(len(digests), np.bool_)
        places = np.zeros((len(digests), 4), np.uint32)
        for run in self._runs:
            here, rows = run.find(digests)
            if len(rows):
                places[here] = rows
                found |= here
        if self._recent:
            recent = self._recent
            for at, key in enumerate(_keys(digests)):
                if key in recent and not found[at]:
                    found[at], places[at] = True, recent[key]
        return found, places


def _keys(digests: Digests) -> list[bytes]:
    """Return each digest as bytes."""
    raw = digests.tobytes()
    return [raw[at : at + DIGEST_SIZE] for at in range(0, len(raw), DIGEST_SIZE)]
