"""From a credential to the keyring, in bounded time whatever the store holds."""

from collections.abc import Sequence

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.keys.derivation import WORK_MAX
from reference_engine.repository.keys.errors import SlotsDamagedError, WrongKeyError
from reference_engine.repository.keys.keyring import Keyring
from reference_engine.repository.keys.material import Credential, Passphrase
from reference_engine.repository.keys.slots import opened_slot, read_slots


async def unlocked(
    store: BlobStore,
    credential: Credential,
    /,
    *,
    repository: str,
    proof: bytes,
    authenticator: str,
    executor: Executor,
    work_max: int = WORK_MAX,
    without: Sequence[str] = (),
) -> Keyring:
    """Return the keyring that the credential opens and that authenticates the header's `proof`.

    For a passphrase no more than `work_max` KiB are filled, whatever the slots ask for. Slots
    `without` are passed over; of the others those with the newest master keys come first.

    A slot that opens and does not authenticate is of an attempt to create the repository that was
    given up, or somebody else's work; the next one is tried.

    Raises:
        WrongKeyError: no slot opens.
        SlotsDamagedError: there is no sound slot at all.
    """
    slots = await read_slots(store, repository)
    if not slots:
        raise SlotsDamagedError
    work = 0
    for slot in sorted(slots, key=lambda slot: -slot.generation):
        if slot.slot in without:
            continue
        if slot.cost is not None and isinstance(credential, Passphrase):
            work += slot.cost.work
        if work > work_max:
            break
        [masters] = await executor.offload_all([lambda slot=slot: opened_slot(credential, slot)])  # type: ignore[misc]
        if masters is None:
            continue
        keyring = Keyring(repository, masters, slot=slot)
        if keyring.authenticator(proof) == authenticator:
            return keyring
    raise WrongKeyError
