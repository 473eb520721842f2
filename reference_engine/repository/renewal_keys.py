"""Which master key is in use, and which slots count, where entries about keys may be lost."""

from collections.abc import Sequence

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.envelope import HEAD_SIZE, SegmentDamagedError, decode_head
from reference_engine.repository.keys.errors import KeyRetiredError, WrongKeyError
from reference_engine.repository.keys.keyring import Keyring
from reference_engine.repository.keys.slots import GENERATIONS_MAX, read_slots


async def settle(
    raw: BlobStore,
    keyring: Keyring,
    /,
    *,
    removed: Sequence[str],
    rotated: Sequence[str],
    lost: Sequence[str],
    beyond: Sequence[str],
) -> tuple[str, ...]:
    """Let the keyring seal by the master key in use; return the fingerprints of all but the first.

    `removed` and `rotated` are what entries say that can be read. `lost` are objects of the log in
    which no entry can be read, `beyond` those behind the first lost one in which one can be.

    A master key that no entry speaks of is in use if it has sealed an entry, or if no slot is left
    without it: a rotation deletes the others only once it stands.

    Raises:
        WrongKeyError: the slot was removed.
        KeyRetiredError: the slot lacks a master key that is in use.
    """
    if keyring.slot.slot in removed:
        raise WrongKeyError
    most = len(keyring.generations)
    prints = [keyring.fingerprint(generation) for generation in range(2, most + 1)]
    if any(each not in prints for each in rotated):
        raise KeyRetiredError
    # One object alone may be damaged where it says by which key it was sealed.
    newer = [each for each in lost if most < await _generation(raw, each) <= GENERATIONS_MAX]
    if len(newer) > 1:
        raise KeyRetiredError
    used = max([1, *(prints.index(each) + 2 for each in rotated)])
    if used < most:
        used = max([used, *[await _generation(raw, each) for each in beyond]])
    if used < most:
        slots = [s for s in await read_slots(raw, keyring.repository) if s.slot not in removed]
        if all(slot.generation >= most for slot in slots):
            used = most
    known = tuple(prints[: used - 1])
    keyring.settle(known)
    return known


async def doubtful_slots(
    raw: BlobStore, keyring: Keyring, /, *, removed: Sequence[str]
) -> tuple[str, ...]:
    """Return the slots that open the repository, but for the one that was used, by name.

    Any of them may have been removed by an entry that is lost, by somebody who died before he
    deleted it.
    """
    return tuple(
        sorted(
            {
                slot.slot
                for slot in await read_slots(raw, keyring.repository)
                if slot.slot not in removed
                and slot.slot != keyring.slot.slot
                and slot.generation >= keyring.sealing
            }
        )
    )


async def _generation(raw: BlobStore, name: str) -> int:
    """Return which master key sealed an object; 0 where it cannot be told."""
    try:
        return decode_head(await raw.read_range(name, offset=0, length=HEAD_SIZE)).generation
    except (CorruptionError, SegmentDamagedError):
        return 0
