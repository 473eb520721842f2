"""Packs that pages refer to: each is there, and reaches to the end of what is needed of it."""

from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import CorruptionError, TransientError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import PIECES, NameTable, Page, Places
from reference_engine.repository.ordered import distinct
from reference_engine.verification.block_keys import part_of
from reference_engine.verification.findings import ObjectFinding, Part, Problem


class PackSurvey:
    """The packs that were met in pages, by the numbers of one table of names."""

    def __init__(self, store: BlobStore, names: NameTable, /) -> None:
        self._store, self._names = store, names
        self._ends = np.zeros(1, np.int64)
        self._limits = np.zeros(1, np.int64)
        self.bases: dict[str, None] = {}
        """Packs that hold blocks that a point has whole, as the index speaks of them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The packs that the points refer to."""
        return self._names.names()

    @property
    def is_short(self) -> bool:
        """Whether a pack is missing, or ends too early."""
        return bool((self._limits < self._ends).any())

    def learn(self, page: Page, /) -> None:
        """Note what a page refers to."""
        grown = len(self.names) + 1 - len(self._ends)
        self._ends = np.concatenate((self._ends, np.zeros(grown, np.int64)))
        for places in (page.places, page.piece_places):
            np.maximum.at(self._ends, places[:, 0], _ends(places))
        numbers = page.numbers()
        used = distinct(page.places[numbers[page.overlaid[numbers] == 0], 0])
        self.bases.update((self._names.name(pack), None) for pack in used.tolist())

    async def measure(self) -> AsyncIterator[ObjectFinding]:
        """Yield every pack that does not reach to the end of the last frame that is needed."""
        grown = len(self.names) + 1 - len(self._ends)
        self._ends = np.concatenate((self._ends, np.zeros(grown, np.int64)))
        self._limits = np.full(len(self._ends), np.iinfo(np.int64).max)
        # A listing tells of a thousand packs what would else be a request for each.
        present = await self._store.sizes("packs/")
        for number, name in enumerate(self.names, 1):
            end = int(self._ends[number])
            problem, cause = Problem.MISSING, "it is missing"
            try:
                # One that is missing may be read all the same, from the parity of others.
                if name in present and present[name] >= end:
                    continue
                if end and await self._reaches(name, end):
                    continue
                self._limits[number] = 0
                if name in present:
                    self._limits[number] = await self._length(name, end)
                    problem, cause = Problem.DAMAGED, f"it ends at byte {self._limits[number]}"
            except TransientError as error:
                problem, cause = Problem.UNREADABLE, str(error)
            yield ObjectFinding(object=name, problem=problem, cause=cause)

    async def _reaches(self, name: str, end: int) -> bool:
        """Return whether the object has `end` bytes at least."""
        try:
            await self._store.read_range(name, offset=max(end - 1, 0), length=min(end, 1))
        except CorruptionError:
            return False
        return True

    async def _length(self, name: str, end: int) -> int:
        """Return how long the object is, given that it is shorter than `end`."""
        low, high = 0, end
        while high - low > 1:
            middle = (low + high) // 2
            if await self._reaches(name, middle):
                low = middle
            else:
                high = middle
        return low

    def beyond(self, page: Page, /) -> npt.NDArray[np.bool_]:
        """Return for each block of a page whether a frame of it lies where its pack has ended."""
        found: npt.NDArray[np.bool_] = _ends(page.places) > self._limits[page.places[:, 0]]
        pieces = _ends(page.piece_places) > self._limits[page.piece_places[:, 0]]
        np.logical_or.at(found, page.piece_keys // PIECES, pieces)
        return found

    def in_part(self, page: Page, part: Part, /) -> npt.NDArray[np.bool_]:
        """Return for each pack number whether the pack's blocks belong to `part`."""
        chosen = np.zeros(len(self.names) + 1, np.bool_)
        for pack in distinct(page.places[:, 0]).tolist():
            chosen[pack] = pack and part_of(self._names.name(pack), count=part.count) == part.number
        return chosen


def _ends(places: Places) -> npt.NDArray[np.int64]:
    ends: npt.NDArray[np.int64] = places[:, 1].astype(np.int64) + places[:, 2]
    return ends
