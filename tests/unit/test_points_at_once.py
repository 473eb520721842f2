"""What it takes to list points, and to find one by its name."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.app.repositories import CountingStore
from reference_engine.catalogue.points import NoPointError, chosen_point, point_labels
from reference_engine.repository.codec import manifest_copy_name
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import VM, block, commit, new_repository

COUNT = 70


async def many() -> CountingStore:
    """Return a store with a repository of many points."""
    store = MemoryStore()
    repository = await new_repository(store)
    for number in range(COUNT):
        await commit(repository, block(number % 250), f"p{number}")
    return CountingStore(store)


def test_a_list_reads_each_manifest_once() -> None:
    """The log is asked once for what is new, not again for each point."""

    async def scenario() -> None:
        store = await many()
        repository = await Repository.open(store)
        before = store.requests.get

        labels = await point_labels(repository)

        assert [label.point for label in labels] == [f"p{number}" for number in range(COUNT)]
        assert store.requests.get - before <= COUNT + 2

    asyncio.run(scenario())


def test_the_newest_point_is_found_without_the_others() -> None:
    """Its own manifest is read, and no other one."""

    async def scenario() -> None:
        store = await many()
        repository = await Repository.open(store)
        before = store.requests.get

        assert (await chosen_point(repository, "latest")).point == f"p{COUNT - 1}"
        assert store.requests.get - before <= 3

    asyncio.run(scenario())


def test_damaged_points_are_listed_in_their_place() -> None:
    """By their machine's identity; what was removed a moment ago is not."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        for number in range(3):
            await commit(repository, block(number), f"p{number}")
        entries = await repository.commits()
        for name in (entries[1].manifest, manifest_copy_name(entries[1].manifest)):
            await store.delete(name)
        fresh = await Repository.open(store)

        found = [each async for each in fresh.manifests.each(entries)]

        assert [each.record is None for each in found] == [False, True, False]
        assert "p1" in str(found[1].damage)
        assert [label.name for label in await point_labels(fresh)][1] == VM

    asyncio.run(scenario())


def test_nothing_is_chosen_where_there_is_nothing() -> None:
    """Not even the newest."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        with pytest.raises(NoPointError):
            await chosen_point(repository, "latest")

    asyncio.run(scenario())
