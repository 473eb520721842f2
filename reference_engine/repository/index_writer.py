"""What a run tells later ones about the blocks that it stored, portion by portion.

A portion speaks of durable packs only and is published as the run goes, so that the blocks of a run
that was killed are found by the next one instead of being stored again. From the moment at which a
portion is on its way others may build on its packs: they are never deleted by their own run.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import RefusedError, TransientError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import Digests, NameTable, Places
from reference_engine.repository.codec import COMMITTED_PORTION, INDEX, index_name
from reference_engine.repository.ordered import absent, distinct
from reference_engine.repository.pages import encode_segment
from reference_engine.repository.publish import publish_own

PORTION_PACKS: Final = 16
"""So many packs make a portion; the first ones are of 1, 2, 4 and 8, for short runs' sake."""


class IndexWriter:
    """The index of one session."""

    def __init__(
        self,
        store: BlobStore,
        key: bytes,
        names: NameTable,
        /,
        *,
        session: str,
        kind: str = INDEX,
    ) -> None:
        self._store, self._key, self._names = store, key, names
        self._session, self._kind = session, kind
        self._added: list[tuple[Digests, Places]] = []
        self._own = 0
        self._packs_told = 0
        self.spoken_of: set[int] = set()
        """Numbers of the packs that a portion speaks of, or may speak of."""

    def add(self, digests: Digests, places: Places, /) -> None:
        """Take whole blocks, or anchors, that were stored."""
        self._added.append((digests, places))

    async def publish_due(self, durable: list[int], /) -> None:
        """Publish a portion if enough packs became durable; `durable` has all that are."""
        if len(durable) - self._packs_told >= min(1 << self._own, PORTION_PACKS):
            self._packs_told = len(durable)
            await self._publish(np.array(durable, np.uint32))

    async def publish_rest(self, durable: list[int], /) -> None:
        """Publish what is left of it, under a number that tells that the run's commit stands."""
        await self._publish(np.array(durable, np.uint32), number=COMMITTED_PORTION)

    async def _publish(self, durable: npt.NDArray[np.uint32], *, number: int | None = None) -> None:
        """Publish what is known of durable packs.

        Nothing but space depends on it, so a failure is nobody's concern: its blocks are part of
        the next portion.
        """
        if not self._added:
            return
        digests = np.concatenate([digests for digests, _ in self._added])
        places = np.concatenate([places for _, places in self._added])
        told = ~absent(places[:, 0], np.sort(durable))
        self._added = [(digests[~told], places[~told])] if not told.all() else []
        if not told.any():
            return
        # A create that failed may land later, so the packs stay and the number is used up.
        self.spoken_of.update(distinct(places[told, 0]).tolist())
        if number is None:
            number = self._own = self._own + 1
        content = encode_segment(self._key, digests[told], places[told], self._names)
        try:
            await publish_own(
                self._store, index_name(self._session, number, kind=self._kind), content
            )
        except (TransientError, RefusedError):
            self._added.append((digests[told], places[told]))
