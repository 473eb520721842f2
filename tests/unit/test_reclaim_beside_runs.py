"""A reclaim and a run at once: what the run found stays, or the run learns that it is gone."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import ConsistencyLostError
from reference_engine.model.units import ByteCount, Instant
from reference_engine.repository.errors import BlocksReclaimedError, RunClosedError
from reference_engine.repository.repository import Repository
from tests.strategies.reclaims import (
    FIRST,
    LATER,
    NOW,
    OTHER,
    condemn_without,
    give_back,
    of_session,
    overtaken,
    reclaim_without,
    staged,
    two_points,
)
from tests.strategies.repositories import (
    DISK,
    block,
    commit,
    new_repository,
    no_progress,
    point_of,
    restored,
)

# ruff: noqa: S106 - the token of a run is no secret


def test_a_run_that_found_blocks_keeps_them_if_it_commits_before_the_sweep() -> None:
    """The sweep knows the commit, and spares what it uses."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        session = await staged(repository, FIRST, point="c")
        condemned = await condemn_without(repository, "a")
        await session.commit()
        await repository.reclaim.sweep(condemned)
        await give_back(repository, condemned)

        assert "packs/session-a-1" in store.objects
        assert await restored(repository, "c") == FIRST

    asyncio.run(scenario())


def test_a_run_that_found_blocks_copies_them_if_they_were_swept_before_its_commit() -> None:
    """The commit knows the sweep, and refers to a pack of its own instead."""

    async def scenario() -> None:
        store = MemoryStore()
        repository, session, condemned = await overtaken(store)
        await repository.reclaim.sweep(condemned)
        await session.commit()
        await give_back(repository, condemned)

        assert "packs/session-a-1" not in store.objects
        again = await Repository.open(store)
        assert await restored(again, "c") == FIRST
        await no_progress(again, "c")
        # The manifest that was staged first is garbage now.
        await again.reclaim.reclaim(at=NOW)
        assert [n for n in store.objects if "points/c" in n] == [
            "points/c.1",
            "copies/points/c.1",
        ]
        assert await restored(again, "c") == FIRST

    asyncio.run(scenario())


def test_a_run_whose_blocks_are_deleted_has_to_start_over() -> None:
    """Its point never exists, and the next run stores what is missing."""

    async def scenario() -> None:
        store = MemoryStore()
        repository, session, condemned = await overtaken(store)
        await repository.reclaim.sweep(condemned)
        await repository.reclaim.delete(condemned)
        with pytest.raises(BlocksReclaimedError) as caught:
            await session.commit()
        assert isinstance(caught.value, ConsistencyLostError)
        await session.abandon()

        session = await staged(await Repository.open(store), FIRST, point="d")
        await session.commit()
        assert await restored(repository, "d") == FIRST

    asyncio.run(scenario())


def test_a_run_whose_base_was_swept_copies_what_it_inherited() -> None:
    """Pages that the run never looked at are copied too, and the packs that they name."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, FIRST, "a")
        session = await (await Repository.open(store)).open_run(
            (await repository.points())[0].machine_id, token="late"
        )
        await session.begin_disk(DISK, ByteCount(len(FIRST)), inherit=DISK)
        await session.put(DISK, 1, block(9))
        await session.stage(point_of(session, {DISK: len(FIRST)}, "b"))
        condemned = await condemn_without(repository, "a", allow_last=True)
        await repository.reclaim.sweep(condemned)
        await session.commit()
        await repository.reclaim.delete(condemned)

        assert of_session(store, "session-a") == []
        assert await restored(await Repository.open(store), "b") == block(1) + block(9)

    asyncio.run(scenario())


def test_a_whole_reclaim_waits_for_runs_that_may_have_found_blocks() -> None:
    """What they may need goes when they have ended."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        session = await staged(repository, block(1) + block(7), point="c")
        reclaimed = await reclaim_without(repository, "a")
        assert "packs/session-a-1" in reclaimed.waiting
        assert [run.tag for run in reclaimed.awaited] == [session.run]
        await session.commit()
        await repository.reclaim.reclaim(at=NOW)
        assert "points/a" not in store.objects
        assert await restored(repository, "c") == block(1) + block(7)

        await commit(repository, FIRST, "d")
        assert await restored(repository, "d") == FIRST

    asyncio.run(scenario())


def test_a_run_that_is_silent_for_long_is_closed_and_leaves_nothing() -> None:
    """Its packs are given back, and should it live, it learns that it has to start over."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        session = await staged(repository, block(7) + block(8), point="c")
        await repository.reclaim.reclaim(at=NOW)
        await repository.reclaim.reclaim(at=Instant(LATER - 1))
        assert of_session(store, "session-c") != []

        await repository.reclaim.reclaim(at=LATER)
        assert of_session(store, "session-c") == []
        with pytest.raises(RunClosedError):
            await session.commit()
        assert (await repository.last_run(OTHER))[1]

    asyncio.run(scenario())


def test_a_superseded_run_leaves_nothing() -> None:
    """What it wrote is given back, also what it writes afterwards."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        dead = await staged(repository, block(7), point="c")
        await (await staged(repository, block(8), point="d")).commit()
        await repository.reclaim.reclaim(at=NOW)
        assert [n for n in store.objects if "session-c" in n or "points/c" in n] == []

        store.objects["packs/session-c-1"] = b"late"
        store.objects["packs/session-c-2"] = b"later"
        await repository.reclaim.reclaim(at=NOW)
        assert of_session(store, "session-c") == []
        assert dead.bytes_stored > 0

    asyncio.run(scenario())


def test_an_abandoned_run_is_waited_for_by_nobody() -> None:
    """It says itself that it has ended."""

    async def scenario() -> None:
        repository = await two_points(MemoryStore())
        session = await staged(repository, FIRST, point="c")
        await session.abandon()
        reclaimed = await reclaim_without(repository, "a")
        assert "packs/session-a-1" in reclaimed.deleted
        assert reclaimed.awaited == ()

    asyncio.run(scenario())
