"""Objects in segments: any range comes back, and nothing altered, moved or exchanged ever does."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.repository.domain_keys import DomainKey, DomainKeys
from reference_engine.repository.encryption import Encryption
from reference_engine.repository.envelope import (
    HEAD_SIZE,
    SEGMENT,
    TAG,
    Sealing,
    SegmentDamagedError,
    Tagging,
    decode_head,
    sealed,
)
from reference_engine.repository.keys.errors import DomainKeyMissingError
from reference_engine.repository.keys.keyring import Keyring
from reference_engine.repository.keys.material import Secret
from reference_engine.repository.repository import INLINE
from reference_engine.repository.segmented_store import SegmentedStore
from tests.strategies.encrypted_repositories import by_words, slot_of

ONE, OTHER = Secret(bytes([1] * 32)), Secret(bytes([2] * 32))
RING = Keyring("here", (ONE, OTHER), slot=slot_of(by_words()))
SEALINGS: dict[str, Sealing] = {
    "encrypted": Encryption(RING, "here", DomainKeys()),
    "tagged": Tagging(bytes([3] * 32)),
}
lengths = st.sampled_from(
    [0, 1, 15, 16, 17, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + 99]
)
methods = st.sampled_from(sorted(SEALINGS))


def content_of(length: int, fill: int = 0) -> bytes:
    """Return bytes in which no two segments are alike."""
    return b"".join((n + fill).to_bytes(4, "little") for n in range(-(-length // 4)))[:length]


def store_of(method: str) -> SegmentedStore:
    """Return a sealed store over memory."""
    return SegmentedStore(MemoryStore(), SEALINGS[method], parity=None, executor=INLINE)


def under(store: SegmentedStore) -> dict[str, bytes]:
    """Return the objects as they are stored."""
    assert isinstance(store._store, MemoryStore)
    return store._store.objects


async def seen(store: SegmentedStore, name: str, length: int) -> bytes | None:
    """Return what can be read of an object of this length; None: nothing."""
    whole = await store.read(name)
    try:
        part = await store.read_range(name, offset=0, length=length)
    except CorruptionError:
        part = None
    assert (whole or None) == part if length else not whole
    return whole or None


@given(methods, lengths, st.data())
def test_any_range_of_an_object_comes_back(method: str, length: int, data: st.DataObject) -> None:
    """Whatever is asked for, across segments or within one, is what was written."""
    offset = data.draw(st.integers(0, length))
    wanted = data.draw(st.integers(0, length - offset))

    async def scenario() -> None:
        store, content = store_of(method), content_of(length)
        assert await store.create("packs/a", content)
        assert not await store.create("packs/a", b"other")
        assert await store.read("packs/a") == content
        found = await store.read_range("packs/a", offset=offset, length=wanted)
        assert found == content[offset : offset + wanted]
        with pytest.raises(CorruptionError):
            await store.read_range("packs/a", offset=offset, length=length - offset + 1)
        stored = len(under(store)["packs/a"])
        assert stored == HEAD_SIZE + length + TAG * -(-length // SEGMENT)

    asyncio.run(scenario())


@settings(max_examples=300)
@given(methods, lengths.filter(bool), st.data())
def test_nothing_altered_is_ever_returned(method: str, length: int, data: st.DataObject) -> None:
    """A flipped bit, a cut, an appended byte, or two segments exchanged: the object is damaged."""

    async def scenario() -> None:
        store, content = store_of(method), content_of(length)
        await store.create("packs/a", content)
        stored = under(store)["packs/a"]
        way = data.draw(st.sampled_from(["flip", "cut", "append", "exchange"]))
        altered = stored
        if way == "flip":
            at = data.draw(st.integers(0, len(stored) - 1))
            bit = 1 << data.draw(st.integers(0, 7))
            altered = stored[:at] + bytes([stored[at] ^ bit]) + stored[at + 1 :]
        elif way == "cut":
            altered = stored[: data.draw(st.integers(0, len(stored) - 1))]
        elif way == "append":
            under(store)["packs/a"] = stored + b"\0"
            assert not await store.read("packs/a")
            return
        elif length >= 2 * SEGMENT:
            step = SEGMENT + TAG
            first, second = (
                stored[HEAD_SIZE + n * step : HEAD_SIZE + (n + 1) * step] for n in (0, 1)
            )
            altered = stored[:HEAD_SIZE] + second + first + stored[HEAD_SIZE + 2 * step :]
        if altered != stored:
            under(store)["packs/a"] = altered
            assert await seen(store, "packs/a", length) is None

    asyncio.run(scenario())


@pytest.mark.parametrize("method", sorted(SEALINGS))
@pytest.mark.parametrize("name", ["packs/b", "maps/a", "log/a", "points/a", "copies/packs/a"])
def test_an_object_opens_under_its_own_name_only(method: str, name: str) -> None:
    """A pack is no map, one pack no other, and a copy is not the first one."""

    async def scenario() -> None:
        store, content = store_of(method), content_of(100)
        await store.create("packs/a", content)
        await store.create(name, content)
        objects = under(store)
        assert objects[name] != objects["packs/a"]
        objects[name], objects["packs/a"] = objects["packs/a"], objects[name]
        assert await seen(store, name, 100) is None
        assert await seen(store, "packs/a", 100) is None

    asyncio.run(scenario())


@given(lengths.filter(bool), lengths.filter(bool))
def test_segments_of_another_object_do_not_fit(length: int, other: int) -> None:
    """Even of the same name, of another time: heads and segments belong together."""
    sealing = SEALINGS["encrypted"]
    one = sealed(sealing, "packs/a", content_of(length))
    two = sealed(sealing, "packs/a", content_of(other, fill=5))
    mixed = bytes(one[:HEAD_SIZE] + two[HEAD_SIZE:])

    async def scenario() -> None:
        store = store_of("encrypted")
        under(store)["packs/a"] = mixed
        assert await seen(store, "packs/a", length) is None

    asyncio.run(scenario())


def test_equal_objects_are_equal_and_no_two_share_a_key() -> None:
    """Repeating a write gives the same bytes; another name, content or repository, others."""
    here, there = SEALINGS["encrypted"], Encryption(RING, "there", DomainKeys())
    former = Encryption(Keyring("here", (ONE,), slot=RING.slot), "here", DomainKeys())
    content = bytes(64)
    stored = [
        bytes(sealed(here, "packs/a", content)),
        bytes(sealed(here, "packs/b", content)),
        bytes(sealed(here, "packs/a", content + b"\0")),
        bytes(sealed(there, "packs/a", content)),
        bytes(sealed(former, "packs/a", content)),
    ]

    assert bytes(sealed(here, "packs/a", content)) == stored[0]
    # Zeros under one key and nonce would show the same keystream.
    assert len({each[HEAD_SIZE : HEAD_SIZE + 64] for each in stored}) == len(stored)


def test_what_is_of_a_domain_opens_with_its_key_only() -> None:
    """Beside the master key: another domain's key, or none, opens nothing of it."""
    domain = "d0123456789abcdef"
    name, content = f"packs/{domain}.a-1", bytes(64)

    async def knowing(fill: int) -> Encryption:
        keys = DomainKeys()

        async def read(_: str) -> bytes:
            found = DomainKey(domain=domain, name="red", key=bytes([fill] * 32).hex())
            return msgspec.json.encode(found)

        assert await keys.learn(domain, read) is not None
        return Encryption(RING, "here", keys)

    async def scenario() -> None:
        one, other = await knowing(1), await knowing(2)
        stored = [bytes(sealed(each, name, content)) for each in (one, other)]
        # Nor does a head tell whether two domains hold the same.
        assert len({each[:HEAD_SIZE] for each in stored}) == 2
        assert one.resume(name, decode_head(stored[0][:HEAD_SIZE]))
        for sealing, theirs in ((one, stored[1]), (other, stored[0]), (SEALINGS["encrypted"], b"")):
            with pytest.raises(SegmentDamagedError):
                sealing.resume(name, decode_head((theirs or stored[0])[:HEAD_SIZE]))
        with pytest.raises(DomainKeyMissingError):
            SEALINGS["encrypted"].begin(name, content)

    asyncio.run(scenario())


def test_former_master_keys_open_what_they_sealed_and_nothing_newer() -> None:
    """After a rotation everything can be read; without the new key nothing new can."""
    former = Encryption(Keyring("here", (ONE,), slot=RING.slot), "here", DomainKeys())

    async def scenario() -> None:
        memory = MemoryStore()
        before = SegmentedStore(memory, former, parity=None, executor=INLINE)
        after = SegmentedStore(memory, SEALINGS["encrypted"], parity=None, executor=INLINE)
        await before.create("packs/old", b"old")
        await after.create("packs/new", b"new")
        assert await after.read("packs/old") == b"old"
        assert await after.read("packs/new") == b"new"
        assert await before.read("packs/new") == b""

    asyncio.run(scenario())
