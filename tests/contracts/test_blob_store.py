"""What every blob store promises. Add a store to `STORES` and it is held to the same words."""

import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.app.repositories import open_store
from reference_engine.model.errors import CorruptionError, RefusedError
from reference_engine.model.identity import MachineId
from reference_engine.model.units import Instant
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.repository import Repository
from tests.servers.object_server import BUCKET
from tests.strategies.repositories import BLOCK, DISK, block, point_of, restored, write
from tests.strategies.simulated_clusters import SimulatedCluster, scenario_text

Run = Callable[[Callable[[Runtime], Coroutine[Any, Any, None]]], None]


def on_asyncio(scenario: Callable[[Runtime], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario in real time."""
    runtime = AsyncioRuntime(seed=1)
    runtime.run(scenario(runtime))


def in_memory(tmp_path: Path) -> tuple[BlobStore, Run]:
    """Return an empty store in memory."""
    del tmp_path
    return MemoryStore(), on_asyncio


def in_a_directory(tmp_path: Path) -> tuple[BlobStore, Run]:
    """Return a store whose directory does not exist yet."""
    return DirectoryStore(tmp_path / "not" / "there" / "yet"), on_asyncio


def in_the_simulator(tmp_path: Path) -> tuple[BlobStore, Run]:
    """Return the store of a simulated cluster, behind its network."""
    del tmp_path
    cluster = SimulatedCluster(scenario_text())

    def in_virtual_time(scenario: Callable[[Runtime], Coroutine[Any, Any, None]]) -> None:
        cluster.run(lambda: scenario(cluster.runtime))

    return cluster.store, in_virtual_time


def in_a_bucket(tmp_path: Path) -> tuple[BlobStore, Run]:
    """Return a store below a prefix of its own in a bucket of a real server."""
    return open_store(f"s3://{BUCKET}/{tmp_path.name}"), on_asyncio


STORES = (
    in_memory,
    in_a_directory,
    in_the_simulator,
    pytest.param(in_a_bucket, marks=pytest.mark.s3),
)


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
def made(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[BlobStore, Run]:
    """Return an empty store of each kind in turn, and how to work with it."""
    if request.param is in_a_bucket:
        for name, value in request.getfixturevalue("object_server").variables.items():
            monkeypatch.setenv(name, value)
    made: tuple[BlobStore, Run] = request.param(tmp_path)
    return made


@pytest.fixture
def store(made: tuple[BlobStore, Run]) -> BlobStore:
    """Return an empty store of each kind in turn."""
    return made[0]


@pytest.fixture
def run(made: tuple[BlobStore, Run]) -> Run:
    """Return how scenarios with the store are run."""
    return made[1]


def test_an_empty_store_holds_nothing(store: BlobStore, run: Run) -> None:
    """Before the first create there is nothing to read, to list or to delete, and no error."""

    async def scenario(_: Runtime) -> None:
        assert await store.read("packs/a-1") is None
        assert await store.names("") == ()
        await store.delete("packs/a-1")

    run(scenario)


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 4099])
def test_what_is_created_is_read_back(store: BlobStore, run: Run, content: bytes) -> None:
    """An object is read as it was created, whatever its bytes."""

    async def scenario(_: Runtime) -> None:
        assert await store.create("packs/a-1", content)
        assert await store.read("packs/a-1") == content

    run(scenario)


def test_a_name_is_given_once(store: BlobStore, run: Run) -> None:
    """The second create of a name changes nothing and says so."""

    async def scenario(_: Runtime) -> None:
        assert await store.create("log/0000000001", b"first")
        assert not await store.create("log/0000000001", b"second")
        assert await store.read("log/0000000001") == b"first"

    run(scenario)


def test_of_many_writers_of_one_name_one_wins(store: BlobStore, run: Run) -> None:
    """However many create a name at once, exactly one is told that it did, and it is true."""

    async def scenario(runtime: Runtime) -> None:
        won: list[bytes] = []

        async def write(content: bytes) -> None:
            if await store.create("log/0000000001", content):
                won.append(content)

        async with runtime.task_group() as group:
            for number in range(16):
                group.spawn(write(bytes([number]) * 1000), name=f"writer {number}")
        assert [await store.read("log/0000000001")] == won

    run(scenario)


def test_ranges_are_exact(store: BlobStore, run: Run) -> None:
    """A range has the bytes asked for, at either end of the object and in the middle."""

    async def scenario(_: Runtime) -> None:
        await store.create("packs/a-1", b"0123456789")
        assert await store.read_range("packs/a-1", offset=0, length=3) == b"012"
        assert await store.read_range("packs/a-1", offset=4, length=2) == b"45"
        assert await store.read_range("packs/a-1", offset=7, length=3) == b"789"

    run(scenario)


@pytest.mark.parametrize(("name", "offset"), [("packs/a-1", 8), ("packs/b-1", 0)])
def test_a_range_that_is_not_there_is_corruption(
    store: BlobStore, run: Run, name: str, offset: int
) -> None:
    """A missing or shorter object is never padded."""

    async def scenario(_: Runtime) -> None:
        await store.create("packs/a-1", b"0123456789")
        with pytest.raises(CorruptionError):
            await store.read_range(name, offset=offset, length=3)

    run(scenario)


def test_names_are_listed_by_prefix_ascending(store: BlobStore, run: Run) -> None:
    """A prefix may end anywhere in a name, and the order is that of the names."""

    async def scenario(_: Runtime) -> None:
        for name in ("points/b", "log/0000000002", "log/0000000010", "points/a", "repository.json"):
            await store.create(name, b"")
        assert await store.names("log/") == ("log/0000000002", "log/0000000010")
        assert await store.names("log/000000001") == ("log/0000000010",)
        assert await store.names("po") == ("points/a", "points/b")
        assert len(await store.names("")) == 5
        assert await store.names("packs/") == ()

    run(scenario)


def test_a_deleted_object_is_gone(store: BlobStore, run: Run) -> None:
    """Deleting is true at once and as often as one likes; the name may be given again."""

    async def scenario(_: Runtime) -> None:
        await store.create("packs/a-1", b"x")
        await store.delete("packs/a-1")
        await store.delete("packs/a-1")
        assert await store.read("packs/a-1") is None
        assert await store.names("") == ()
        assert await store.create("packs/a-1", b"y")

    run(scenario)


def test_what_is_there_can_be_made_durable(store: BlobStore, run: Run) -> None:
    """Also by somebody who did not create it, as often as one likes."""

    async def scenario(_: Runtime) -> None:
        await store.create("log/0000000001", b"x")
        for _ in range(2):
            await store.make_durable("log/0000000001")
        assert await store.read("log/0000000001") == b"x"

    run(scenario)


def test_sizes_are_those_of_the_objects(store: BlobStore, run: Run) -> None:
    """A store says how long each object is, without reading any."""

    async def scenario(_: Runtime) -> None:
        for name, size in (("packs/a-1", 70_000), ("packs/b-1", 0), ("log/0000000001", 3)):
            await store.create(name, bytes(size))
        assert await store.sizes("packs/") == {"packs/a-1": 70_000, "packs/b-1": 0}
        assert len(await store.sizes("")) == 3

    run(scenario)


def test_space_is_reclaimed_beside_running_backups(store: BlobStore, run: Run) -> None:
    """Writers and reclaims at once, each with a view of its own: what is kept restores."""

    async def scenario(runtime: Runtime) -> None:
        await Repository.create(store, identity_token="ab" * 16, block_size=BLOCK)
        images: dict[str, bytes] = {}

        async def write_points(machine: int) -> None:
            repository = await Repository.open(store)
            for number in range(4):
                point = f"{machine}{number}"
                session = await repository.open_run(
                    MachineId(f"vm{machine}"), token=f"session{point}"
                )
                images[point] = block(1) + block(2 + number) + block(10 * machine + number)
                await write(session, images[point])
                await session.stage(point_of(session, {DISK: len(images[point])}, point))
                await session.commit()

        async def reclaim() -> None:
            repository = await Repository.open(store)
            for _ in range(4):
                for entry in (await repository.commits())[:1]:
                    with contextlib.suppress(RefusedError):
                        await repository.reclaim.expire(
                            (entry.point,), at=Instant(0), allow_last=False
                        )
                await repository.reclaim.reclaim(at=Instant(0))

        async with runtime.task_group() as group:
            for machine in range(2):
                group.spawn(write_points(machine), name=f"writer {machine}")
                group.spawn(reclaim(), name=f"reclaim {machine}")
        repository = await Repository.open(store)
        newest = repository.reclaim.history.newest(MachineId("vm0"))
        assert newest is not None
        assert newest.point in {entry.point for entry in await repository.commits()}
        await repository.reclaim.reclaim(at=Instant(0))
        for entry in await repository.commits():
            assert await restored(repository, str(entry.point)) == images[str(entry.point)]
        assert len(await store.names("points/")) == len(await repository.commits())

    run(scenario)
