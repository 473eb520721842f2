"""Points go when somebody says so, and their space when nobody needs it any more."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import json
from typing import Any

import numpy as np
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import ConsistencyLostError, CorruptionError, RefusedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import ByteCount, Duration, Instant
from reference_engine.repository.codec import log_name, object_digest
from reference_engine.repository.errors import (
    BlocksReclaimedError,
    LastPointError,
    PointRemovedError,
    PointUnknownError,
    ReclaimRefusedError,
    RepositoryFeatureError,
    RunClosedError,
)
from reference_engine.repository.reclaim import SILENCE_MAX
from reference_engine.repository.repository import Repository
from reference_engine.repository.settings import Settings
from reference_engine.repository.write_session import WriteSession
from reference_engine.verification.integrity import Verdict, verify_points
from tests.strategies.repositories import (
    BLOCK,
    DISK,
    block,
    commit,
    new_repository,
    no_progress,
    point_of,
    restored,
    write,
)

# ruff: noqa: S106 - the token of a run is no secret

NOW = Instant(1_000_000)
LATER = Instant(NOW + SILENCE_MAX)
OTHER = MachineId("other")
FIRST = block(1) + block(2)
SECOND = block(3) + block(4)


async def two_points(store: MemoryStore) -> Repository:
    """Return a repository with points `a` of `FIRST` and `b` of `SECOND`, which share nothing."""
    repository = await new_repository(store)
    await commit(repository, FIRST, "a")
    await commit(repository, SECOND, "b")
    return repository


async def expire(repository: Repository, *points: str, allow_last: bool = False) -> None:
    """Remove these points."""
    ids = tuple(RecoveryPointId(point) for point in points)
    await repository.reclaim.expire(ids, at=NOW, allow_last=allow_last)


async def staged(repository: Repository, image: bytes, *, point: str) -> WriteSession:
    """Return a run of another machine that has yet to commit `image`."""
    session = await repository.open_run(OTHER, token=f"session-{point}")
    await write(session, image)
    await session.stage(point_of(session, {DISK: len(image)}, point))
    return session


def header_of(store: MemoryStore) -> dict[str, Any]:
    """Return the fields of the header."""
    header: dict[str, Any] = json.loads(store.objects["repository.json"].partition(b"}")[0] + b"}")
    return header


def of_session(store: MemoryStore, session: str) -> list[str]:
    """Return what is left of a session."""
    return [name for name in sorted(store.objects) if session in name]


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
        await expire(repository, "a")
        await repository.reclaim.reclaim(at=NOW)

        assert "packs/session-a-1" in store.objects
        assert await restored(repository, "b") == block(1) + block(5)

    asyncio.run(scenario())


def test_a_second_reclaim_finds_nothing_and_says_nothing() -> None:
    """Without garbage the log does not grow."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        await expire(repository, "a")
        await repository.reclaim.reclaim(at=NOW)
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

        await expire(repository, "b")
        await repository.reclaim.reclaim(at=NOW)
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


def test_a_run_that_found_blocks_keeps_them_if_it_commits_before_the_sweep() -> None:
    """The sweep knows the commit, and spares what it uses."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        session = await staged(repository, FIRST, point="c")
        await expire(repository, "a")
        condemned = await repository.reclaim.condemn(at=NOW)
        assert condemned is not None
        await session.commit()
        await repository.reclaim.sweep(condemned)
        await repository.reclaim.delete(condemned)
        await repository.reclaim.release(condemned)

        assert "packs/session-a-1" in store.objects
        assert await restored(repository, "c") == FIRST

    asyncio.run(scenario())


def test_a_run_that_found_blocks_copies_them_if_they_were_swept_before_its_commit() -> None:
    """The commit knows the sweep, and refers to a pack of its own instead."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        session = await staged(await Repository.open(store), FIRST, point="c")
        await expire(repository, "a")
        condemned = await repository.reclaim.condemn(at=NOW)
        assert condemned is not None
        await repository.reclaim.sweep(condemned)
        await session.commit()
        await repository.reclaim.delete(condemned)
        await repository.reclaim.release(condemned)

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
        repository = await two_points(store)
        session = await staged(await Repository.open(store), FIRST, point="c")
        await expire(repository, "a")
        condemned = await repository.reclaim.condemn(at=NOW)
        assert condemned is not None
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
        await expire(repository, "a", allow_last=True)
        condemned = await repository.reclaim.condemn(at=NOW)
        assert condemned is not None
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
        await expire(repository, "a")
        reclaimed = await repository.reclaim.reclaim(at=NOW)
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
        assert await repository.interrupted(OTHER)

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
        machine = (await repository.points())[0].machine_id
        session = await repository.open_run(machine, token="session-b")
        await session.begin_disk(DISK, ByteCount(len(FIRST)), inherit=DISK)
        edited = FIRST[:6] + b"edit" + FIRST[10:]
        changed = ExtentSet.of([(6, 10)])
        await session.put_blocks(DISK, np.array([0]), edited[:BLOCK], changed=changed)
        await session.stage(point_of(session, {DISK: len(FIRST)}, "b"))
        await session.commit()
        await expire(repository, "a")
        await repository.reclaim.reclaim(at=NOW)
        assert await restored(await Repository.open(store), "b") == edited

    asyncio.run(scenario())


def test_a_point_that_was_removed_while_it_was_read_is_not_called_damaged() -> None:
    """Its blocks are gone because somebody wanted that."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        other = await Repository.open(store)
        reader = await repository.reader(RecoveryPointId("a"))
        await expire(other, "a")
        await other.reclaim.reclaim(at=NOW)
        with pytest.raises(CorruptionError) as caught:
            await reader.read(DISK, ExtentSet.whole(reader.size(DISK)))
        explained = await repository.explained(RecoveryPointId("a"), caught.value)
        assert isinstance(explained, PointRemovedError)

        store.objects["packs/session-b-1"] = b"?"
        [verdict] = await verify_points(repository, [RecoveryPointId("b")], progress=lambda _: None)
        assert verdict.verdict is Verdict.DAMAGED
        [verdict] = await verify_points(repository, [RecoveryPointId("a")], progress=lambda _: None)
        assert verdict.verdict is Verdict.REMOVED

    asyncio.run(scenario())


def test_an_abandoned_run_is_waited_for_by_nobody() -> None:
    """It says itself that it has ended."""

    async def scenario() -> None:
        repository = await two_points(MemoryStore())
        session = await staged(repository, FIRST, point="c")
        await session.abandon()
        await expire(repository, "a")
        reclaimed = await repository.reclaim.reclaim(at=NOW)
        assert "packs/session-a-1" in reclaimed.deleted
        assert reclaimed.awaited == ()

    asyncio.run(scenario())


def test_an_entry_of_a_later_program_stops_this_one() -> None:
    """What it does not know may be what keeps a point alive."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        key = bytes.fromhex(
            json.loads(store.objects["repository.json"].partition(b"}")[0] + b"}")["digest_key"]
        )
        number = len(repository.reclaim.history.entries)
        previous = object_digest(key, store.objects[log_name(number)])
        body = json.dumps(
            {"number": number + 1, "previous": previous, "entry": {"kind": "points-merged"}}
        ).encode()
        body += b"\n"
        store.objects[log_name(number + 1)] = body + object_digest(key, body).encode()
        with pytest.raises(RepositoryFeatureError, match="points-merged"):
            await Repository.open(store)

    asyncio.run(scenario())


@pytest.mark.parametrize("field", ["colour", "settings"])
def test_a_header_with_an_unknown_field_stops_this_program(field: str) -> None:
    """Whether it is the header's own or one of its settings."""

    async def scenario() -> None:
        store = MemoryStore()
        await two_points(store)
        header = header_of(store)
        body = json.dumps(header | {field: {"colour": "red"}}, indent=2).encode() + b"\n"
        sealed = body + object_digest(bytes.fromhex(header["digest_key"]), body).encode() + b"\n"
        for name in ("repository.json", "copies/repository-1.json", "copies/repository-2.json"):
            store.objects[name] = sealed
        with pytest.raises(RefusedError):
            await Repository.open(store)

    asyncio.run(scenario())


def test_promises_are_kept_in_the_header() -> None:
    """And a repository that makes none has the bytes that it always had."""

    async def scenario() -> None:
        promises = Settings(append_only=True, immutable_for=Duration(5))
        store = MemoryStore()
        await Repository.create(
            store, identity_token="ab" * 16, block_size=BLOCK, settings=promises
        )
        assert (await Repository.open(store)).settings == promises
        plain = MemoryStore()
        await new_repository(plain)
        assert b"settings" not in plain.objects["repository.json"]
        assert (await Repository.open(plain)).settings == Settings()

    asyncio.run(scenario())
