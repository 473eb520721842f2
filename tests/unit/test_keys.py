"""Keys are never shown, are printed so that they can be typed, and cost no more than stated."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import InputRefusedError
from reference_engine.repository.keys import slots
from reference_engine.repository.keys.derivation import DEFAULT_COST, WORK_MAX, Cost
from reference_engine.repository.keys.errors import SlotsDamagedError, WrongKeyError
from reference_engine.repository.keys.keyring import Keyring
from reference_engine.repository.keys.material import (
    Credential,
    Passphrase,
    Secret,
    SlotKind,
    key_file,
    parsed,
    parsed_file,
    printed,
)
from reference_engine.repository.keys.slots import (
    SLOT_SIZE,
    Access,
    decode_slot,
    encode_slot,
    new_slot,
    opened_slot,
    read_slots,
    slot_label,
    slot_names,
)
from reference_engine.repository.keys.unlocking import unlocked
from reference_engine.repository.repository import INLINE
from tests.strategies.encrypted_repositories import (
    CHEAP,
    KEY,
    MASTER,
    WORDS,
    by_words,
    chance,
    slot_of,
)

secrets_of_any_kind = st.binary(min_size=32, max_size=32).map(Secret)


@given(secrets_of_any_kind)
def test_a_printed_key_is_read_back(key: Secret) -> None:
    """Groups, case and the letters that look like digits do not matter."""
    text = printed(key)

    assert len(text) == 69
    assert parsed(text).raw == key.raw
    careless = text.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert parsed(f"  {careless}\n").raw == key.raw
    assert parsed_file(key_file(key), name="k").raw == key.raw


@given(secrets_of_any_kind, st.integers(0, 68), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_a_mistyped_key_is_noticed(key: Secret, at: int, symbol: str) -> None:
    """One wrong letter is never taken for another key."""
    text = printed(key)
    if text[at] in {symbol, "-"}:
        return

    with pytest.raises(InputRefusedError, match="mistyped"):
        parsed(text[:at] + symbol + text[at + 1 :])


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"hunter2\n", b"twinshot key file 1\nABCD\n", bytes(9000)]
)
def test_what_is_no_key_file_is_refused_and_not_repeated(content: bytes) -> None:
    """Somebody may have named the wrong file: nothing of it is said."""
    with pytest.raises(InputRefusedError, match="k is no key file") as caught:
        parsed_file(content, name="k")

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_secrets_are_not_shown() -> None:
    """Neither `repr` nor a value that holds one tells what it is."""
    ring = Keyring("here", (MASTER,), slot=slot_of(by_words()))
    shown = f"{MASTER!r} {WORDS!r} {WORDS} {by_words('hunter2')!r} {ring!r}"

    assert "hunter2" not in shown
    assert "horse" not in shown
    assert MASTER.raw.hex() not in shown
    assert str(MASTER.raw) not in shown


def test_words_are_the_same_on_every_keyboard() -> None:
    """A letter with an accent is one passphrase, however it was composed."""
    slot = slot_of(by_words("caf\N{LATIN SMALL LETTER E WITH ACUTE}"))

    assert opened_slot(Passphrase("cafe\N{COMBINING ACUTE ACCENT}"), slot) is not None
    assert opened_slot(Passphrase("cafe"), slot) is None


@pytest.mark.parametrize("text", ["", "x" * 4097])
def test_words_have_a_sensible_length(text: str) -> None:
    """An empty passphrase protects nothing, and an endless one is a file named by mistake."""
    with pytest.raises(InputRefusedError, match="passphrase"):
        Passphrase(text)


def test_a_slot_is_bound_to_everything_in_it() -> None:
    """Another repository's slot, or one with another name, kind or cost, opens nothing."""
    slot = slot_of(by_words("words"))
    other = Cost(memory_kib=16, passes=1, lanes=1)
    altered = {"repository": "there", "slot": "x", "cost": other, "label": slot.label[:-2] + "00"}

    assert opened_slot(Passphrase("words"), slot) is not None
    assert slot_label(slot, MASTER) == ""
    for field, value in altered.items():
        changed = msgspec.structs.replace(slot, **{field: value})
        assert opened_slot(Passphrase("words"), changed) is None, field


def test_every_flipped_bit_of_a_slot_is_noticed_before_time_is_spent() -> None:
    """A damaged copy is told from a wrong key by its checksum, whatever bit it was."""
    content = encode_slot(slot_of(by_words()))

    assert len(content) == SLOT_SIZE
    for at in range(SLOT_SIZE):
        with pytest.raises(ValueError, match=r"checksum|JSON|Object|Invalid"):
            decode_slot(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])


@pytest.mark.parametrize(
    "cost",
    [
        Cost(memory_kib=1 << 30, passes=1, lanes=1),
        Cost(memory_kib=1 << 20, passes=3, lanes=1),
        Cost(memory_kib=64, passes=17, lanes=1),
        Cost(memory_kib=64, passes=0, lanes=1),
        Cost(memory_kib=64, passes=1, lanes=17),
        Cost(memory_kib=7, passes=1, lanes=1),
        Cost(memory_kib=-8, passes=1, lanes=1),
    ],
)
def test_a_hostile_slot_cannot_ask_for_more_than_is_bearable(cost: Cost) -> None:
    """Whoever can write key objects cannot make a reader fill its memory."""
    slot = msgspec.structs.replace(slot_of(by_words()), cost=cost)

    with pytest.raises(ValueError, match="too much"):
        decode_slot(encode_slot(slot))


def test_the_default_cost_is_bearable_for_a_full_house() -> None:
    """RFC 9106's second option; all the slots there may be are tried within the bound."""
    assert (DEFAULT_COST.memory_kib, DEFAULT_COST.passes, DEFAULT_COST.lanes) == (65536, 3, 4)
    assert DEFAULT_COST.is_bearable
    assert DEFAULT_COST.work * slots.SLOTS_MAX <= WORK_MAX


def test_one_damaged_copy_locks_nobody_out() -> None:
    """Either copy of a slot is enough; without both, it is gone."""

    async def scenario() -> None:
        slot = slot_of(by_words("words"))
        for lost in slot_names(slot.slot):
            for damage in (b"", encode_slot(slot)[:-1] + b"?", bytes(SLOT_SIZE)):
                store = MemoryStore()
                for name in slot_names(slot.slot):
                    store.objects[name] = encode_slot(slot)
                store.objects[lost] = damage
                assert await read_slots(store, "here") == (slot,)
        for name in slot_names(slot.slot):
            store.objects[name] = b"damaged"
        assert await read_slots(store, "here") == ()

    asyncio.run(scenario())


def test_strangers_slots_are_passed_over() -> None:
    """Slots of another repository, name or master key open nothing."""

    async def scenario() -> None:
        store = MemoryStore()
        proof = Keyring("here", (MASTER,), slot=slot_of(by_words())).authenticator(b"proof")
        intruder = new_slot(by_words("words"), (KEY,), repository="here", slot="a", salt=bytes(16))
        elsewhere = new_slot(
            by_words("words"), (MASTER,), repository="there", slot="b", salt=bytes(16)
        )
        store.objects["keys/a"] = encode_slot(intruder)
        store.objects["keys/b"] = encode_slot(elsewhere)
        store.objects["keys/c"] = encode_slot(intruder)

        async def opened() -> Keyring:
            return await unlocked(
                store,
                Passphrase("words"),
                repository="here",
                proof=b"proof",
                authenticator=proof,
                executor=INLINE,
            )

        assert await read_slots(store, "here") == (intruder,)
        with pytest.raises(WrongKeyError):
            await opened()
        store.objects["keys/d"] = encode_slot(slot_of(by_words("words"), name="d"))
        assert (await opened()).slot.slot == "d"
        store.objects = {"keys/b": encode_slot(elsewhere)}
        with pytest.raises(SlotsDamagedError):
            await opened()

    asyncio.run(scenario())


def test_the_work_for_one_passphrase_is_bounded_over_all_slots() -> None:
    """Of a store full of slots only as many are tried as the bound has room for."""

    async def scenario() -> None:
        store = MemoryStore()
        for name in "ab":
            store.objects[f"keys/{name}"] = encode_slot(slot_of(by_words("else"), name=name))
        store.objects["keys/c"] = encode_slot(slot_of(by_words("words"), name="c"))
        file = Access(credential=KEY, kind=SlotKind.FILE, label="", cost=CHEAP)
        store.objects["keys/d"] = encode_slot(slot_of(file, name="d"))
        proof = Keyring("here", (MASTER,), slot=slot_of(file)).authenticator(b"proof")

        async def opened_by(credential: Credential, work_max: int) -> str:
            ring = await unlocked(
                store,
                credential,
                repository="here",
                proof=b"proof",
                authenticator=proof,
                executor=INLINE,
                work_max=work_max,
            )
            return ring.slot.slot

        assert await opened_by(Passphrase("words"), 3 * CHEAP.work) == "c"
        with pytest.raises(WrongKeyError):
            await opened_by(Passphrase("words"), 3 * CHEAP.work - 1)
        # A random key costs nothing, so it opens whatever stands before it.
        assert await opened_by(KEY, 0) == "d"

    asyncio.run(scenario())


def test_chance_decides_every_salt_and_every_name() -> None:
    """Two slots for the same words share nothing."""
    stream = chance()

    assert Secret.drawn(stream).raw != Secret.drawn(stream).raw
