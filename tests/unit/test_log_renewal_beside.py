"""While a log is renewed: engines that know of no loss, machines that die, lost answers."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import (
    ConsistencyLostError,
    SupersededError,
    TransientError,
)
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.repository import Repository
from tests.strategies.faulty_stores import DyingStore, Fault, FaultyStore, PowerCutError
from tests.strategies.lost_entries import (
    Past,
    back_up,
    image,
    live,
    long_past,
    lose,
    renewed,
    restores,
)
from tests.strategies.reclaims import OTHER, staged
from tests.strategies.repositories import restored


@pytest.fixture(scope="module")
def past() -> Past:
    """Return a long history."""
    return asyncio.run(long_past())


def test_an_engine_of_before_goes_on_behind_the_renewal(past: Past) -> None:
    """Whatever it had read: what it commits is seen by all, and nothing is lost by it."""

    async def scenario() -> None:
        for stage in past.stages:
            for number in range(1, len(past.entries)):
                store = MemoryStore()
                store.objects = dict(stage.objects)
                stale = await Repository.open(store)
                store.objects = past.again().objects
                lose(store, number)
                assert await renewed(store) is not None
                points = await live(store)
                assert {*past.live} <= {*points}
                await back_up(stale, image(60, 61), "late", OTHER)

                assert await live(store) == (*points, "late"), (stage.entries, number)
                fresh = await Repository.open(store)
                assert await restored(fresh, "late") == image(60, 61)

    asyncio.run(scenario())


def test_a_run_that_was_open_never_commits(past: Past) -> None:
    """It ends in an error, and the log is what it was."""

    async def scenario() -> None:
        for number in range(1, len(past.entries)):
            store = past.again()
            session = await staged(await Repository.open(store), image(70), point="late")
            lose(store, number)
            assert await renewed(store) is not None
            before = dict(store.objects)
            with pytest.raises((ConsistencyLostError, SupersededError, LogDamagedError)):
                await session.commit()
            assert {name for name in store.objects if name not in before} == set()
            assert "late" not in await live(store)

    asyncio.run(scenario())


def test_what_filled_the_gap_before_the_renewal_is_kept(past: Past) -> None:
    """An engine that had read up to the lost entry appends there, and comes to nothing."""

    async def scenario() -> None:
        stage = past.stages[3]
        store = MemoryStore()
        store.objects = dict(stage.objects)
        stale = await Repository.open(store)
        store.objects = past.again().objects
        lose(store, stage.entries + 1)
        with pytest.raises(LogDamagedError):
            await back_up(stale, image(80), "late", OTHER)
        found = await renewed(store)
        assert found is not None
        assert {*past.live} <= {*await live(store)}
        assert await restores(store, past.images, *past.live)

    asyncio.run(scenario())


def test_a_renewal_that_is_cut_off_changes_nothing_or_is_done(past: Past) -> None:
    """At any of its changes; given again, it comes to the same."""

    async def scenario() -> None:
        whole = past.again()
        lose(whole, 4, 9)
        await renewed(whole)
        outcomes = set[str]()
        for left in range(10):
            store = past.again()
            lose(store, 4, 9)
            dying = DyingStore(store.objects, left)
            try:
                await renewed(dying)
            except PowerCutError:
                pass
            else:
                assert left > 2
                break
            store.objects = dying.objects
            try:
                await Repository.open(store)
            except LogDamagedError as error:
                outcomes.add(f"damaged at {error.number}")
                assert await renewed(store) is not None
            else:
                outcomes.add("renewed")
            assert await live(store) == await live(whole)
            assert await renewed(store) is None
        assert outcomes == {"renewed", "damaged at 4"}

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.ANSWER_LOST])
def test_a_store_that_stumbles_is_asked_again(past: Past, fault: Fault) -> None:
    """A lost answer is settled by reading."""

    async def scenario() -> None:
        for at in range(4):
            store = FaultyStore(past.again().objects, at=at, fault=fault)
            lose(store, 4)
            try:
                await renewed(store)
            except TransientError:
                assert await renewed(store) is not None
            assert await live(store) == past.live

    asyncio.run(scenario())


class Contested(MemoryStore):
    """A store in which somebody else takes a number of the log just before it is created."""

    contested = ""
    theirs = b""

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Create the object, unless it is the one that somebody else creates first."""
        if name == self.contested:
            self.objects.setdefault(name, self.theirs)
        return await super().create(name, content)


def test_a_number_that_somebody_else_takes_is_looked_at(past: Past) -> None:
    """Two renewals at once come to one; a number with anything else in it is passed over."""

    async def scenario() -> None:
        other = past.again()
        lose(other, 4)
        await renewed(other, at=6)
        for theirs, number in ((other.objects["log/0000000024"], None), (b"anything", 25)):
            store = Contested()
            store.objects = past.again().objects
            lose(store, 4)
            store.contested, store.theirs = "log/0000000024", theirs
            found = await renewed(store)
            assert (None if found is None else found.number) == number
            assert await live(store) == past.live

    asyncio.run(scenario())
