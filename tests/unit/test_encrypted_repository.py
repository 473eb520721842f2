"""An encrypted repository shows nothing, opens for its keys only, and never locks its owner out."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from typing import Final

import pytest
from backports.zstd import zstd_version

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError, RefusedError, TwinshotError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.repository.errors import (
    RepositoryExistsError,
    RepositoryFeatureError,
    RepositoryForeignError,
)
from reference_engine.repository.header import HEADER_COPIES, HEADER_NAME
from reference_engine.repository.keys.errors import KeyNeededError, WrongKeyError
from reference_engine.repository.keys.material import Passphrase, Secret
from reference_engine.repository.repository import Repository
from tests.strategies.encrypted_repositories import (
    PARITY,
    WORDS,
    check,
    created,
    features,
    filled,
    opened,
    run,
)
from tests.strategies.faulty_stores import Fault, FaultyStore, PowerCutError
from tests.strategies.golden_repositories import IMAGES, golden, write_both, write_golden
from tests.strategies.repositories import VM, block, commit, new_repository, restored, write

NAME: Final = "format-2-encrypted"
HEADERS: Final = (HEADER_NAME, *HEADER_COPIES)


async def seen(store: MemoryStore) -> str:
    """Return what becomes of reading everything: `right`, `reported`, or wrong data."""
    try:
        repository = await opened(store)
        for point in await repository.points():
            if await restored(repository, str(point.id)) != IMAGES[str(point.id)]:
                return "wrong data"
    except (CorruptionError, RefusedError):
        return "reported"
    return "right"


def test_a_stored_repository_is_read() -> None:
    """What an earlier program of this format wrote is restored, by either of its keys."""

    async def scenario() -> None:
        await check(golden(NAME))
        await check(golden(NAME), WORDS)

    run(scenario)


@pytest.mark.skipif(zstd_version != "1.5.7", reason="other compressors make other bytes")
def test_a_repository_is_written_byte_for_byte() -> None:
    """The same runs, from the same chance, make the same objects."""
    assert asyncio.run(filled()).objects == golden(NAME).objects


def test_every_flipped_byte_is_reported_or_harmless() -> None:
    """No change of any one byte of any object leads to other content, or locks anybody out."""

    async def scenario() -> None:
        store = golden(NAME)
        for name, content in sorted(store.objects.items()):
            seen_here: set[str] = set()
            # `test_keys` flips every bit of a slot; here it is about what becomes of its copy.
            for at in range(0, len(content), 61 if "keys/" in name else 1):
                flipped = bytes([content[at] ^ (1 << at % 8)])
                store.objects[name] = content[:at] + flipped + content[at + 1 :]
                seen_here.add(await seen(store))
            store.objects[name] = content
            # One sound copy of all but packs is enough, and the index is for dedup only.
            spare = not name.startswith("packs/")
            assert seen_here == ({"right"} if spare else {"reported"}), name

    run(scenario)


def test_with_parity_every_flipped_byte_is_mended() -> None:
    """No change of any one byte of any object costs anything, and reading says what was mended."""

    async def scenario() -> None:
        store = await filled(parity=PARITY)
        for name, content in sorted(store.objects.items()):
            for at in range(0, len(content), 31):
                flipped = bytes([content[at] ^ (1 << at % 8)])
                store.objects[name] = content[:at] + flipped + content[at + 1 :]
                repository = await check(store)
                mended = (name,) if name.startswith("packs/") else ()
                assert tuple(repository.mended) == mended, (name, at)
            store.objects[name] = content

    run(scenario)


def test_with_parity_any_one_small_object_may_vanish() -> None:
    """Also the newest entry of the log, which no listing would miss."""

    async def scenario() -> None:
        store = await filled(parity=PARITY)
        for name, content in sorted(store.objects.items()):
            del store.objects[name]
            await check(store)
            store.objects[name] = content

    run(scenario)


def test_any_two_objects_exchanged_are_noticed_or_harmless() -> None:
    """No object passes for another one, nor for one of the same name of another repository."""

    async def scenario() -> None:
        store = await filled()
        other = MemoryStore()
        await write_both(await created(other, features(seed=9), token="ef" * 16))
        names = sorted(store.objects)
        for one in names:
            for two in names:
                if one < two:
                    objects = dict(store.objects)
                    objects[one], objects[two] = objects[two], objects[one]
                    exchanged = MemoryStore()
                    exchanged.objects = objects
                    assert await seen(exchanged) in {"right", "reported"}, (one, two)
            for_it = other.objects.get(one)
            if for_it is not None:
                foreign = MemoryStore()
                foreign.objects = {**store.objects, one: for_it}
                assert await seen(foreign) in {"right", "reported"}, one

    run(scenario)


def test_nothing_in_the_store_tells_what_is_in_it() -> None:
    """No content, no name of a machine or disk, no label and no key can be found."""

    async def scenario() -> None:
        plain = MemoryStore()
        await write_both(await new_repository(plain))
        store = await filled(parity=PARITY)
        words = (b"the machine", b"disk", b"volume", b"Ada", b"server", b"horse", b'"vm"')
        for word in (*words, *(IMAGES["a"][at : at + 16] for at in range(0, 128, 16))):
            found = [name for name, content in store.objects.items() if word in content]
            assert found == [], word
        assert any(b"the machine" in content for content in plain.objects.values())
        for name, content in store.objects.items():
            assert b"digest_key" not in content, name

    run(scenario)


def test_without_the_right_key_nothing_opens() -> None:
    """No key, other words and another random key are each refused in one sentence."""

    async def scenario() -> None:
        store = await filled()
        with pytest.raises(KeyNeededError):
            await Repository.open(store)
        for credential in (Passphrase("wrong"), Secret(bytes(32))):
            with pytest.raises(WrongKeyError) as caught:
                await opened(store, credential)
            assert "\n" not in str(caught.value)

    run(scenario)


def test_an_altered_header_is_no_header() -> None:
    """Whoever can write all three copies still cannot turn a feature off or change its meaning."""

    async def scenario() -> None:
        store = await filled()
        plain = MemoryStore()
        await new_repository(plain)
        for header in (
            store.objects[HEADER_NAME].replace(b'"block_size": 64', b'"block_size": 32'),
            plain.objects[HEADER_NAME],
            (await filled(parity=PARITY)).objects[HEADER_NAME],
        ):
            forged = MemoryStore()
            forged.objects = {**store.objects, **dict.fromkeys(HEADERS, header)}
            with pytest.raises(TwinshotError):
                await opened(forged)

    run(scenario)


def test_an_unknown_feature_asks_for_a_newer_program() -> None:
    """What a feature means cannot be guessed, so nothing is read and nothing written."""

    async def scenario() -> None:
        store = await filled()
        later = store.objects[HEADER_NAME].replace(b'"encryption"', b'"entanglement"')
        store.objects.update(dict.fromkeys(HEADERS, later))
        with pytest.raises(RepositoryFeatureError, match="entanglement"):
            await opened(store)

    run(scenario)


def test_an_existing_repository_is_not_created_again() -> None:
    """The second one gets no slot into the first; leftovers of a failed attempt are no obstacle."""

    async def scenario() -> None:
        store = await filled()
        before = dict(store.objects)
        with pytest.raises(RepositoryExistsError):
            await created(store, features(seed=5))
        assert store.objects == before
        leftovers = MemoryStore()
        leftovers.objects = {n: c for n, c in before.items() if n.startswith(("keys/", "copies/k"))}
        await created(leftovers, features(seed=5), token="12" * 16)
        await commit(await opened(leftovers), IMAGES["a"], "a")
        leftovers.objects = {"notes": b""}
        with pytest.raises(RepositoryForeignError):
            await created(leftovers)

    run(scenario)


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.ANSWER_LOST])
def test_a_fault_at_any_write_leaves_points_absent_or_whole(fault: Fault) -> None:
    """With encryption and parity, as without them."""

    async def scenario() -> None:
        prepared = MemoryStore()
        await commit(await created(prepared, features(parity=PARITY)), IMAGES["a"], "a")
        for at in range(100):
            store = FaultyStore(dict(prepared.objects), at=at, fault=fault)
            repository = await opened(store)
            try:
                await commit(repository, IMAGES["b"], "b")
            except PowerCutError:
                assert fault is not Fault.ANSWER_LOST
            after = MemoryStore()
            after.objects = store.objects
            found = await opened(after)
            listed = [str(point.id) for point in await found.points()]
            assert listed in (["a"], ["a", "b"])
            for point in listed:
                assert await restored(found, point) == IMAGES[point]
            if fault is Fault.ANSWER_LOST:
                assert listed == ["a", "b"]
                packs = {n for n in store.objects if n.startswith("packs/")}
                assert {f"parity/{name}" for name in packs} <= set(store.objects)
            await commit(found, IMAGES["a"], "c")
            assert await restored(found, "c") == IMAGES["a"]
            if not store.hit:
                break

    run(scenario)


def test_what_an_abandoned_run_stored_is_deleted_with_its_parity() -> None:
    """Nothing is left of it, and nothing is restored from parity that was deleted."""

    async def scenario() -> None:
        store = await filled(parity=PARITY)
        before = set(store.objects)
        repository = await opened(store)
        session = await repository.open_run(VM, token="session-x")  # noqa: S106 - no secret
        await write(session, block(9) * 3)
        await session._packs.flush()
        assert {"packs/session-x-1", "parity/packs/session-x-1"} <= set(store.objects)
        await session.abandon()
        left = set(store.objects) - before
        both = ("log/0000000005", "log/0000000006")
        assert left == {*both, *(f"copies/{name}" for name in both)}
        with pytest.raises(RefusedError):
            await repository.point(RecoveryPointId("x"))

    run(scenario)


if __name__ == "__main__":
    write_golden(NAME, asyncio.run(filled()).objects)
