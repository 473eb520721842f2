"""The bytes of a key slot; `FORMAT.md` in code. What decodes is within bounds."""

from collections.abc import Sequence
from typing import Final

import msgspec
from blake3 import blake3

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor, RandomStream
from reference_engine.repository.keys.derivation import (
    Cost,
    derived,
    stretched,
    unwrapped,
    wrapped,
)
from reference_engine.repository.keys.errors import SlotsFullError
from reference_engine.repository.keys.material import (
    KEY_SIZE,
    Credential,
    Passphrase,
    Secret,
    SlotKind,
)
from reference_engine.repository.publish import discard, publish_own

SLOT_SIZE: Final = 4096
"""Every slot has this size, whatever its label: its length tells nothing, and is known before."""

SLOTS_MAX: Final = 32
GENERATIONS_MAX: Final = 32
LABEL_MAX: Final = 64
"""Characters."""

_KEYS: Final = "keys/"
_COPIES: Final = "copies/keys/"
_CHECKSUM_CONTEXT: Final = "twinshot repository format 2: key slot"
_CHECKSUM_SIZE: Final = 64
_SALT_SIZE: Final = 16


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A way into the repository that is to be made."""

    credential: Credential
    kind: SlotKind
    label: str
    cost: Cost


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One way to open the repository. Bytes are hexadecimal."""

    repository: str
    slot: str
    generation: int
    """How many master keys it holds: all up to the newest when it was made."""

    kind: SlotKind
    cost: Cost | None
    """Of a passphrase; a random key needs none."""

    salt: str
    label: str
    """What a person called it, readable only with the master key."""

    wrapped: str = ""


def slot_names(slot: str, /) -> tuple[str, str]:
    """Return the names of a slot's two copies."""
    return _KEYS + slot, _COPIES + slot


def is_slot_object(name: str, /) -> bool:
    """Return whether an object is a copy of a key slot; without a header it means nothing."""
    return name.startswith((_KEYS, _COPIES))


def encode_slot(slot: Slot, /) -> bytes:
    """Return the bytes of both copies of a slot."""
    body = msgspec.json.encode(slot)
    room = SLOT_SIZE - _CHECKSUM_SIZE - 1
    assert len(body) <= room, len(body)
    body = body.ljust(room) + b"\n"
    return body + _checksum(body)


def _checksum(body: bytes) -> bytes:
    # No secret: it tells a damaged copy from a wrong key before any time is spent.
    return blake3(body, derive_key_context=_CHECKSUM_CONTEXT).hexdigest().encode()


def decode_slot(content: bytes, /) -> Slot:
    """Return a slot.

    Raises:
        ValueError: it is not what was stored, or asks for more than a slot may.
    """
    body, checksum = content[:-_CHECKSUM_SIZE], content[-_CHECKSUM_SIZE:]
    if len(content) != SLOT_SIZE or checksum != _checksum(body):
        raise ValueError("its checksum is wrong")
    slot = msgspec.json.decode(body, type=Slot)
    if len(bytes.fromhex(slot.salt)) != _SALT_SIZE:
        raise ValueError("its salt has the wrong length")
    if not 1 <= slot.generation <= GENERATIONS_MAX:
        raise ValueError("it holds no number of keys")
    bytes.fromhex(slot.label + slot.wrapped)
    if (slot.cost is None) == (slot.kind is SlotKind.PASSPHRASE):
        raise ValueError("it does not say what it costs")
    if slot.cost is not None and not slot.cost.is_bearable:
        raise ValueError("it asks for too much memory or time")
    return slot


def new_slot(
    access: Access,
    masters: Sequence[Secret],
    /,
    *,
    repository: str,
    slot: str,
    salt: bytes,
) -> Slot:
    """Return a slot that `access` opens; `salt` is 16 bytes of chance, never used before."""
    by_words = access.kind is SlotKind.PASSPHRASE
    assert isinstance(access.credential, Passphrase) == by_words, access.kind
    assert len(salt) == _SALT_SIZE, len(salt)
    assert 1 <= len(masters) <= GENERATIONS_MAX, len(masters)
    padded = access.label[:LABEL_MAX].encode().ljust(LABEL_MAX * 4)
    bare = Slot(
        repository=repository,
        slot=slot,
        generation=len(masters),
        kind=access.kind,
        cost=access.cost if by_words else None,
        salt=salt.hex(),
        label=wrapped(_label_key(masters[0], slot, salt), padded, bound_to=b"").hex(),
    )
    key = _wrapping_key(access.credential, bare)
    content = wrapped(
        key, b"".join(each.raw for each in masters), bound_to=msgspec.json.encode(bare)
    )
    return msgspec.structs.replace(bare, wrapped=content.hex())


def opened_slot(credential: Credential, slot: Slot, /) -> tuple[Secret, ...] | None:
    """Return the master keys in the slot; None where the credential does not open it."""
    if isinstance(credential, Passphrase) != (slot.kind is SlotKind.PASSPHRASE):
        return None
    bare = msgspec.structs.replace(slot, wrapped="")
    content = unwrapped(
        _wrapping_key(credential, slot),
        bytes.fromhex(slot.wrapped),
        bound_to=msgspec.json.encode(bare),
    )
    if content is None or len(content) != KEY_SIZE * slot.generation:
        return None
    return tuple(Secret(content[at : at + KEY_SIZE]) for at in range(0, len(content), KEY_SIZE))


def slot_label(slot: Slot, first: Secret, /) -> str:
    """Return what a person called the slot, given the first master key; `?` for a stranger's."""
    salt = bytes.fromhex(slot.salt)
    content = unwrapped(_label_key(first, slot.slot, salt), bytes.fromhex(slot.label), bound_to=b"")
    return "?" if content is None else content.decode("utf-8", "replace").rstrip()


def _wrapping_key(credential: Credential, slot: Slot) -> bytes:
    salt = bytes.fromhex(slot.salt)
    if isinstance(credential, Secret):
        return derived(credential.raw, "slot of a random key", salt=salt)
    assert slot.cost is not None, slot.slot
    strong = stretched(credential.raw, salt, cost=slot.cost)
    return derived(strong, "slot of a passphrase", salt=salt)


def _label_key(master: Secret, slot: str, salt: bytes) -> bytes:
    return derived(master.raw, f"label of slot {slot}", salt=salt)


async def add_slot(
    store: BlobStore,
    access: Access,
    masters: Sequence[Secret],
    /,
    *,
    repository: str,
    chance: RandomStream,
    executor: Executor,
) -> Slot:
    """Return a new slot for `access`, both copies of it durable.

    Raises:
        SlotsFullError: there are as many as there may be.
        TransientError, RefusedError: the store failed; at worst one copy more is there.
    """
    present = await read_slots(store, repository)
    if len({slot.slot for slot in present}) >= SLOTS_MAX:
        raise SlotsFullError(SLOTS_MAX)
    name, salt = chance.token()[:16], bytes.fromhex(chance.token())
    [slot] = await executor.offload_all(
        [lambda: new_slot(access, masters, repository=repository, slot=name, salt=salt)]
    )
    for each in slot_names(name):
        await publish_own(store, each, encode_slot(slot))
    return slot


async def delete_slot(store: BlobStore, slot: str, /) -> None:
    """Remove both copies of a slot; true also where they are gone, or stay while they are locked.

    The log says which slots open something, whether their objects are there or not.
    """
    for name in slot_names(slot):
        await discard(store, name)


async def read_slots(store: BlobStore, repository: str | None, /) -> tuple[Slot, ...]:
    """Return every slot of the repository, or of any, of which a copy is sound, by name.

    Both copies count where they differ: one of them may be somebody else's work.
    """
    listed = [*await store.names(_KEYS), *await store.names(_COPIES)]
    found: dict[str, Slot] = {}
    for name in sorted(listed)[: 4 * SLOTS_MAX]:
        try:
            content = await store.read_range(name, offset=0, length=SLOT_SIZE)
            slot = decode_slot(content)
        except (CorruptionError, ValueError):  # msgspec's errors are ValueErrors
            continue
        if repository in {slot.repository, None} and name in slot_names(slot.slot):
            found[content.decode("latin-1")] = slot
    return tuple(sorted(found.values(), key=lambda slot: (slot.slot, slot.wrapped)))
