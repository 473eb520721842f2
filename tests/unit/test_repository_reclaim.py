"""Points go when somebody says so, and their space when nobody needs it any more."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import RecoveryPointId
from reference_engine.repository.errors import (
    LastPointError,
    PointRemovedError,
    PointUnknownError,
    ReclaimRefusedError,
)
from reference_engine.repository.repository import Repository
from reference_engine.verification.integrity import Verdict, verify_points
from tests.strategies.reclaims import (
    FIRST,
    NOW,
    SECOND,
    expire,
    of_session,
    reclaim_without,
    two_points,
)
from tests.strategies.repositories import (
    DISK,
    block,
    commit,
    commit_changes,
    new_repository,
    no_progress,
    restored,
)

# ruff: noqa: S106 - the token of a run is no secret


def test_an_expired_point_is_gone_and_its_space_is_given_back() -> None:
    """What only it used is deleted; what is left restores."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        await expire(repository, "a")
        with pytest.raises(PointUnknownError):
            await restored(repository, "a")
        reclaimed = await repository.reclaim.reclaim(at=NOW)

        assert of_session(store, "session-a") == []
        assert "points/a" not in store.objects
        assert "packs/session-a-1" in reclaimed.deleted
        again = await Repository.open(store)
        assert [point.id for point in await again.points()] == ["b"]
        assert await restored(again, "b") == SECOND
        await no_progress(again, "b")

    asyncio.run(scenario())


def test_a_pack_that_another_point_uses_stays() -> None:
    """Only whole packs go, and only those in which no point has a block."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, FIRST, "a")
        await commit(repository, block(1) + block(5), "b")
        await reclaim_without(repository, "a")

        assert "packs/session-a-1" in store.objects
        assert await restored(repository, "b") == block(1) + block(5)

    asyncio.run(scenario())


def test_a_second_reclaim_finds_nothing_and_says_nothing() -> None:
    """Without garbage the log does not grow."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        await reclaim_without(repository, "a")
        before = dict(store.objects)
        reclaimed = await repository.reclaim.reclaim(at=NOW)

        assert store.objects == before
        assert reclaimed.deleted == ()

    asyncio.run(scenario())


def test_the_last_point_of_a_machine_needs_a_word_of_its_own() -> None:
    """Nothing is removed when a machine would be left without a point."""

    async def scenario() -> None:
        repository = await two_points(MemoryStore())
        with pytest.raises(LastPointError, match="--allow-last"):
            await expire(repository, "a", "b")
        assert len(await repository.points()) == 2

        await expire(repository, "a", "b", allow_last=True)
        assert await repository.points() == ()

    asyncio.run(scenario())


def test_two_prunes_at_once_leave_a_machine_its_last_point() -> None:
    """Each decides with the other's entry known, whatever it knew when it was started."""

    async def scenario() -> None:
        store = MemoryStore()
        one = await two_points(store)
        other = await Repository.open(store)
        await expire(one, "a")
        with pytest.raises(LastPointError):
            await expire(other, "b")

    asyncio.run(scenario())


def test_nothing_is_deleted_while_a_manifest_cannot_be_read() -> None:
    """What a damaged point needs is unknown, so everything is needed."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        await commit(repository, block(6), "c")
        await expire(repository, "a")
        for name in ("points/b", "copies/points/b"):
            store.objects[name] = store.objects[name][:-1] + b"?"
        before = dict(store.objects)
        with pytest.raises(ReclaimRefusedError, match="point b"):
            await (await Repository.open(store)).reclaim.reclaim(at=NOW)
        assert store.objects == before

        await reclaim_without(repository, "b")
        assert of_session(store, "session-b") == []

    asyncio.run(scenario())


def test_nothing_is_deleted_while_a_page_cannot_be_read() -> None:
    """Pages say which packs a point needs."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        await expire(repository, "a")
        for name in ("maps/session-b-1", "copies/maps/session-b-1"):
            content = store.objects[name]
            store.objects[name] = content[:-1] + bytes([content[-1] ^ 1])
        with pytest.raises(ReclaimRefusedError, match="page"):
            await repository.reclaim.reclaim(at=NOW)
        assert "packs/session-a-1" in store.objects

    asyncio.run(scenario())


def test_a_newest_point_that_expired_is_no_base() -> None:
    """Trackers speak of what changed since that point, not since the one before."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        await expire(repository, "b")
        session = await repository.open_run(
            (await repository.points())[0].machine_id, token="third"
        )
        assert session.base is None

    asyncio.run(scenario())


def test_what_the_log_does_not_know_is_left_alone() -> None:
    """A pack of no session may be anybody's."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        store.objects["packs/stranger-1"] = b"?"
        await repository.reclaim.reclaim(at=NOW)
        assert "packs/stranger-1" in store.objects

    asyncio.run(scenario())


def test_overlaid_pieces_keep_their_packs() -> None:
    """A block's base and every piece over it lie in packs of their own."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, FIRST, "a")
        edited = FIRST[:6] + b"edit" + FIRST[10:]
        await commit_changes(repository, edited, "b", changed=ExtentSet.of([(6, 10)]))
        await reclaim_without(repository, "a")
        assert await restored(await Repository.open(store), "b") == edited

    asyncio.run(scenario())


def test_a_point_that_was_removed_while_it_was_read_is_not_called_damaged() -> None:
    """Its blocks are gone because somebody wanted that."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        other = await Repository.open(store)
        reader = await repository.reader(RecoveryPointId("a"))
        await reclaim_without(other, "a")
        with pytest.raises(CorruptionError) as caught:
            await reader.read(DISK, ExtentSet.whole(reader.size(DISK)))
        explained = await repository.manifests.explained(RecoveryPointId("a"), caught.value)
        assert isinstance(explained, PointRemovedError)

        store.objects["packs/session-b-1"] = b"?"
        [verdict] = await verify_points(repository, [RecoveryPointId("b")], progress=lambda _: None)
        assert verdict.verdict is Verdict.DAMAGED
        [verdict] = await verify_points(repository, [RecoveryPointId("a")], progress=lambda _: None)
        assert verdict.verdict is Verdict.REMOVED

    asyncio.run(scenario())
