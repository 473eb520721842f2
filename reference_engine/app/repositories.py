"""Repositories in directories and buckets: opening one, and making one on first use."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.app.credentials import Keyholder
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError, TwinshotError
from reference_engine.model.units import KIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.local_cache import LocalCache
from reference_engine.ports.object_locks import ObjectLocks, locks_of
from reference_engine.ports.runtime import Executor, Runtime
from reference_engine.repository.domains import Domains
from reference_engine.repository.errors import (
    RepositoryAbsentError,
    RepositoryExistsError,
    RepositoryForeignError,
)
from reference_engine.repository.header import HEADER_NAME
from reference_engine.repository.keys.errors import NoEncryptedRepositoryError, NotEncryptedError
from reference_engine.repository.keys.slots import is_slot_object
from reference_engine.repository.opening import PLAIN, Features
from reference_engine.repository.repository import NO_SETTINGS, Repository
from reference_engine.repository.segmented_store import parity_name
from reference_engine.repository.settings import Settings

_PAGE: Final = 1000
"""How many names a service puts on a page of a listing."""

BLOCK_SIZE: Final = ByteCount(64 * KIB)
"""Large enough for a small map; a random write of a guest costs a sixteenth of it."""


class Store(BlobStore, Protocol):
    """A store at a place that may be somebody else's."""

    async def stranger(self) -> str | None:
        """Return the name of something there that is no object of ours, if any."""


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """What a store was asked, as a service bills it: one request each, but for listings."""

    put: int = 0
    get: int = 0
    list: int = 0
    """Pages of a thousand names."""

    delete: int = 0


def open_store(place: str, /) -> Store:
    """Return the store at a place: `s3://bucket/prefix`, or else a directory.

    Raises:
        InputRefusedError: it names neither, or what a bucket needs is not installed or not set.
        StoreUnusableError: there are no credentials for the bucket.
    """
    if not place:
        # As a path it would be the current directory.
        raise InputRefusedError("the repository's name is empty", "name a directory or a bucket")
    scheme, separator, _ = place.partition("://")
    if not separator:
        return DirectoryStore(Path(place))
    if scheme != "s3":
        raise InputRefusedError(
            f"a repository cannot be kept at {scheme}://", "name a directory or s3://bucket/prefix"
        )
    try:
        from reference_engine.adapters import (  # noqa: PLC0415 - needs an extra
            bucket,
            object_store,
            patience,
        )
    except ModuleNotFoundError as error:
        raise InputRefusedError(
            f"{place} needs the package {error.name}", "install it by: pip install 'twinshot[s3]'"
        ) from error
    return object_store.ObjectStore(bucket.BucketPlace.parse(place), patience=patience.Patience())


@contextlib.contextmanager
def naming(place: str) -> Iterator[None]:
    """Let errors say which repository they are about."""
    try:
        yield
    except TwinshotError as error:
        error.add_note(place)
        raise


class CountingStore(Store):
    """A store that remembers how many bytes were created in it, and what it was asked.

    What the store asks a service besides, and again after a failure, is not counted.
    """

    def __init__(self, store: Store, /) -> None:
        self._store = store
        self._asked = {"put": 0, "get": 0, "list": 0, "delete": 0}
        self.created = ByteCount(0)

    @property
    def requests(self) -> Requests:
        """What the store was asked so far."""
        return Requests(**self._asked)

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Create the object, and count it."""
        self._asked["put"] += 1
        created = await self._store.create(name, content)
        if created:
            self.created = ByteCount(self.created + len(content))
        return created

    @property
    def locks(self) -> ObjectLocks | None:
        """The store's."""
        return locks_of(self._store)

    async def make_durable(self, name: str, /) -> None:
        """Do what the store does."""
        await self._store.make_durable(name)

    async def tidy(self) -> None:
        """Do what the store does."""
        await self._store.tidy()

    async def read(self, name: str, /) -> bytes | None:
        """Return what the store returns."""
        self._asked["get"] += 1
        return await self._store.read(name)

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return what the store returns."""
        self._asked["get"] += 1
        return await self._store.read_range(name, offset=offset, length=length)

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return what the store returns."""
        found = await self._store.names(prefix)
        self._asked["list"] += _pages(len(found))
        return found

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return what the store returns."""
        found = await self._store.sizes(prefix)
        self._asked["list"] += _pages(len(found))
        return found

    async def delete(self, name: str, /) -> None:
        """Do what the store does."""
        self._asked["delete"] += 1
        await self._store.delete(name)

    async def stranger(self) -> str | None:
        """Return what the store returns."""
        return await self._store.stranger()


class Opened(NamedTuple):
    """A repository, and the store that it is in."""

    repository: Repository
    store: CountingStore


def _pages(names: int) -> int:
    return max(1, -(-names // _PAGE))


async def open_repository(place: str, executor: Executor, holder: Keyholder, /) -> Repository:
    """Open the repository at a place, with the key that options, variables or a person give.

    Raises:
        RefusedError: there is none, it is not usable, or the key is not right.
        LogDamagedError: its history is not what was written.
    """
    return (await open_with_store(place, executor, holder)).repository


async def open_with_store(place: str, executor: Executor, holder: Keyholder, /) -> Opened:
    """Open the repository at a place, and say which store it is in.

    Raises:
        RefusedError, LogDamagedError: as `open_repository`.
    """
    # A place that cannot be understood may hold a password: it is not named as the others are.
    store = CountingStore(open_store(place))
    with naming(place):
        return Opened(await open_in(store, executor, holder), store)


async def open_in(
    store: BlobStore, executor: Executor, holder: Keyholder, /, *, cache: LocalCache | None = None
) -> Repository:
    """Open the repository in a store.

    Raises:
        RefusedError, LogDamagedError: as `open_repository`.
    """
    repository = await Repository.open(
        store, executor=executor, unlock=holder.credential, cache=cache
    )
    if holder.named and repository.keys is None:
        # Somebody may have put a plain repository in the place of an encrypted one.
        raise NotEncryptedError
    return repository


async def open_or_create_repository(
    place: str,
    store: Store,
    holder: Keyholder,
    /,
    *,
    runtime: Runtime,
    output: Output,
    cache: LocalCache | None,
    block_size: ByteCount = BLOCK_SIZE,
) -> Repository:
    """Open the repository in a store, or make one where there is nothing; `place` is its name.

    Raises:
        RefusedError: something else is there, it is not usable, or the key is not right.
        LogDamagedError: its history is not what was written.
    """
    with naming(place):
        with contextlib.suppress(RepositoryAbsentError):
            return await open_in(store, runtime, holder, cache=cache)
        if holder.named and await store.stranger() is None:
            raise NoEncryptedRepositoryError
        try:
            repository = await create_repository(
                store,
                NO_SETTINGS,
                features=lambda: PLAIN,
                runtime=runtime,
                block_size=block_size,
            )
        except RepositoryExistsError:
            # Another engine made it a moment ago; there is room in it for both.
            return await open_in(store, runtime, holder, cache=cache)
        output.remark(f"created a repository in {place}")
        return repository


async def create_repository(
    store: Store,
    settings: Settings,
    /,
    *,
    features: Callable[[], Features],
    runtime: Runtime,
    block_size: ByteCount = BLOCK_SIZE,
) -> Repository:
    """Make an empty store a repository.

    `features` is asked once it is clear that the place is free.

    Raises:
        RepositoryExistsError: it is one already.
        RepositoryForeignError: something else is there.
        RefusedError: as `features`.
    """
    stranger = await store.stranger()
    present = await store.names("")
    if HEADER_NAME in present:
        raise RepositoryExistsError
    others = [name for name in present if not is_slot_object(name)]
    stranger = others[0] if stranger is None and others else stranger
    if stranger is not None:
        raise RepositoryForeignError(f"it holds {stranger}")
    return await Repository.create(
        store,
        identity_token=runtime.random("repository").token(),
        block_size=block_size,
        settings=settings,
        executor=runtime,
        features=features(),
    )


def sizes_of(names: tuple[str, ...], sizes: dict[str, int], /) -> ByteCount:
    """Return how many bytes these objects take, with the parity that goes when they go."""
    both = [each for name in names for each in (name, parity_name(name))]
    return ByteCount(sum(sizes.get(name, 0) for name in both))


def domains_of(repository: Repository, place: str, /) -> Domains:
    """Return the domains of a repository.

    Raises:
        InputRefusedError: it is not encrypted, and so can have none.
    """
    if repository.domains is None:
        raise InputRefusedError(
            f"{place} is not encrypted and can have no domains",
            "create a new one with: repo init --encrypt",
        )
    return repository.domains
