"""A point that somebody reads does not expire; a reader that died is not waited for for ever."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.errors import PointLeasedError, PointUnknownError
from reference_engine.repository.reclaim import SILENCE_MAX
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import block, commit, new_repository

NOW = Instant(1_000_000)
OLD, NEW = RecoveryPointId("old"), RecoveryPointId("new")


async def two_points() -> tuple[MemoryStore, Repository]:
    """Return a repository with two points of one machine, and its store."""
    store = MemoryStore()
    repository = await new_repository(store)
    await commit(repository, block(1), "old")
    await commit(repository, block(2), "new")
    return store, repository


def test_a_leased_point_stays_until_its_last_reader_is_done() -> None:
    """Two readers hold it; another program that opens the repository knows of both."""

    async def story() -> None:
        store, repository = await two_points()
        await repository.leases.take(OLD, "one", at=NOW)
        await repository.leases.take(OLD, "two", at=NOW)
        other = await Repository.open(store)

        for holder in ("one", "two"):
            with pytest.raises(PointLeasedError, match="is being read by"):
                await other.reclaim.expire((OLD,), at=NOW, allow_last=False)
            assert await other.leases.leased() == {OLD}
            await repository.leases.end(holder)

        assert await other.leases.leased() == frozenset()
        await other.reclaim.expire((OLD,), at=NOW, allow_last=False)
        assert [entry.point for entry in await other.commits()] == [NEW]

    asyncio.run(story())


def test_taking_and_ending_twice_changes_nothing() -> None:
    """A holder that asks again, because its answer was lost, adds nothing to the log."""

    async def story() -> None:
        _, repository = await two_points()
        await repository.leases.take(OLD, "one", at=NOW)
        before = len(await repository.entries())

        await repository.leases.take(OLD, "one", at=Instant(NOW + 1))

        assert len(await repository.entries()) == before
        await repository.leases.end("one")
        await repository.leases.end("one")
        assert len(await repository.entries()) == before + 1

    asyncio.run(story())


def test_a_point_that_is_gone_cannot_be_leased() -> None:
    """Nobody reads on in what has expired."""

    async def story() -> None:
        _, repository = await two_points()
        await repository.reclaim.expire((OLD,), at=NOW, allow_last=False)

        with pytest.raises(PointUnknownError):
            await repository.leases.take(OLD, "one", at=NOW)
        assert await repository.leases.leased() == frozenset()

    asyncio.run(story())


@pytest.mark.parametrize(("passed", "ends"), [(SILENCE_MAX - 1, False), (SILENCE_MAX, True)])
def test_a_dead_reader_is_waited_for_for_a_day(passed: int, ends: bool) -> None:  # noqa: FBT001 - a parameter
    """Whoever gives back space ends leases that are too old, and none before."""

    async def story() -> None:
        _, repository = await two_points()
        await repository.leases.take(OLD, "dead", at=NOW)

        await repository.reclaim.reclaim(at=Instant(NOW + passed))

        assert (await repository.leases.leased() == frozenset()) is ends

    asyncio.run(story())
