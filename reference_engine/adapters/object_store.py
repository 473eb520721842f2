"""A blob store in a bucket of an S3-compatible service, one request for most operations.

An object is created by one conditional put: the service decides between two writers, and an object
is there whole or not at all. Multipart uploads would be conditional at completion only, if at all.

A put whose answer is lost may have landed, or may land yet. Every create therefore marks its object
with a token of its own, and looks for it before it tries again. The client's own repetitions are
switched off for puts: behind them a lost answer could not be told from another writer's object.

With `locks` begun, puts and deletions go through them: the client knows no headers of its own.
"""

import os
import re
from typing import Final

import obstore
from obstore.exceptions import BaseError

from reference_engine.adapters.bucket import BucketPlace, client_of
from reference_engine.adapters.bucket_locks import LOCK_PROBE, BucketLocks
from reference_engine.adapters.object_answers import (
    CREATOR,
    ServiceAnswer,
    is_absent,
    is_beyond,
    is_present,
)
from reference_engine.adapters.patience import Patience, PatientService
from reference_engine.adapters.store_errors import StoreUnusableError
from reference_engine.model.errors import CorruptionError, OperationFailedError
from reference_engine.model.units import KIB, ByteCount
from reference_engine.ports.blob_store import BlobStore

_NAME: Final = re.compile(r"[a-z0-9-][a-z0-9.-]*(/[a-z0-9-][a-z0-9.-]*)*")
_PROBE: Final = "~conditional-put"
"""`~` is no part of any object's name. It stays: the next process proves the same by one put."""

_PROBES: Final = (_PROBE, LOCK_PROBE)

_PUT_MAX: Final = ByteCount(5 * 1024 * 1024 * KIB)
"""What S3 takes in one put."""

_PAGE_RETRIES: Final = 4
"""A listing of a million objects is a thousand pages; one lost page must not lose them all."""


class ObjectStore(BlobStore):
    """Write-once objects below a prefix of a bucket; the AWS_* variables say how to get there."""

    def __init__(self, place: BucketPlace, /, *, patience: Patience) -> None:
        self._place = str(place)
        self._service = PatientService(self._place, patience)
        self._client = client_of(place, retries=0)
        self._lister = client_of(place, retries=_PAGE_RETRIES)
        self._proven = False
        self.locks = BucketLocks(place, self._service)
        """Locks of single objects, for buckets that have them; nothing is locked before `begin`."""

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store `content` durably under `name`; return False, changing nothing, if it exists.

        Raises:
            StoreUnusableError: no bucket, no permission, no conditional puts.
            OperationFailedError: the object may or may not exist, or appear later.
        """
        assert _NAME.fullmatch(name), name
        assert len(content) <= _PUT_MAX, len(content)
        await self._prove_conditional_put()
        return await self._put(name, bytes(content))

    async def make_durable(self, name: str, /) -> None:
        """Do nothing: a service shows an object once it is stored for good."""

    async def tidy(self) -> None:
        """Do nothing: a put that was cut off leaves nothing."""

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None where there is none.

        Raises:
            StoreUnusableError: no bucket, no permission.
            OperationFailedError: it could not be read this time.
        """

        async def ask() -> bytes | None:
            try:
                async with self._service.limit(0):
                    found = await obstore.get_async(self._client, name)
            except FileNotFoundError as error:
                if is_absent(error):
                    return None
                raise
            async with self._service.limit(found.meta["size"]):
                content = bytes(await found.bytes_async())
            return _whole(content, found.meta["size"], name)

        return await self._service.asked(f"reading {self._place}/{name}", ask)

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            CorruptionError: the object is missing or shorter.
            OperationFailedError: it could not be read this time.
        """

        async def ask() -> bytes:
            # No range is empty in HTTP; one byte before it shows as well that the object is there.
            first = offset if length else max(0, offset - 1)
            span = (first, max(offset + length, first + 1))
            try:
                async with self._service.limit(length):
                    found = await obstore.get_async(self._client, name, options={"range": span})
                    content = bytes(await found.bytes_async())
            except (BaseError, OSError) as error:
                if is_absent(error):
                    raise CorruptionError(f"object {name} is missing") from None
                if is_beyond(error):
                    if not length and not offset:
                        return b""
                    raise CorruptionError(f"object {name} ends before byte {span[1]}") from None
                raise
            if found.meta["size"] < offset + length:
                raise CorruptionError(f"object {name} ends at byte {found.meta['size']}")
            return _whole(content, span[1] - first, name)[offset - first :] if length else b""

        return await self._service.asked(f"reading {self._place}/{name}", ask)

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending.

        Raises:
            StoreUnusableError: no bucket, no permission.
            OperationFailedError: a page of the listing was not to be had.
        """
        return tuple(await self.sizes(prefix))

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return the size in bytes of every object whose name starts with `prefix`, ascending.

        Raises:
            StoreUnusableError: no bucket, no permission.
            OperationFailedError: a page of the listing was not to be had.
        """
        found = await self._listed(prefix.rpartition("/")[0])
        return {n: size for n, size in found if n.startswith(prefix) and _NAME.fullmatch(n)}

    async def delete(self, name: str, /) -> None:
        """Remove an object; true also where there is none.

        Raises:
            StoreUnusableError: no bucket, no permission.
            ObjectLockedError: a lock keeps it, and locks have begun.
            OperationFailedError: it may or may not be gone.
        """
        if self.locks.rule is not None:
            await self.locks.erase(name)
            return

        async def ask() -> None:
            try:
                async with self._service.limit(0):
                    await obstore.delete_async(self._client, name)
            except FileNotFoundError as error:
                if not is_absent(error):
                    raise

        await self._service.asked(f"deleting {self._place}/{name}", ask)

    async def stranger(self) -> str | None:
        """Return the name of something below the prefix that is no object of ours, if any."""
        listed = await self._listed("")
        return next((n for n, _ in listed if not _NAME.fullmatch(n) and n not in _PROBES), None)

    async def _listed(self, directory: str) -> tuple[tuple[str, int], ...]:
        """Return every name and size below `directory`, each page of them received."""

        async def ask() -> tuple[tuple[str, int], ...]:
            found: list[tuple[str, int]] = []
            pages = obstore.list(self._lister, prefix=directory or None, chunk_size=1000)
            while True:
                async with self._service.limit(0):
                    try:
                        page = await anext(pages)
                    except StopAsyncIteration:
                        return tuple(sorted(found))
                found += [(each["path"], each["size"]) for each in page]

        return await self._service.asked(f"listing {self._place}", ask)

    async def _put(self, name: str, content: bytes) -> bool:
        token = os.urandom(16).hex()
        uncertain = False

        async def ask() -> bool:
            nonlocal uncertain
            if uncertain and (creator := await self._creator(name)) is not None:
                return creator == token
            try:
                if self.locks.rule is not None and name != _PROBE:
                    await self.locks.put(name, content, token)
                else:
                    await self._put_once(name, content, token)
            except (BaseError, ServiceAnswer, TimeoutError) as error:
                if isinstance(error, TimeoutError) or not is_present(error):
                    uncertain = True
                    raise
                # A lost put may have landed after we looked for it.
                return uncertain and await self._creator(name) == token
            return True

        return await self._service.asked(f"writing {self._place}/{name}", ask)

    async def _put_once(self, name: str, content: bytes, token: str) -> None:
        async with self._service.limit(len(content)):
            await obstore.put_async(
                self._client,
                name,
                content,
                mode="create",
                use_multipart=False,
                attributes={CREATOR: token},
            )

    async def _creator(self, name: str) -> str | None:
        """Return the token of whoever created the object, or None where there is none."""
        try:
            async with self._service.limit(0):
                found = await obstore.get_async(self._client, name, options={"head": True})
        except FileNotFoundError:
            return None
        return str(found.attributes.get(CREATOR, ""))

    async def _prove_conditional_put(self) -> None:
        """Make sure, once, that the service refuses to create what exists.

        Raises:
            StoreUnusableError: it does not; two writers could overwrite each other.
        """
        if self._proven:
            return
        # Nothing of a repository is at stake yet, and the same empty bytes may be put at will.
        if await self._put(_PROBE, b"") and await self._put(_PROBE, b""):
            raise StoreUnusableError(
                self._place,
                "the service ignores If-None-Match",
                "use a service that has conditional puts",
            )
        self._proven = True


def _whole(content: bytes, length: int, name: str) -> bytes:
    if len(content) != length:
        raise OperationFailedError(f"reading {name}", f"{len(content)} of {length} bytes came")
    return content
