"""An encrypted repository whose log lost entries: who could open it before can, and nobody else."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from typing import NamedTuple

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.repository.codec import Entry
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.key_entries import KeyChange, KeyChangedEntry
from reference_engine.repository.keys.errors import KeyRetiredError, WrongKeyError
from reference_engine.repository.keys.material import Credential, Passphrase
from tests.strategies.encrypted_repositories import (
    KEY,
    PARITY,
    WORDS,
    by_words,
    chance,
    created,
    features,
    opened,
)
from tests.strategies.lost_entries import back_up, image, lose, renewed
from tests.strategies.repositories import restored

NEW = Passphrase("rotated")
IMAGES = {"a": image(1, 2), "b": image(3, 2), "c": image(4, 2), "d": image(1, 5)}


class Guarded(NamedTuple):
    """An encrypted repository, what its log said, and the key slots that were removed."""

    store: MemoryStore
    entries: tuple[Entry, ...]
    slots: dict[str, bytes]

    def again(self) -> MemoryStore:
        """Return another store with the same objects."""
        store = MemoryStore()
        store.objects = dict(self.store.objects)
        return store

    def number(self, change: KeyChange) -> int:
        """Return the number of the entry of this change."""
        return next(
            number
            for number, entry in enumerate(self.entries, start=1)
            if isinstance(entry, KeyChangedEntry) and entry.change is change
        )


def slots(store: MemoryStore) -> dict[str, bytes]:
    """Return the objects of key slots."""
    return {name: content for name, content in store.objects.items() if "keys/" in name}


@pytest.fixture(scope="module")
def guarded() -> Guarded:
    """Return a repository in which a key was added, one removed, and the master key rotated."""

    async def scenario() -> Guarded:
        store = MemoryStore()
        repository = await created(store, features(parity=PARITY))
        assert repository.keys is not None
        await back_up(repository, IMAGES["a"], "a")
        await repository.keys.add(by_words("another"), chance=chance(2))
        before = slots(store)
        [ada] = [s.slot for s in await repository.keys.slots() if s.label == "Ada"]
        await repository.keys.remove(ada)
        await back_up(repository, IMAGES["b"], "b")
        await repository.keys.rotate_master(by_words("rotated"), chance=chance(3))
        rotated = await opened(store, NEW)
        await back_up(rotated, IMAGES["c"], "c")
        entries = await rotated.entries()
        gone = {name: each for name, each in before.items() if name not in store.objects}
        return Guarded(store, entries, gone)

    return asyncio.run(scenario())


async def is_sound(store: MemoryStore) -> None:
    """Make sure that every point is there, and that the newest master key seals what comes."""
    repository = await opened(store, NEW)
    assert [entry.point for entry in await repository.commits()] == ["a", "b", "c"]
    assert repository.keys is not None
    assert repository.keys.master_keys == 2
    for point in ("a", "b", "c"):
        assert await restored(repository, point) == IMAGES[point]
    await back_up(repository, IMAGES["d"], "d")
    assert await restored(await opened(store, NEW), "d") == IMAGES["d"]


def test_any_lost_entry_leaves_points_and_keys(guarded: Guarded) -> None:
    """Also one that removed a key or brought a new master key."""

    async def scenario() -> None:
        for number in range(1, len(guarded.entries) + 1):
            store = guarded.again()
            lose(store, number)
            assert await renewed(store, unlock=lambda: NEW) is not None, number
            for credential in (KEY, WORDS, Passphrase("another")):
                with pytest.raises(WrongKeyError):
                    await opened(store, credential)
            await is_sound(store)

    asyncio.run(scenario())


def test_a_log_that_is_gone_leaves_points_and_keys(guarded: Guarded) -> None:
    """Which master key is in use is told by the slots that are left."""

    async def scenario() -> None:
        store = guarded.again()
        lose(store, *range(1, len(guarded.entries) + 1))
        assert await renewed(store, unlock=lambda: NEW) is not None
        await is_sound(store)

    asyncio.run(scenario())


@pytest.mark.parametrize("credential", [KEY, WORDS, Passphrase("another")])
@pytest.mark.parametrize("lost", [1, 4, 7, 8])
def test_a_key_that_was_retired_renews_nothing(
    guarded: Guarded, credential: Credential, lost: int
) -> None:
    """Though its slot is there again: what it cannot read would be lost."""

    async def scenario() -> None:
        store = guarded.again()
        store.objects |= guarded.slots
        lose(store, lost)
        before = dict(store.objects)
        with pytest.raises((KeyRetiredError, WrongKeyError)):
            await renewed(store, unlock=lambda: credential)
        assert store.objects == before

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", [1, 3])
def test_a_key_whose_removal_is_lost_is_named(lost: int) -> None:
    """Whoever removed it died before its slot was deleted: it opens again, and that is said.

    Where another entry is lost, it stays removed.
    """

    async def scenario() -> None:
        store = MemoryStore()
        repository = await created(store)
        assert repository.keys is not None
        await back_up(repository, IMAGES["a"], "a")
        before = slots(store)
        [ada] = [s.slot for s in await repository.keys.slots() if s.label == "Ada"]
        await repository.keys.remove(ada)
        await back_up(repository, IMAGES["b"], "b")
        store.objects |= before
        with pytest.raises(WrongKeyError):
            await opened(store, WORDS)
        lose(store, lost)
        found = await renewed(store, unlock=lambda: KEY)
        assert found is not None
        assert found.doubtful == ((ada,) if lost == 3 else ())
        if lost == 1:
            with pytest.raises(WrongKeyError):
                await opened(store, WORDS)
            return
        again = await opened(store, KEY)
        assert again.keys is not None
        await again.keys.remove(ada)
        with pytest.raises(WrongKeyError):
            await opened(store, WORDS)

    asyncio.run(scenario())


def test_removals_behind_the_lost_entry_still_count(guarded: Guarded) -> None:
    """A slot that was removed opens nothing, though its objects are there again."""

    async def scenario() -> None:
        store = guarded.again()
        lose(store, 1)
        assert await renewed(store, unlock=lambda: NEW) is not None
        store.objects |= guarded.slots
        for credential in (KEY, WORDS):
            # To a retired key a renewal is nothing that it could read.
            with pytest.raises((WrongKeyError, KeyRetiredError, LogDamagedError)):
                await opened(store, credential)
        await is_sound(store)

    asyncio.run(scenario())


def test_a_master_key_that_never_came_to_its_entry_is_not_in_use() -> None:
    """Whoever rotated it died: what a renewal writes must be readable with the keys that count."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await created(store)
        assert repository.keys is not None
        await back_up(repository, IMAGES["a"], "a")
        await back_up(repository, IMAGES["b"], "b")
        apart = MemoryStore()
        apart.objects = dict(store.objects)
        other = await opened(apart)
        assert other.keys is not None
        slot = await other.keys.rotate_master(by_words("rotated"), chance=chance(3))
        store.objects |= {name: each for name, each in apart.objects.items() if slot in name}
        lose(store, 2)
        assert await renewed(store, unlock=lambda: NEW) is not None
        for credential in (KEY, WORDS, NEW):
            again = await opened(store, credential)
            assert [entry.point for entry in await again.commits()] == ["a", "b"]

    asyncio.run(scenario())
