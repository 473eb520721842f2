"""One object, durable and with exactly our bytes, whatever became of the answers on the way."""

from contextlib import suppress
from typing import Final

from reference_engine.model.errors import ObjectLockedError, OperationFailedError, TransientError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.codec import copy_name
from reference_engine.repository.errors import ObjectConflictError

ATTEMPTS: Final = 3
"""Each attempt may lose its answer; a store that loses three in a row is reported."""


async def publish(store: BlobStore, name: str, content: bytes | bytearray, /) -> bool:
    """Return whether `name` durably holds `content` now; False: other bytes were there first.

    A lost answer is settled by reading: a create may have landed although it reported a failure.

    Raises:
        TransientError: the store failed in every attempt. The object may still appear later, so
            the caller repeats this call with the same bytes, or asks what the object holds.
    """
    failure: TransientError = OperationFailedError(f"creating {name}", "it vanished again")
    for _ in range(ATTEMPTS):
        try:
            if await store.create(name, content):
                return True
            found = await store.read(name)
        except TransientError as error:
            failure = error
            continue
        if found is not None:
            return found == content
    raise failure


async def publish_own(store: BlobStore, name: str, content: bytes | bytearray, /) -> None:
    """Leave `content` durable under a `name` that carries this run's token.

    Raises:
        ObjectConflictError: somebody else's bytes are there; the store is not write-once.
        TransientError: as `publish`.
    """
    if not await publish(store, name, content):
        raise ObjectConflictError(name)


async def publish_twice(store: BlobStore, name: str, content: bytes, /) -> bool:
    """Return whether `name` and its copy durably hold `content`; False: others' bytes are there.

    Raises:
        TransientError: as `publish`.
    """
    return await publish(store, name, content) and await publish(store, copy_name(name), content)


async def discard(store: BlobStore, name: str, /) -> None:
    """Remove an object that means nothing; one that is locked stays until a reclaim can take it."""
    with suppress(ObjectLockedError):
        await store.delete(name)


async def discard_twice(store: BlobStore, name: str, /) -> None:
    """Remove an object and its copy, as `discard` does."""
    await discard(store, name)
    await discard(store, copy_name(name))
