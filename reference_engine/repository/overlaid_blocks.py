"""Whether blocks over which pieces were laid are what their digests say.

A delta gives a block the digest of the disk as it was read, and takes the rest of the block for
unchanged on a tracker's word. Where that was a lie, what stands there is not the digest's: a
comparison, which is made because nobody's word is taken, must not stand on it.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.assembling import Assembler
from reference_engine.repository.block_map import PAGE_BLOCKS, BlockMap, NameTable, Numbers
from reference_engine.repository.fetching import Batches, Wanted, described
from reference_engine.repository.frames import BATCH_FRAMES, Frames
from reference_engine.repository.header import Header

_FRAMES_MAX: Final = ByteCount(8 * MIB)
"""A comparison goes through a disk in order, as each delta was laid: few frames serve it."""


class OverlaidBlocks:
    """Puts blocks together as a restore would, and looks at their digests; `packs` names packs."""

    def __init__(
        self, store: BlobStore, header: Header, packs: NameTable, /, *, executor: Executor
    ) -> None:
        self._block_size, self._executor = header.block_size, executor
        self._assembler = Assembler(header.key, block_size=header.block_size)
        self._frames = Frames(store, packs, executor=executor, limit=_FRAMES_MAX)

    async def wrong(self, blocks: BlockMap, numbers: Numbers, /) -> npt.NDArray[np.bool_]:
        """Return for each of these blocks, none a hole, whether it cannot be read back as stated.

        So it is with what this run laid itself and has not yet made durable.

        Raises:
            TransientError: the store failed, which says nothing about the blocks.
            ManifestDamagedError: a page of the map is damaged.
        """
        found: set[int] = set()
        batches = Batches(frames_max=BATCH_FRAMES)
        for number, _, inside in blocks.spans(numbers):
            page = await blocks.page(number)
            for each in described(
                page,
                number * PAGE_BLOCKS,
                inside,
                size=blocks.size,
                block_size=self._block_size,
            ):
                full = batches.add(each)
                if full is not None:
                    found |= await self._wrong(full.blocks, full.frames)
        last = batches.taken()
        found |= await self._wrong(last.blocks, last.frames)
        return np.isin(numbers, list(found))

    async def _wrong(self, blocks: list[Wanted], frames: set[tuple[int, int, int]]) -> set[int]:
        await self._frames.have(frames)
        held = self._frames.held
        [wrong] = await self._executor.offload_all([lambda: self._assembler.wrong(blocks, held)])
        self._frames.trim()
        return {each.number for each in wrong}
