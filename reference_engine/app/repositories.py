"""Repositories in directories: opening one, and making one on first use."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.app.output import Output
from reference_engine.model.errors import TwinshotError
from reference_engine.model.units import KIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor, Runtime
from reference_engine.repository.errors import RepositoryAbsentError, RepositoryForeignError
from reference_engine.repository.repository import Repository

BLOCK_SIZE: Final = ByteCount(64 * KIB)
"""Large enough for a small map; a random write of a guest costs a sixteenth of it."""


@contextlib.contextmanager
def _naming(place: Path) -> Iterator[None]:
    """Let errors say which repository they are about."""
    try:
        yield
    except TwinshotError as error:
        error.add_note(str(place))
        raise


class CountingStore(BlobStore):
    """A store that remembers how many bytes were created in it."""

    def __init__(self, store: BlobStore, /) -> None:
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


async def open_repository(place: Path, executor: Executor, /) -> Repository:
    """Open the repository in a directory.

    Raises:
        RefusedError: there is none, or it is not usable.
        LogDamagedError: its history is not what was written.
    """
    with _naming(place):
        return await Repository.open(DirectoryStore(place), executor=executor)


async def open_or_create_repository(
    place: Path, store: BlobStore, /, *, runtime: Runtime, output: Output
) -> Repository:
    """Open the repository in a directory, or make one where the directory is empty or absent.

    Raises:
        RefusedError: something else is there, or it is not usable.
        LogDamagedError: its history is not what was written.
    """
    with _naming(place):
        try:
            return await Repository.open(store, executor=runtime)
        except RepositoryAbsentError:
            stranger = await DirectoryStore(place).stranger()
            if stranger is not None:
                raise RepositoryForeignError(f"it holds {stranger}") from None
        token = runtime.random("repository").token()
        repository = await Repository.create(
            store, identity_token=token, block_size=BLOCK_SIZE, executor=runtime
        )
        output.remark(f"created a repository in {place}")
        return repository
