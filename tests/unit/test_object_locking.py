"""In a store with locks nothing that a point needs goes before the point is old enough."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import ObjectLockedError, TransientError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import HOUR, Duration, Instant
from reference_engine.ports.object_locks import LockMode
from reference_engine.repository.access import Keys
from reference_engine.repository.domain_keys import key_names
from reference_engine.repository.keys.derivation import Cost
from reference_engine.repository.keys.material import Secret, SlotKind
from reference_engine.repository.keys.slots import Access, slot_names
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.opening import PLAIN, Features, NewKeys
from reference_engine.repository.parity import ParityPlan
from reference_engine.repository.repository import Repository
from reference_engine.repository.settings import Settings
from reference_engine.repository.survey import Survey
from reference_engine.upkeep.replacing import put_right
from tests.strategies.domain_vaults import domains_of, put
from tests.strategies.encrypted_repositories import chance
from tests.strategies.locking_stores import LockingMemoryStore
from tests.strategies.repositories import BLOCK, VM, block, commit, restored, write

DAY = 24 * HOUR
PERIOD = Duration(30 * DAY)
LOCKED = Settings(immutable_for=PERIOD, object_lock=LockMode.COMPLIANCE)


async def created(store: MemoryStore, features: Features = PLAIN) -> Repository:
    """Return an empty repository whose objects are locked."""
    return await Repository.create(
        store, identity_token="ab" * 16, block_size=BLOCK, settings=LOCKED, features=features
    )


async def needed(store: LockingMemoryStore, repository: Repository) -> list[str]:
    """Return every object without which a point could not be restored, or would be less safe."""
    reader = ManifestReader(repository.store, repository.header)
    survey = Survey(repository.store, repository.header, reader)
    used = await survey.used(await repository.commits())
    both = [each for name in used for each in (name, f"parity/{name}")]
    other = ("log/", "copies/log/", "repository.json", "copies/repository", "keys/", "copies/keys/")
    found = [name for name in both if name in store.objects]
    return found + [name for name in store.objects if name.startswith(other)]


async def ends_too_early(
    store: LockingMemoryStore, repository: Repository, made: Instant
) -> list[str]:
    """Return what somebody could remove before a point of this instant is old enough."""
    ends = store.locks.ends
    return [n for n in await needed(store, repository) if ends.get(n, 0) < made + PERIOD]


def features_of(kind: str) -> Features:
    """Return what a repository has beside its locks."""
    if kind == "plain":
        return PLAIN
    if kind == "parity":
        return Features(parity=ParityPlan.of_percent(50, group=2))
    chance = AsyncioRuntime(seed=1).random("keys")
    cost = Cost(memory_kib=64, passes=1, lanes=1)
    access = Access(credential=Secret(bytes(32)), kind=SlotKind.FILE, label="first", cost=cost)
    return Features(encryption=NewKeys(accesses=(access,), chance=chance))


@pytest.mark.parametrize("kind", ["plain", "parity", "encryption"])
@given(
    days=st.lists(st.integers(0, 25), min_size=1, max_size=5),
    fills=st.lists(st.integers(1, 4), min_size=5, max_size=5),
    hours=st.integers(0, 23),
)
def test_what_a_new_point_uses_is_locked_for_a_whole_period(
    kind: str, days: list[int], fills: list[int], hours: int
) -> None:
    """Blocks of old points, pages, log, header, parity and keys: whenever points come."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        store.locks.at = Instant(store.locks.at + hours * HOUR)
        repository = await created(store, features_of(kind))
        for number, (pause, fill) in enumerate(zip(days, fills, strict=False)):
            store.locks.at = Instant(store.locks.at + pause * DAY)
            made = store.locks.at
            await commit(repository, block(9) + block(fill), f"p{number}")
            assert await ends_too_early(store, repository, made) == []

    asyncio.run(scenario())


def test_locks_are_prolonged_once_in_a_stretch() -> None:
    """However many points come in it, and whichever process makes them."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        await created(store)
        for number in range(30):
            store.locks.at = Instant(store.locks.at + DAY)
            await commit(await Repository.open(store), block(1 + number % 3), f"p{number}")
        # A quarter of thirty days is seven and a half.
        assert store.locks.extended.count("log/0000000001") == 4

    asyncio.run(scenario())


def test_a_prolonging_that_died_is_done_by_the_next_run() -> None:
    """The header comes last: as long as its lock is old, nobody takes the others for prolonged."""

    async def scenario() -> None:
        cut = 0
        while True:
            store = LockingMemoryStore()
            await commit(await created(store), block(1), "a")
            store.locks.at = Instant(store.locks.at + 20 * DAY)
            store.locks.dies_after = cut
            try:
                await commit(await Repository.open(store), block(1), "b")
            except TransientError:
                store.locks.dies_after = None
            else:
                break
            repository = await Repository.open(store)
            assert [entry.point for entry in await repository.commits()] == ["a"]
            await commit(repository, block(1), "c")
            assert await ends_too_early(store, repository, store.locks.at) == []
            cut += 1
        assert cut > 10

    asyncio.run(scenario())


def test_a_prune_frees_what_is_locked_once_the_lock_has_ended() -> None:
    """Until then it says what waits and until when; nothing is lost, and nothing is forgotten."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        repository = await created(store)
        start = store.locks.at
        await commit(repository, block(1), "a")
        await commit(repository, block(2), "b")
        gone = RecoveryPointId("a")
        at = Instant(start + PERIOD)
        await repository.reclaim.expire((gone,), at=at, allow_last=False)

        kept = await repository.reclaim.reclaim(at=at)
        assert kept.deleted == ()
        assert "packs/session-a-1" in kept.locked
        [left] = repository.reclaim.history.unreleased.values()
        assert {*left} == {*kept.locked}
        assert "packs/session-a-1" in store.objects
        # Another run's prolonging passes over what is swept.
        store.locks.at = Instant(start + 20 * DAY)
        await commit(await Repository.open(store), block(2), "c")
        again = await (await Repository.open(store)).reclaim.reclaim(at=at)
        assert again.locked == kept.locked
        store.locks.at = Instant(start + PERIOD + 9 * DAY)
        repository = await Repository.open(store)
        freed = await repository.reclaim.reclaim(at=at)
        assert {*freed.deleted} == {*kept.locked}
        assert freed.locked == {}
        assert not [name for name in store.objects if "session-a" in name]
        assert (await repository.reclaim.reclaim(at=at)).deleted == ()
        assert await restored(repository, "b") == await restored(repository, "c") == block(2)

    asyncio.run(scenario())


def test_a_run_that_comes_to_nothing_leaves_what_is_locked_to_a_prune() -> None:
    """Undoing it is no error; its blocks go with the rest once nobody holds them."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        repository = await created(store)
        await commit(repository, block(1), "a")
        session = await repository.open_run(VM, token="session" + "-b")
        await write(session, block(5))
        await session.abandon()
        store.locks.at = Instant(store.locks.at + PERIOD + 20 * DAY)
        await repository.reclaim.reclaim(at=store.locks.at)
        assert not [name for name in store.objects if "session-b" in name]
        assert await restored(repository, "a") == block(1)

    asyncio.run(scenario())


def test_slots_that_are_older_than_the_header_are_prolonged_before_the_first_point() -> None:
    """They were put before it, and perhaps in the stretch before: its lock says nothing of them."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        repository = await created(store, features_of("encryption"))
        for name in [name for name in store.objects if "keys/" in name]:
            store.locks.ends[name] = store.locks.at
        await commit(repository, block(1), "a")
        assert await ends_too_early(store, repository, store.locks.at) == []

    asyncio.run(scenario())


def test_a_removed_key_slot_is_not_kept_any_longer() -> None:
    """It opens nothing from its entry on; its objects go when their own lock has ended."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        repository = await created(store, features_of("encryption"))
        keys = repository.keys
        assert isinstance(keys, Keys)
        [first] = [view.slot for view in await keys.slots()]
        chance = AsyncioRuntime(seed=2).random("keys")
        second = Access(
            credential=Secret(bytes(31) + b"2"),
            kind=SlotKind.FILE,
            label="second",
            cost=Cost(memory_kib=64, passes=1, lanes=1),
        )
        name = await keys.add(second, chance=chance)
        await keys.remove(name)
        assert [view.slot for view in await keys.slots()] == [first]
        assert slot_names(name)[0] in store.objects
        for number in range(6):
            store.locks.at = Instant(store.locks.at + 9 * DAY)
            await commit(repository, block(1), f"p{number}")
        await repository.reclaim.reclaim(at=store.locks.at)
        assert slot_names(name)[0] not in store.objects
        assert slot_names(first)[0] in store.objects

    asyncio.run(scenario())


def test_damage_that_is_locked_is_named_and_nothing_is_put_over_it() -> None:
    """A repair says what it cannot replace; the damaged bytes are in quarantine besides."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        await commit(await created(store), block(1), "a")
        store.objects["points/a"] = b"damaged"
        with pytest.raises(ObjectLockedError, match="points/a"):
            await put_right(store, "points/a", b"sound")
        assert store.objects["points/a"] == b"damaged"

    asyncio.run(scenario())


def test_a_copy_in_a_store_without_locks_is_read_and_written() -> None:
    """Locks are the store's; what is promised beside them holds anywhere."""

    async def scenario() -> None:
        store, plain = LockingMemoryStore(), MemoryStore()
        await commit(await created(store), block(1), "a")
        plain.objects.update(store.objects)
        repository = await Repository.open(plain)
        await commit(repository, block(2), "b")
        assert await restored(repository, "a") == block(1)
        assert repository.settings == LOCKED

    asyncio.run(scenario())


def test_a_repository_without_locks_has_the_bytes_it_always_had() -> None:
    """And nothing is locked in it, though the store could."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        repository = await Repository.create(
            store,
            identity_token="ab" * 16,
            block_size=BLOCK,
            settings=Settings(immutable_for=PERIOD),
        )
        for before, after in pairwise("abc"):
            await commit(repository, block(1), before + after)
        assert store.locks.ends == {}
        assert b"object_lock" not in store.objects["repository.json"]

    asyncio.run(scenario())


def test_the_key_of_a_shredded_domain_goes_as_soon_as_its_lock_lets_it() -> None:
    """It is locked like all else, and never again once nobody is to read by it."""

    async def scenario() -> None:
        store = LockingMemoryStore()
        repository = await created(store, features_of("encryption"))
        domain = await domains_of(repository).add("red", chance=chance(2))
        await put(repository, "one", block(1), "a", domain="red")
        locked = {each: store.locks.ends[each] for each in key_names(domain)}
        done = await domains_of(repository).shred(
            "red", reclaim=repository.reclaim, at=store.locks.at
        )
        assert done.locked.keys() == locked.keys()
        for _ in range(4):
            store.locks.at = Instant(store.locks.at + 11 * DAY)
            await put(repository, "two", block(2), f"at {store.locks.at}", domain="")
            left = [each for each in locked if each in store.objects]
            assert {each: store.locks.ends[each] for each in left} == (locked if left else {})
            reclaimed = await repository.reclaim.reclaim(at=store.locks.at)
            over = store.locks.at > max(locked.values())
            assert [each in reclaimed.locked for each in locked] == [not over] * 2
            assert [each in store.objects for each in locked] == [not over] * 2
        assert over

    asyncio.run(scenario())
