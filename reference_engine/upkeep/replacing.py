"""Putting sound bytes where damaged ones are, without losing the damaged ones."""

from typing import Final

from reference_engine.model.errors import ObjectLockedError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.mending import QUARANTINE
from reference_engine.repository.publish import publish, publish_own

REREADS: Final = 3


async def put_right(store: BlobStore, name: str, sound: bytes, /) -> bool:
    """Leave `sound` under `name`; return whether it was not there already.

    The bytes that were there are in quarantine before they go. Killed in between, the object is
    absent: its other copy serves, and the next repair makes it anew.

    Raises:
        TransientError, RefusedError: the store failed, or cannot be written to.
    """
    for _ in range(REREADS):
        found = await store.read(name)
        if found == sound:
            return False
    try:
        await set_aside(store, name)
    except ObjectLockedError:
        # What was put above the locked bytes is gone; they themselves may be sound.
        if await store.read(name) != sound:
            raise
    await publish_own(store, name, sound)
    return True


async def set_aside(store: BlobStore, name: str, /) -> None:
    """Leave nothing under `name`; what was there is in quarantine.

    Raises:
        TransientError, RefusedError: as `put_right`.
    """
    found = await store.read(name)
    if found is not None:
        await keep_aside(store, name, found)
        await store.delete(name)


async def keep_aside(store: BlobStore, name: str, damaged: bytes, /) -> None:
    """Have the bytes that were under `name` in quarantine.

    Raises:
        TransientError, RefusedError: as `put_right`.
    """
    number = 1
    while not await publish(store, f"{QUARANTINE}{name}-{number}", damaged):
        number += 1
