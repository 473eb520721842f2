"""A cache of the index saves reading it, and is never believed when it should not be."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.adapters.memory_cache import MemoryCache
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.units import Instant
from reference_engine.repository import index_cache, known_index
from reference_engine.repository.block_map import Digests, NameTable, Places
from reference_engine.repository.envelope import Tagging
from reference_engine.repository.index_cache import IndexCache
from reference_engine.repository.portions import Portion
from reference_engine.repository.repository import Repository
from tests.strategies import encrypted_repositories as encrypted
from tests.strategies.counting_stores import CountingReads
from tests.strategies.repositories import BLOCK, block, commit, new_repository, restored

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a single block be worth keeping."""
    monkeypatch.setattr(known_index, "KEPT_ROWS", 1)


def own_cache(cache: MemoryCache, *, packs: NameTable, key: bytes = KEY) -> IndexCache:
    """Return a process's view of a cache."""
    return IndexCache(cache, Tagging(key), key, packs, repository="repository", domain="")


def drawn(chance: np.random.Generator, name: str, size: int, packs: NameTable) -> Portion:
    """Return a portion of blocks that nobody else has."""
    digests = chance.integers(0, 256, (size, 16), np.uint8)
    places = chance.integers(0, 1 << 20, (size, 4)).astype(np.uint32)
    places[:, 0] = [packs.number(f"packs/{name}-{n}") for n in chance.integers(1, 5, size)]
    return Portion(name, digests, places)


def named(places: Places, packs: NameTable) -> list[tuple[str, ...]]:
    """Return places with their packs' names: numbers are each process's own."""
    return [(packs.name(row[0]), *map(str, row[1:])) for row in places.tolist()]


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a scenario."""
    asyncio.run(work)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=7), st.integers(0, 1 << 30))
def test_another_process_finds_every_block_and_no_other(sizes: list[int], seed: int) -> None:
    """However portions come and runs are joined, what is known is found where it was said to be."""
    chance = np.random.default_rng(seed)
    cache, packs = MemoryCache(), NameTable()

    async def scenario() -> None:
        writer = own_cache(cache, packs=packs)
        learnt = [drawn(chance, f"p{n}", size, packs) for n, size in enumerate(sizes)]
        for portion in learnt:
            assert await writer.keep([portion])

        own = NameTable()
        own.number("packs/of-somebody-else")
        reader = own_cache(cache, packs=own)
        await reader.load()
        assert reader.covered() == {portion.name for portion in learnt}
        assert len(reader) == sum(sizes)
        for portion in learnt:
            found, places = await reader.find(portion.digests)
            assert found.all()
            assert named(places, own) == named(portion.places, packs)
        unknown: Digests = chance.integers(0, 256, (100, 16), np.uint8)
        assert not (await reader.find(unknown))[0].any()

    run(scenario())


def test_runs_are_few_and_small_ones_make_room() -> None:
    """A hundred portions come to a handful of files, and nothing is left of those taken in."""
    chance, cache, packs = np.random.default_rng(1), MemoryCache(), NameTable()

    async def scenario() -> None:
        writer = own_cache(cache, packs=packs)
        for number in range(100):
            assert await writer.keep([drawn(chance, f"p{number}", 20, packs)])

    run(scenario())
    assert len(cache.files) <= 7


def test_runs_grow_no_further_than_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joining ends at a size, so that it never takes more memory than that."""
    monkeypatch.setattr(index_cache, "RUN_ROWS", 100)
    chance, cache, packs = np.random.default_rng(1), MemoryCache(), NameTable()

    async def scenario() -> None:
        writer = own_cache(cache, packs=packs)
        for number in range(20):
            assert await writer.keep([drawn(chance, f"p{number}", 50, packs)])

    run(scenario())
    assert len(cache.files) == 10


def test_any_flipped_byte_is_noticed_and_the_run_dropped() -> None:
    """No place is ever read from a damaged file: it is forgotten, at once or when it is met."""
    chance, packs = np.random.default_rng(1), NameTable()
    portion = drawn(chance, "p", 70, packs)
    whole = MemoryCache()
    run(_kept(whole, packs, portion))
    [(at, content)] = whole.files.items()

    async def scenario(position: int) -> None:
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        cache = MemoryCache()
        cache.files[at] = bytes(damaged)
        reader = own_cache(cache, packs=packs)
        await reader.load()
        found, places = await reader.find(portion.digests)
        assert (places[found] == portion.places[found]).all()
        assert not found.all()
        assert not cache.files
        assert reader.covered() == set()

    async def every() -> None:
        for position in range(len(content)):
            await scenario(position)

    run(every())


async def _kept(cache: MemoryCache, packs: NameTable, *portions: Portion) -> None:
    assert await own_cache(cache, packs=packs).keep(portions)


@pytest.mark.parametrize("length", [0, 50, 95, 96, 97, 500])
def test_half_a_file_is_dropped(length: int) -> None:
    """A power cut may leave a name with little or nothing behind it."""
    packs, cache = NameTable(), MemoryCache()
    portion = drawn(np.random.default_rng(1), "p", 70, packs)

    async def scenario() -> None:
        await _kept(cache, packs, portion)
        [(at, content)] = cache.files.items()
        cache.files[at] = content[:length]
        reader = own_cache(cache, packs=packs)
        await reader.load()
        found, places = await reader.find(portion.digests)
        assert not found.all()
        assert (places[found] == portion.places[found]).all()
        assert not cache.files

    run(scenario())


def test_the_file_of_another_repository_or_name_is_dropped() -> None:
    """Neither a foreign key nor another name makes a sound file."""
    packs, cache = NameTable(), MemoryCache()
    portion = drawn(np.random.default_rng(1), "p", 70, packs)

    async def scenario() -> None:
        await _kept(cache, packs, portion)
        [((group, name), content)] = cache.files.items()
        foreign = own_cache(cache, packs=packs, key=bytes(32))
        await foreign.load()
        assert not foreign.covered()
        assert not cache.files

        cache.files[group, name[::-1]] = content
        reader = own_cache(cache, packs=packs)
        await reader.load()
        assert not reader.covered()

    run(scenario())


def test_the_next_process_reads_no_portion_again() -> None:
    """What a run has looked up is there for the next process, which stores nothing twice."""

    async def scenario() -> None:
        store, cache = CountingReads(), MemoryCache()
        repository = await new_repository(store)
        await commit(repository, block(1) + block(2), "a")
        first = await Repository.open(store, cache=cache)
        await commit(first, block(3) + block(2), "b")
        assert store.portions == ["index/session-a-0"]

        second = await Repository.open(store, cache=cache)
        await commit(second, block(1) + block(3), "c")
        assert store.portions == ["index/session-a-0", "index/session-b-0"]
        assert not [name for name in store.objects if name.startswith("packs/session-c")]
        assert await restored(second, "c") == block(1) + block(3)

    run(scenario())


def test_a_cache_that_outlived_its_portions_is_stale() -> None:
    """Where a portion is gone its packs may be gone: nobody refers to them."""

    async def scenario() -> None:
        store, cache = CountingReads(), MemoryCache()
        repository = await Repository.create(
            store, identity_token="ab" * 16, block_size=BLOCK, cache=cache
        )
        await commit(repository, block(1) + block(2), "a")
        await commit(repository, block(3) + block(2), "b")
        assert cache.files

        del store.objects["index/session-a-0"], store.objects["packs/session-a-1"]
        again = await Repository.open(store, cache=cache)
        session = await commit(again, block(2) + block(3) + block(1), "c")
        assert session.bytes_sent == 2 * BLOCK
        assert await restored(again, "c") == block(2) + block(3) + block(1)

    run(scenario())


def test_what_the_log_condemns_is_not_found_in_a_cache() -> None:
    """A cache knows blocks that a prune has swept; the log has the last word."""

    async def scenario() -> None:
        store, cache = MemoryStore(), MemoryCache()
        repository = await Repository.create(
            store, identity_token="ab" * 16, block_size=BLOCK, cache=cache
        )
        await commit(repository, block(1), "a")
        await commit(repository, block(2), "b")
        [portion] = [store.objects[name] for name in store.objects if name == "index/session-a-0"]
        entries = await repository.commits()
        await repository.reclaim.expire((entries[0].point,), at=Instant(1), allow_last=False)
        await repository.reclaim.reclaim(at=Instant(1))
        assert "packs/session-a-1" not in store.objects
        # Even if the portion came back, as a late write may.
        store.objects["index/session-a-0"] = portion
        again = await Repository.open(store, cache=cache)
        await commit(again, block(1), "c")
        assert await restored(again, "c") == block(1)

    run(scenario())


def test_nothing_of_an_encrypted_repository_shows_in_its_cache() -> None:
    """Neither digests nor names of packs are readable, and with the key all of it is found."""

    async def scenario() -> None:
        store, cache = MemoryStore(), MemoryCache()
        await encrypted.created(store)
        repository = await Repository.open(store, unlock=lambda: encrypted.KEY, cache=cache)
        await commit(repository, block(1) + block(2), "a")
        await commit(repository, block(3) + block(2), "b")
        [(at, content)] = cache.files.items()
        assert b"session-a" not in content
        for fill in (1, 2):
            digest = blake3(block(fill), key=repository.header.key).digest(length=16)
            assert digest not in content
        assert repository.identity not in at[0]
        again = await Repository.open(store, unlock=lambda: encrypted.KEY, cache=cache)
        session = await commit(again, block(1) + block(2), "c")
        assert session.bytes_sent == 0

    run(scenario())


def test_without_room_for_a_cache_all_is_in_memory() -> None:
    """Where nothing can be kept, blocks are found all the same."""

    class Full(MemoryCache):
        async def keep(self, group: str, name: str, content: bytes | bytearray, /) -> bool:
            del group, name, content
            return False

    async def scenario() -> None:
        store = MemoryStore()
        repository = await Repository.create(
            store, identity_token="ab" * 16, block_size=BLOCK, cache=Full()
        )
        await commit(repository, block(1) + block(2), "a")
        await commit(repository, block(3) + block(2), "b")
        session = await commit(repository, block(1) + block(3), "c")
        assert session.bytes_sent == 0

    run(scenario())
