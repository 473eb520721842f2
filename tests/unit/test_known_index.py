"""The index is read once in a process, and believed only as long as it is there."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import numpy as np

from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.dedup import KnownBlocks
from tests.strategies.counting_stores import CountingReads
from tests.strategies.repositories import block, commit, new_repository, restored


def test_a_portion_is_read_once_and_forgotten_with_its_object() -> None:
    """Later runs of a process read what is new; where a portion is gone its blocks are unknown."""

    async def scenario() -> None:
        store = CountingReads()
        repository = await new_repository(store)
        await commit(repository, block(1) + block(2), "a")
        await commit(repository, block(3) + block(2), "b")
        await commit(repository, block(1) + block(3), "c")
        assert store.portions == ["index/session-a-0", "index/session-b-0"]
        assert not [name for name in store.objects if name.startswith("packs/session-c")]

        del store.objects["index/session-a-0"]
        again = await commit(repository, block(5) + block(1), "d")
        assert again.bytes_sent == 2 * len(block(1))
        assert await restored(repository, "d") == block(5) + block(1)

    asyncio.run(scenario())


def test_a_reclaim_does_not_have_the_rest_read_anew() -> None:
    """What the log says was swept is forgotten by itself; its blocks are stored again."""

    async def scenario() -> None:
        store = CountingReads()
        repository = await new_repository(store)
        for number, name in enumerate("abc"):
            await commit(repository, block(number + 1), name)
        assert store.portions == ["index/session-a-0", "index/session-b-0"]

        gone = (RecoveryPointId("a"),)
        await repository.reclaim.expire(gone, at=Instant(0), allow_last=False)
        reclaimed = await repository.reclaim.reclaim(at=Instant(0))
        again = await commit(repository, block(1) + block(2), "d")

        assert "index/session-a-0" in reclaimed.deleted
        assert store.portions[2:] == ["index/session-c-0"]
        assert again.bytes_sent == len(block(1))
        assert await restored(repository, "d") == block(1) + block(2)

    asyncio.run(scenario())


def test_blocks_are_found_however_many_runs_they_came_in() -> None:
    """Runs are merged, and every block is still found at the place that was learnt."""
    chance = np.random.default_rng(1)
    known = KnownBlocks()
    learnt = []
    for size in (1, 5, 1000, 3, 3, 3, 700, 1, 40):
        digests = chance.integers(0, 256, (size, 16), np.uint8)
        places = chance.integers(1, 1000, (size, 4)).astype(np.uint32)
        known.learn(digests, places)
        learnt.append((digests, places))

    for digests, places in learnt:
        found, at = known.find(digests)
        assert found.all()
        assert (at == places).all()
    assert not known.find(chance.integers(0, 256, (100, 16), np.uint8))[0].any()
