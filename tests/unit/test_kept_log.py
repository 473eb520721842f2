"""What this machine keeps of a log saves requests, and is believed no more than the store."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_cache import MemoryCache
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.repository.codec import copy_name, log_name
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.kept_log import KeptLog
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import VM, block, commit, new_repository

PART = 4
REPOSITORY = "ab" * 16


class Asked(MemoryStore):
    """A store in memory that remembers which entries were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[str] = []

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object."""
        if name.startswith("log/"):
            self.entries.append(name)
        return await super().read(name)


async def history(store: MemoryStore, cache: MemoryCache | None) -> tuple[object, ...]:
    """Return the log as it is read now, with what is kept or without."""
    if cache is None:
        return await (await Repository.open(store)).entries()
    kept = await KeptLog.opened(store, cache, repository=REPOSITORY, part=PART)
    found = await (await Repository.open(kept)).entries()
    kept.done()
    return found


async def filled(points: int) -> Asked:
    """Return a store with a repository of so many points: two entries each."""
    store = Asked()
    repository = await new_repository(store)
    await more(repository, points)
    store.entries.clear()
    return store


async def more(repository: Repository, points: int) -> None:
    """Commit points of a machine."""
    for _ in range(points):
        number = len(await repository.entries())
        await commit(repository, block(number % 200), f"p{number}")


def test_what_is_kept_is_not_asked_for_again() -> None:
    """But for the newest entry that is kept, and what is behind it."""

    async def scenario() -> None:
        store, cache = await filled(11), MemoryCache()
        first = await history(store, cache)
        assert len(first) == 22
        store.entries.clear()

        assert await history(store, cache) == first
        assert set(store.entries) == {log_name(n) for n in (20, 21, 22, 23)}

    asyncio.run(scenario())


def test_a_log_that_became_another_one_is_read_anew() -> None:
    """Where the newest entry that is kept is not what the store has, nothing kept is believed."""

    async def scenario() -> None:
        one, cache = await filled(8), MemoryCache()
        before = await history(one, cache)
        other = await filled(3)
        await more(await Repository.open(other), 9)
        await (await Repository.open(other)).open_run(VM, token="session-other")  # noqa: S106

        assert await history(other, cache) == await history(other, None) != before
        lost = MemoryStore()
        lost.objects.update({n: c for n, c in one.objects.items() if "0000000016" not in n})
        assert await history(lost, cache) == await history(lost, None) == before[:15]

    asyncio.run(scenario())


damages = st.sampled_from(["flip", "cut", "empty", "gone", "swap"])


def damaged(cache: MemoryCache, damage: str, which: int) -> None:
    """Do something to one of the files."""
    names = sorted(cache.files)
    if not names:
        return
    name, other = names[which % len(names)], names[(which + 1) % len(names)]
    content = cache.files[name]
    match damage:
        case "flip":
            at = which % max(1, len(content))
            cache.files[name] = content[:at] + bytes([(content[at : at + 1] or b"0")[0] ^ 1])
        case "cut":
            cache.files[name] = content[: len(content) // 2]
        case "empty":
            cache.files[name] = b""
        case "gone":
            del cache.files[name]
        case _:
            cache.files[name] = cache.files[other]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.none() | damages, st.integers(0, 99)), max_size=5))
def test_it_never_changes_what_is_read(story: list[tuple[int, str | None, int]]) -> None:
    """Whatever grows and whatever happens to what is kept, the history is the store's."""

    async def scenario() -> None:
        store, cache = await filled(1), MemoryCache()
        for points, damage, which in story:
            await more(await Repository.open(store), points)
            assert await history(store, cache) == await history(store, None)
            if damage is not None:
                damaged(cache, damage, which)
            assert await history(store, cache) == await history(store, None)

    asyncio.run(scenario())


def test_whoever_appends_asks_whether_the_newest_entry_is_there() -> None:
    """Also if it is among those that are kept: the store may have lost it since."""

    async def scenario() -> None:
        store, cache = await filled(4), MemoryCache()
        await history(store, cache)
        kept = await KeptLog.opened(store, cache, repository=REPOSITORY, part=PART)
        repository = await Repository.open(kept)
        for name in (log_name(8), copy_name(log_name(8))):
            await store.delete(name)

        with pytest.raises(LogDamagedError):
            await commit(repository, block(1), "never")

    asyncio.run(scenario())


def test_an_opening_with_a_cache_keeps_a_long_log() -> None:
    """A repository that is opened with a cache asks for little of its log the next time."""

    async def scenario() -> None:
        store, cache = await filled(515), MemoryCache()
        first = await (await Repository.open(store, cache=cache)).entries()
        store.entries.clear()

        again = await Repository.open(store, cache=cache)

        assert await again.entries() == first
        assert len(set(store.entries)) < 20
        assert (await again.points())[-1].machine.id == VM
        with pytest.raises(CorruptionError):
            await again.store.read_range("log/none", offset=0, length=1)
        assert await again.store.sizes("log/") == await store.sizes("log/")

    asyncio.run(scenario())
