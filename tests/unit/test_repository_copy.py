"""A second repository has the same points, whatever happened on the way."""

# ruff: noqa: S106 - the token of a run is no secret

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import msgspec
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import ExtentSet
from reference_engine.repository.pack import Level
from reference_engine.repository.repository import Repository
from reference_engine.upkeep.copying import PointCopy, plan_copy
from tests.strategies.faulty_stores import DyingStore, PowerCutError
from tests.strategies.repositories import (
    BLOCK,
    block,
    commit,
    commit_changes,
    no_progress,
    restored,
)

FIRST = b"".join(block(fill) for fill in range(1, 9)) + block(9)[:20]
SECOND = FIRST[: 2 * BLOCK] + bytes(BLOCK) + FIRST[3 * BLOCK :]
THIRD = SECOND[:70] + b"edit" + SECOND[74:]
IMAGES = {"a": FIRST, "b": SECOND, "c": THIRD}


async def source() -> Repository:
    """Return a repository of three points; the last one is a small change laid over its base."""
    repository = await Repository.create(MemoryStore(), identity_token="cd" * 16, block_size=BLOCK)
    await commit(repository, FIRST, "a")
    await commit(repository, SECOND, "b")
    await commit_changes(repository, THIRD, "c", changed=ExtentSet.of([(70, 74)]))
    return repository


async def target(store: MemoryStore) -> Repository:
    """Return an empty repository with another key."""
    return await Repository.create(store, identity_token="ab" * 16, block_size=BLOCK)


async def copy_missing(ours: Repository, theirs: Repository, token: str) -> list[int]:
    """Copy what is missing and return how many bytes of each point were new."""
    plan = plan_copy(await ours.commits(), await theirs.commits())
    copier = PointCopy(ours, theirs, level=Level.FAST)
    return [
        await copier.copy(entry.point, token=f"{token}-{number}", progress=lambda _: lambda _: None)
        for number, entry in enumerate(plan.missing)
    ]


def test_points_are_copied_with_all_that_is_recorded_of_them() -> None:
    """Content, ids, order and provenance are the same; run and digests are the repository's own."""

    async def scenario() -> None:
        ours, store = await source(), MemoryStore()
        theirs = await target(store)
        sent = await copy_missing(ours, theirs, "one")

        # The edit touches two pieces.
        assert sent[1:] == [0, 2 * BLOCK // 16]
        assert await copy_missing(ours, theirs, "two") == []
        for mine, other in zip(await ours.points(), await theirs.points(), strict=True):
            assert await restored(theirs, str(mine.id)) == IMAGES[str(mine.id)]
            await no_progress(theirs, str(mine.id))
            same = [msgspec.structs.replace(record, digest="") for record in other.disks]
            assert same == [msgspec.structs.replace(record, digest="") for record in mine.disks]
            assert msgspec.structs.replace(other, run=mine.run, disks=mine.disks) == mine

    asyncio.run(scenario())


def test_a_copy_that_is_cut_off_is_finished_by_the_next() -> None:
    """At whichever object it dies: the points that are there are whole, the others come later."""

    async def scenario() -> None:
        ours, empty = await source(), MemoryStore()
        await target(empty)
        for left in range(100):
            objects = dict(empty.objects)
            try:
                await copy_missing(ours, await Repository.open(DyingStore(objects, left)), "one")
                break
            except PowerCutError:
                store = MemoryStore()
                store.objects = objects
                theirs = await Repository.open(store)
                for entry in await theirs.commits():
                    assert await restored(theirs, str(entry.point)) == IMAGES[str(entry.point)]
                await copy_missing(ours, theirs, "two")
                assert [str(entry.point) for entry in await theirs.commits()] == ["a", "b", "c"]
                assert await restored(theirs, "c") == THIRD
        assert left > 20

    asyncio.run(scenario())


def test_a_damaged_point_is_not_copied() -> None:
    """What is not as it was written does not get a second life; the other points are copied."""

    async def scenario() -> None:
        ours, store = await source(), MemoryStore()
        theirs = await target(store)
        assert isinstance(ours.store, MemoryStore)
        name = "packs/session-c-1"
        pack = ours.store.objects[name]
        ours.store.objects[name] = pack[:-1] + bytes([pack[-1] ^ 1])
        with pytest.raises(CorruptionError):
            await copy_missing(ours, theirs, "one")

        assert [str(entry.point) for entry in await theirs.commits()] == ["a", "b"]

    asyncio.run(scenario())


def test_a_point_never_lands_behind_its_successors() -> None:
    """`latest` means the newest in either repository."""

    async def scenario() -> None:
        ours, store = await source(), MemoryStore()
        theirs = await target(store)
        newest = (await ours.commits())[-1:]
        copier = PointCopy(ours, theirs, level=Level.FAST)
        for entry in plan_copy(newest, await theirs.commits()).missing:
            await copier.copy(entry.point, token="one", progress=lambda _: lambda _: None)

        plan = plan_copy(await ours.commits(), await theirs.commits())
        assert plan.missing == ()
        assert plan.late == ("a", "b")

    asyncio.run(scenario())
