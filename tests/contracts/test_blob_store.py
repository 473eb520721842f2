"""What every blob store promises. Add a store to `STORES` and it is held to the same words."""

import asyncio  # noqa: TID251 - these stores run on asyncio
from pathlib import Path

import pytest

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore


def in_memory(tmp_path: Path) -> BlobStore:
    """Return an empty store in memory."""
    del tmp_path
    return MemoryStore()


def in_a_directory(tmp_path: Path) -> BlobStore:
    """Return a store whose directory does not exist yet."""
    return DirectoryStore(tmp_path / "not" / "there" / "yet")


STORES = (in_memory, in_a_directory)


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Return an empty store of each kind in turn."""
    made: BlobStore = request.param(tmp_path)
    return made


def test_an_empty_store_holds_nothing(store: BlobStore) -> None:
    """Before the first create there is nothing to read, to list or to delete, and no error."""

    async def scenario() -> None:
        assert await store.read("packs/a-1") is None
        assert await store.names("") == ()
        await store.delete("packs/a-1")

    asyncio.run(scenario())


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 4099])
def test_what_is_created_is_read_back(store: BlobStore, content: bytes) -> None:
    """An object is read as it was created, whatever its bytes."""

    async def scenario() -> None:
        assert await store.create("packs/a-1", content)
        assert await store.read("packs/a-1") == content

    asyncio.run(scenario())


def test_a_name_is_given_once(store: BlobStore) -> None:
    """The second create of a name changes nothing and says so."""

    async def scenario() -> None:
        assert await store.create("log/0000000001", b"first")
        assert not await store.create("log/0000000001", b"second")
        assert await store.read("log/0000000001") == b"first"

    asyncio.run(scenario())


def test_of_many_writers_of_one_name_one_wins(store: BlobStore) -> None:
    """However many create a name at once, exactly one is told that it did, and it is true."""

    async def scenario() -> None:
        contents = [bytes([n]) * 1000 for n in range(16)]
        won = await asyncio.gather(*(store.create("log/0000000001", c) for c in contents))

        assert sum(won) == 1
        assert await store.read("log/0000000001") == contents[won.index(True)]

    asyncio.run(scenario())


def test_ranges_are_exact(store: BlobStore) -> None:
    """A range has the bytes asked for, at either end of the object and in the middle."""

    async def scenario() -> None:
        await store.create("packs/a-1", b"0123456789")
        assert await store.read_range("packs/a-1", offset=0, length=3) == b"012"
        assert await store.read_range("packs/a-1", offset=4, length=2) == b"45"
        assert await store.read_range("packs/a-1", offset=7, length=3) == b"789"

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "offset"), [("packs/a-1", 8), ("packs/b-1", 0)])
def test_a_range_that_is_not_there_is_corruption(store: BlobStore, name: str, offset: int) -> None:
    """A missing or shorter object is never padded."""

    async def scenario() -> None:
        await store.create("packs/a-1", b"0123456789")
        with pytest.raises(CorruptionError):
            await store.read_range(name, offset=offset, length=3)

    asyncio.run(scenario())


def test_names_are_listed_by_prefix_ascending(store: BlobStore) -> None:
    """A prefix may end anywhere in a name, and the order is that of the names."""

    async def scenario() -> None:
        for name in ("points/b", "log/0000000002", "log/0000000010", "points/a", "repository.json"):
            await store.create(name, b"")
        assert await store.names("log/") == ("log/0000000002", "log/0000000010")
        assert await store.names("log/000000001") == ("log/0000000010",)
        assert await store.names("po") == ("points/a", "points/b")
        assert len(await store.names("")) == 5
        assert await store.names("packs/") == ()

    asyncio.run(scenario())


def test_a_deleted_object_is_gone(store: BlobStore) -> None:
    """Deleting is true at once and as often as one likes; the name may be given again."""

    async def scenario() -> None:
        await store.create("packs/a-1", b"x")
        await store.delete("packs/a-1")
        await store.delete("packs/a-1")
        assert await store.read("packs/a-1") is None
        assert await store.names("") == ()
        assert await store.create("packs/a-1", b"y")

    asyncio.run(scenario())
