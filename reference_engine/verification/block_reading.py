"""Blocks of packs read and checked: every frame once for as many blocks as need it.

Points of one machine share most of what they are made of. Block after block of one point after the
other, a frame would be read and decompressed again for each point; so blocks of several points are
read together, in the order in which they lie in packs.
"""

import operator
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.model.identity import DiskId, RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.assembling import Assembler
from reference_engine.repository.block_map import NameTable, Page, PageRow
from reference_engine.repository.fetching import Batch, Batches, Frame, Unread, Wanted
from reference_engine.repository.frames import BATCH_FRAMES, Frames
from reference_engine.repository.header import Header
from reference_engine.verification.block_keys import Keys

PAGES_AT_ONCE: Final = 32
"""So many points' pages of one part of a disk are in memory: some 2 MiB."""


class StoredPage(NamedTuple):
    """A page as the first point has it that was met with it."""

    point: RecoveryPointId
    disk: DiskId
    size: ByteCount
    number: int
    name: str
    row: PageRow


class Asked(NamedTuple):
    """Blocks of a page that are to be read: those of `page.numbers()` that are fresh."""

    stored: StoredPage
    page: Page
    keys: Keys
    fresh: npt.NDArray[np.bool_]


class Looked(NamedTuple):
    """What came of some blocks: which of them are not right."""

    blocks: tuple[Wanted, ...]
    wrong: tuple[Wanted, ...]

    @property
    def length(self) -> ByteCount:
        """How many bytes they have."""
        return ByteCount(sum(each.length for each in self.blocks))


def groups(pages: Sequence[StoredPage], /) -> Iterator[Sequence[StoredPage]]:
    """Yield pages, those of one part of a disk together: they share most of their frames."""
    together: dict[tuple[DiskId, int], list[StoredPage]] = {}
    for stored in pages:
        together.setdefault((stored.disk, stored.number), []).append(stored)
    for several in together.values():
        for start in range(0, len(several), PAGES_AT_ONCE):
            yield several[start : start + PAGES_AT_ONCE]


class BlockReading:
    """Reads blocks of any points; `packs` has the names of their packs."""

    def __init__(
        self, store: BlobStore, header: Header, packs: NameTable, /, *, executor: Executor
    ) -> None:
        self._executor = executor
        self._frames = Frames(store, packs, executor=executor)
        self._assembler = Assembler(header.key, block_size=header.block_size)

    async def look(self, wanted: Sequence[Wanted], /) -> AsyncIterator[Looked]:
        """Yield what came of these blocks, some at a time; reading was tried once.

        Raises:
            TransientError: the store failed, which says nothing about the blocks.
        """
        batches = Batches(frames_max=BATCH_FRAMES)
        for each in sorted(wanted, key=operator.attrgetter("base", "at")):
            full = batches.add(each)
            if full is not None:
                yield await self._looked(full)
        yield await self._looked(batches.taken())

    async def _looked(self, batch: Batch) -> Looked:
        at_once: dict[Frame, list[Wanted]] = {}
        later: list[Wanted] = []
        held = self._frames.held
        for each in batch.blocks:
            if each.pieces or each.base in held:
                later.append(each)
            else:
                at_once.setdefault(each.base, []).append(each)

        def wrong_of(frame: Frame, content: bytes | Unread) -> list[Wanted]:
            return self._assembler.wrong(at_once.get(frame, ()), {frame: content})

        wrong = await self._frames.have_and(batch.frames, wrong_of)
        half = -(-len(later) // 2)
        wrong += await self._executor.offload_all(
            [
                lambda part=part: self._assembler.wrong(part, held)  # type: ignore[misc]
                for part in (later[:half], later[half:])
                if part
            ]
        )
        self._frames.trim()
        return Looked(tuple(batch.blocks), tuple(each for part in wrong for each in part))
