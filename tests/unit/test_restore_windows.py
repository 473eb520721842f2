"""Where a restore may cut a disk so that no frame is read twice."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.repository.block_map import PAGE_BLOCKS
from tests.strategies.repositories import BLOCK, DISK, VM, new_repository, point_of


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(0, 300 * BLOCK),
    st.integers(0, 2),
)
def test_a_cut_is_where_the_next_frame_begins(parts: list[int], offset: int, page: int) -> None:
    """Blocks that were put together share a frame; the first cut behind a place parts two."""
    before = page * PAGE_BLOCKS - 20 if page else 0
    starts = [before + sum(parts[:index]) for index in range(len(parts) + 1)]
    size = ByteCount(starts[-1] * BLOCK)
    offset = min(before * BLOCK + offset, size)

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        session = await repository.open_run(VM, token=f"session-{len(parts)}")
        await session.begin_disk(DISK, size, inherit=None)
        for start, end in itertools.pairwise(starts):
            content = np.random.default_rng(start + 1).bytes((end - start) * BLOCK)
            await session.put_blocks(DISK, np.arange(start, end), content)
        await session.stage(point_of(session, {DISK: size}, "point"))
        await session.commit()
        reader = await repository.reader(RecoveryPointId("point"))
        whole = ExtentSet.whole(size)
        begins = [each.offset async for each in reader.stretches(DISK, whole)]

        cut = await reader.uncut(DISK, ByteCount(offset))

        pages = range(0, size, PAGE_BLOCKS * BLOCK)
        # Nothing is stored before the first part, so a cut there is as good as any.
        hole = [-(-offset // BLOCK) * BLOCK] if offset <= before * BLOCK else []
        allowed = sorted({*begins, *pages, *hole, size})
        assert begins[:1] == [before * BLOCK]
        assert offset <= cut
        assert cut in allowed
        assert cut == min(each for each in allowed if each >= offset) or cut == begins[0]

    asyncio.run(scenario())
