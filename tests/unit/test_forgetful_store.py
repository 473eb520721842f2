"""A store that lost what it had called durable: nobody builds upon what is gone."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from typing import Final

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.repository.codec import copy_name
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import block, commit, new_repository

POINTS: Final = 3


async def forget_newest_entries(store: MemoryStore, count: int) -> None:
    """Let the store be without its newest log entries and their copies."""
    for name in sorted(await store.names("log/"))[-count:]:
        await store.delete(name)
        await store.delete(copy_name(name))


@pytest.mark.parametrize("forgotten", [1, 2, 3])
def test_who_remembers_more_than_the_store_leaves_no_gap(forgotten: int) -> None:
    """It fails, and whoever opens the repository goes on from what is there."""

    async def lived_through() -> tuple[list[str], list[str]]:
        store = MemoryStore()
        survivor = await new_repository(store)
        for number in range(POINTS):
            await commit(survivor, block(number + 1), f"p{number}")
        await forget_newest_entries(store, forgotten)
        left = await store.names("log/")
        with pytest.raises(LogDamagedError, match="the store has lost it since it was read"):
            await commit(survivor, block(9), "upon-what-is-gone")
        assert await store.names("log/") == left

        opened = await Repository.open(store)
        there = [entry.point for entry in await opened.commits()]
        await commit(opened, block(9), "afterwards")
        return there, [entry.point for entry in await (await Repository.open(store)).commits()]

    there, afterwards = asyncio.run(lived_through())
    assert there == [f"p{number}" for number in range(POINTS - (forgotten + 1) // 2)]
    assert afterwards == [*there, "afterwards"]


def test_either_copy_of_the_newest_entry_is_enough() -> None:
    """As for everybody who reads."""

    async def lived_through() -> list[str]:
        store = MemoryStore()
        survivor = await new_repository(store)
        await commit(survivor, block(1), "p0")
        await store.delete(max(await store.names("log/")))
        await commit(survivor, block(2), "p1")
        return [entry.point for entry in await (await Repository.open(store)).commits()]

    assert asyncio.run(lived_through()) == ["p0", "p1"]
