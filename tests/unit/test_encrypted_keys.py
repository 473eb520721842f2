"""Keys of a repository come and go, are never the last to go, and lock nobody out half-way."""

import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError, RefusedError
from reference_engine.model.units import Instant
from reference_engine.repository.access import Keys
from reference_engine.repository.keys.errors import (
    KeyRetiredError,
    LastSlotError,
    SlotUnknownError,
    WrongKeyError,
)
from reference_engine.repository.keys.material import Passphrase, SlotKind
from reference_engine.repository.keys.slots import Access, encode_slot
from reference_engine.repository.repository import Repository
from tests.strategies.encrypted_repositories import (
    CHEAP,
    KEY,
    WORDS,
    by_words,
    chance,
    check,
    filled,
    opened,
    run,
    slot_of,
)
from tests.strategies.faulty_stores import Fault, FaultyStore, PowerCutError
from tests.strategies.golden_repositories import IMAGES
from tests.strategies.repositories import commit, restored

_SAME = Access(credential=KEY, kind=SlotKind.FILE, label="server", cost=CHEAP)


def test_a_key_is_added_and_removed() -> None:
    """A new slot opens everything; a removed one opens nothing; the last one stays."""

    async def scenario() -> None:
        store = await filled()
        keys = (await opened(store)).keys
        assert keys is not None
        new = await keys.add(by_words("third", "Bob"), chance=chance(3))
        views = {view.slot: view for view in await keys.slots()}
        assert sorted(view.label for view in views.values()) == ["Ada", "Bob", "server"]
        assert [view.label for view in views.values() if view.opened] == ["server"]
        await check(store, Passphrase("third"))

        for slot in views:
            if slot != new:
                await keys.remove(slot)
        for credential in (KEY, WORDS):
            with pytest.raises(WrongKeyError):
                await opened(store, credential)
        with pytest.raises(LastSlotError):
            await keys.remove(new)
        with pytest.raises(SlotUnknownError):
            await keys.remove("nobody")
        await check(store, Passphrase("third"))

    run(scenario)


def test_two_engines_cannot_take_the_last_two_keys_away() -> None:
    """Each removes another one, and the log lets only the first of them."""

    async def scenario() -> None:
        store = await filled()
        one, two = (await opened(store)).keys, (await opened(store)).keys
        assert one is not None
        assert two is not None
        first, second = [view.slot for view in await one.slots()]
        held = dict(store.objects)
        await one.remove(first)
        # The other engine still sees both slots, as a store that lists late would have it.
        store.objects.update({n: c for n, c in held.items() if n.endswith(first)})
        with pytest.raises(LastSlotError):
            await two.remove(second)

    run(scenario)


async def known_to_ada() -> tuple[MemoryStore, Keys, str]:
    """Return a repository's store, its keys, and the slot that Ada's passphrase opens."""
    store = await filled()
    keys = (await opened(store)).keys
    assert keys is not None
    return store, keys, next(view.slot for view in await keys.slots() if view.label == "Ada")


def test_a_slot_whose_removal_was_cut_short_opens_no_more() -> None:
    """The log's word counts, not whether the object is still there."""

    async def scenario() -> None:
        store, keys, words = await known_to_ada()
        held = dict(store.objects)
        await keys.remove(words)
        store.objects.update({n: c for n, c in held.items() if n.endswith(words)})
        with pytest.raises(WrongKeyError):
            await opened(store, WORDS)
        await keys.remove(words)
        assert not [name for name in store.objects if name.endswith(words)]

    run(scenario)


def test_a_new_master_key_seals_what_comes_and_opens_what_was() -> None:
    """After a rotation one slot is left; old points and new ones are read, and blocks found."""

    async def scenario() -> None:
        store = await filled()
        keys = (await opened(store)).keys
        assert keys is not None
        held = dict(store.objects)
        await keys.rotate_master(by_words("new"), chance=chance(4))
        repository = await check(store, Passphrase("new"))
        assert repository.keys is not None
        assert len(await repository.keys.slots()) == 1
        session = await commit(repository, IMAGES["b"], "c")
        assert session.bytes_sent == 0
        assert await restored(await opened(store, Passphrase("new")), "c") == IMAGES["b"]
        # A copy of the old slot, kept by whoever the rotation was meant to lock out.
        store.objects.update({n: c for n, c in held.items() if "keys/" in n})
        with pytest.raises((KeyRetiredError, CorruptionError)):
            await opened(store)

    run(scenario)


def test_of_two_rotations_at_once_one_wins() -> None:
    """The other one is told so, and its slot seals nothing that nobody else could read."""

    async def scenario() -> None:
        store = await filled()
        one, two = (await opened(store)).keys, (await opened(store)).keys
        assert one is not None
        assert two is not None
        await one.rotate_master(by_words("one"), chance=chance(5))
        with pytest.raises(KeyRetiredError):
            await two.rotate_master(by_words("two"), chance=chance(6))
        await check(store, Passphrase("one"))
        with pytest.raises(KeyRetiredError):
            await opened(store, Passphrase("two"))

    run(scenario)


Change = Callable[[Repository], Awaitable[object]]


async def _add(repository: Repository) -> object:
    assert repository.keys is not None
    return await repository.keys.add(by_words("new"), chance=chance(3))


async def _replace(repository: Repository) -> object:
    assert repository.keys is not None
    return await repository.keys.replace(by_words("new"), chance=chance(3))


async def _rotate(repository: Repository) -> object:
    assert repository.keys is not None
    return await repository.keys.rotate_master(by_words("new"), chance=chance(3))


class CutStore(FaultyStore):
    """A store in which deletions count as changing calls as well."""

    async def delete(self, name: str, /) -> None:
        """Delete the object, unless this is the call at which the power is cut."""
        self.left -= 1
        if self.left != -1:
            return await super().delete(name)
        self.hit = name
        if self.fault is Fault.CUT_AFTER:
            await super().delete(name)
        raise PowerCutError


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
@pytest.mark.parametrize("change", [_add, _replace, _rotate])
def test_a_change_of_keys_that_is_cut_short_locks_nobody_out(change: Change, fault: Fault) -> None:
    """Whenever the power fails, the old key or the new one opens, and all can be repeated."""

    async def scenario() -> None:
        prepared = (await filled()).objects
        cuts = 0
        for at in range(100):
            store = CutStore(dict(prepared), at=at, fault=fault)
            repository = await opened(store)
            try:
                await change(repository)
            except PowerCutError:
                cuts += 1
            if not store.hit:
                break
            after = MemoryStore()
            after.objects = store.objects
            opens = []
            for credential in (KEY, Passphrase("new")):
                try:
                    await check(after, credential)
                except (RefusedError, CorruptionError):
                    continue
                opens.append(credential)
            assert opens, (at, store.hit)
            again = await opened(after, opens[-1])
            assert again.keys is not None
            await again.keys.rotate_master(by_words("again"), chance=chance(8))
            repository = await check(after, Passphrase("again"))
            await commit(repository, IMAGES["a"], "c")
        assert cuts >= 3

    run(scenario)


async def _replace_by_itself(keys: Keys, seed: int) -> object:
    return await keys.replace(_SAME, chance=chance(seed))


async def _rotate_to_itself(keys: Keys, seed: int) -> object:
    return await keys.rotate_master(_SAME, chance=chance(seed))


@pytest.mark.parametrize("change", [_replace_by_itself, _rotate_to_itself])
@pytest.mark.parametrize("seed", range(4))
def test_a_change_to_the_same_key_that_is_cut_short_locks_nobody_out(
    change: Callable[[Keys, int], Awaitable[object]], seed: int
) -> None:
    """A credential may open several slots, of which the log counts one; any of them may be first.

    The seeds draw names of slots, and so their order.
    """

    async def scenario() -> None:
        prepared = (await filled()).objects
        for at in range(100):
            store = CutStore(dict(prepared), at=at, fault=Fault.CUT_AFTER)
            keys = (await opened(store)).keys
            assert keys is not None
            with contextlib.suppress(PowerCutError):
                await change(keys, seed + 10)
            after = MemoryStore()
            after.objects = store.objects
            keys = (await check(after, KEY)).keys
            assert keys is not None
            await change(keys, seed + 20)
            await check(after, KEY)
            if not store.hit:
                break
        assert at >= 5

    run(scenario)


def test_what_a_change_of_keys_left_behind_goes_with_the_next_reclaim() -> None:
    """Slots that were removed, or that a creation left which came to nothing, open nothing."""

    async def scenario() -> None:
        store, keys, words = await known_to_ada()
        held = dict(store.objects)
        await keys.remove(words)
        left = {n: c for n, c in held.items() if n.endswith(words)}
        stranger = encode_slot(slot_of(by_words(), name="0" * 16))
        store.objects.update({**left, "keys/" + "0" * 16: stranger})

        await (await opened(store)).reclaim.reclaim(at=Instant(0))

        slots = {n.rpartition("/")[2] for n in store.objects if "keys/" in n}
        assert slots == {view.slot for view in await keys.slots()}
        await check(store)

    run(scenario)


def test_a_removal_may_be_asked_for_again() -> None:
    """By the beginning of its name too, however far it came the first time."""

    async def scenario() -> None:
        _, keys, words = await known_to_ada()
        for _ in range(2):
            assert await keys.named(words[:8].upper()) == words
            await keys.remove(words)
        assert await keys.named("nobody") == "nobody"
        assert await keys.named("") == ""

    run(scenario)


def test_slots_say_who_they_are_for_and_nothing_else() -> None:
    """A slot's clear part has no label, and both copies have the same bytes and one length."""

    async def scenario() -> None:
        store = await filled()
        names = [name for name in store.objects if name.startswith("keys/")]
        assert len(names) == 2
        for name in names:
            content = store.objects[name]
            assert store.objects[f"copies/{name}"] == content
            assert len(content) == 4096
            shown = msgspec.json.decode(content[:-65])
            assert shown["repository"] == "cd" * 16

    run(scenario)
