"""Repositories in directories and buckets: opening one, and making one on first use."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError, TwinshotError
from reference_engine.model.units import KIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor, Runtime
from reference_engine.repository.errors import (
    RepositoryAbsentError,
    RepositoryExistsError,
    RepositoryForeignError,
)
from reference_engine.repository.keys.errors import NoEncryptedRepositoryError, NotEncryptedError
from reference_engine.repository.opening import Features, is_key_object
from reference_engine.repository.repository import Repository

BLOCK_SIZE: Final = ByteCount(64 * KIB)
"""Large enough for a small map; a random write of a guest costs a sixteenth of it."""


class Store(BlobStore, Protocol):
    """A store at a place that may be somebody else's."""

    async def stranger(self) -> str | None:
        """Return the name of something there that is no object of ours, if any."""


def open_store(place: str, /) -> Store:
    """Return the store at a place: `s3://bucket/prefix`, or else a directory.

    Raises:
        InputRefusedError: it names neither, or what a bucket needs is not installed or not set.
        StoreUnusableError: there are no credentials for the bucket.
    """
    scheme, separator, _ = place.partition("://")
    if not separator:
        return DirectoryStore(Path(place))
    if scheme != "s3":
        raise InputRefusedError(
            f"a repository cannot be kept at {scheme}://", "name a directory or s3://bucket/prefix"
        )
    try:
        from reference_engine.adapters import object_store  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        raise InputRefusedError(
            f"{place} needs the package {error.name}", "install it by: pip install 'twinshot[s3]'"
        ) from error
    return object_store.ObjectStore(
        object_store.BucketPlace.parse(place), patience=object_store.Patience()
    )


@contextlib.contextmanager
def _naming(place: str) -> Iterator[None]:
    """Let errors say which repository they are about."""
    try:
        yield
    except TwinshotError as error:
        error.add_note(place)
        raise


class CountingStore(Store):
    """A store that remembers how many bytes were created in it."""

    def __init__(self, store: Store, /) -> None:
        self._store = store
        self.created = ByteCount(0)

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Create the object, and count it."""
        created = await self._store.create(name, content)
        if created:
            self.created = ByteCount(self.created + len(content))
        return created

    async def read(self, name: str, /) -> bytes | None:
        """Return what the store returns."""
        return await self._store.read(name)

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return what the store returns."""
        return await self._store.read_range(name, offset=offset, length=length)

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return what the store returns."""
        return await self._store.names(prefix)

    async def delete(self, name: str, /) -> None:
        """Do what the store does."""
        await self._store.delete(name)

    async def stranger(self) -> str | None:
        """Return what the store returns."""
        return await self._store.stranger()


async def open_repository(
    place: str, executor: Executor, keys: KeyOptions = NO_OPTIONS, /
) -> Repository:
    """Open the repository at a place, with the key that options, variables or a person give.

    Raises:
        RefusedError: there is none, it is not usable, or the key is not right.
        LogDamagedError: its history is not what was written.
    """
    # A place that cannot be understood may hold a password: it is not named as the others are.
    store, holder = open_store(place), Keyholder(keys)
    with _naming(place):
        return await _opened(store, holder, executor)


async def _opened(store: BlobStore, holder: Keyholder, executor: Executor) -> Repository:
    repository = await Repository.open(store, executor=executor, unlock=holder.credential)
    if holder.named and repository.keys is None:
        # Somebody may have put a plain repository in the place of an encrypted one.
        raise NotEncryptedError
    return repository


async def create_repository(
    place: str, features: Callable[[], Features], /, *, runtime: Runtime
) -> str:
    """Create a repository where there is nothing; return its identity.

    `features` is asked once it is clear that the place is free.

    Raises:
        RefusedError: something is there already, or the place is not usable.
    """
    store = open_store(place)
    with _naming(place):
        stranger = await store.stranger()
        present = await store.names("")
        if any(not is_key_object(name) for name in present):
            raise RepositoryExistsError
        if stranger is not None:
            raise RepositoryForeignError(f"it holds {stranger}")
        repository = await Repository.create(
            store,
            identity_token=runtime.random("repository").token(),
            block_size=BLOCK_SIZE,
            executor=runtime,
            features=features(),
        )
        return repository.identity


async def open_or_create_repository(
    place: str,
    store: Store,
    keys: KeyOptions = NO_OPTIONS,
    /,
    *,
    runtime: Runtime,
    output: Output,
) -> Repository:
    """Open the repository in a store, or make one where there is nothing; `place` is its name.

    Raises:
        RefusedError: something else is there, it is not usable, or the key is not right.
        LogDamagedError: its history is not what was written.
    """
    holder = Keyholder(keys)
    with _naming(place):
        try:
            return await _opened(store, holder, runtime)
        except RepositoryAbsentError:
            stranger = await store.stranger()
            if stranger is not None:
                raise RepositoryForeignError(f"it holds {stranger}") from None
            if holder.named:
                raise NoEncryptedRepositoryError from None
        token = runtime.random("repository").token()
        try:
            repository = await Repository.create(
                store, identity_token=token, block_size=BLOCK_SIZE, executor=runtime
            )
        except RepositoryExistsError:
            # Another engine made it a moment ago; there is room in it for both.
            return await _opened(store, holder, runtime)
        output.remark(f"created a repository in {place}")
        return repository
