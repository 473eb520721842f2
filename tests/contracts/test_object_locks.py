"""What every store with locks of objects promises, the fake of the tests included."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from pathlib import Path

import pytest

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.app.repositories import CountingStore, Store, open_store
from reference_engine.model.errors import ObjectLockedError, RefusedError
from reference_engine.model.units import HOUR, SECOND, Duration, Instant
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.object_locks import LockMode, LockRule, ObjectLocks, locks_of
from tests.servers.object_server import BUCKET, LOCKED_BUCKET, ObjectServer
from tests.strategies.locking_stores import LockingMemoryStore

DAY = 24 * HOUR
RULE = LockRule(mode=LockMode.GOVERNANCE, period=Duration(30 * DAY))
PLACES = ("memory", pytest.param("bucket", marks=pytest.mark.s3))
MODES = tuple(LockMode)


def begin(place: str, request: pytest.FixtureRequest, tmp_path: Path, mode: LockMode) -> BlobStore:
    """Return an empty store of this kind that locks what it is given."""
    store: BlobStore = LockingMemoryStore()
    if place == "bucket":
        store = in_bucket(request, tmp_path, LOCKED_BUCKET)
    rule = LockRule(mode=mode, period=RULE.period)
    asyncio.run(locks(store).prove(rule))
    return store


def in_bucket(request: pytest.FixtureRequest, tmp_path: Path, bucket: str) -> Store:
    """Return a store in one of the server's buckets."""
    server: ObjectServer = request.getfixturevalue("object_server")
    server.make_locked_bucket()
    for name, value in server.variables.items():
        request.getfixturevalue("monkeypatch").setenv(name, value)
    return open_store(f"s3://{bucket}/{tmp_path.name}")


def locks(store: BlobStore) -> ObjectLocks:
    """Return the locks that the store must have."""
    found = locks_of(store)
    assert found is not None
    return found


@pytest.fixture(params=PLACES)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BlobStore:
    """Return a store of each kind in turn that locks what it is given."""
    del monkeypatch
    return begin(request.param, request, tmp_path, LockMode.GOVERNANCE)


def test_a_created_object_is_locked_for_its_period(store: BlobStore) -> None:
    """At least from now on, and at most until the end of the stretch after this hour."""

    async def scenario() -> None:
        before = locks(store).now()
        assert await store.create("packs/a-1", b"x")
        assert not await store.create("packs/a-1", b"y")
        until = await locks(store).until("packs/a-1")
        assert until is not None
        assert RULE.end(before) <= until <= RULE.end_of_new(locks(store).now())
        assert until >= before + RULE.period
        assert await store.read("packs/a-1") == b"x"

    asyncio.run(scenario())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", MODES)
def test_what_is_locked_is_not_deleted(
    place: str,
    mode: LockMode,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error says until when, and the object reads as before."""
    del monkeypatch
    store = begin(place, request, tmp_path, mode)

    async def scenario() -> None:
        await store.create("packs/a-1", b"x")
        with pytest.raises(ObjectLockedError, match="packs/a-1"):
            await store.delete("packs/a-1")
        assert await store.read("packs/a-1") == b"x"
        assert await store.names("packs/") == ("packs/a-1",)
        await store.delete("packs/absent")

    asyncio.run(scenario())


def test_a_lock_is_prolonged_and_never_shortened(store: BlobStore) -> None:
    """What is not there stays away, and is no error."""

    async def scenario() -> None:
        for number in range(20):
            await store.create(f"packs/a-{number}", b"x")
        names = await store.names("packs/")
        first = await locks(store).until("packs/a-1")
        assert first is not None
        later = Instant(first + 3 * DAY)
        await locks(store).extend((*names, "packs/absent"), until=later)
        assert [await locks(store).until(name) for name in names] == [later] * 20
        await locks(store).extend(names[:2], until=first)
        assert await locks(store).until("packs/a-1") == later
        assert await locks(store).until("packs/absent") is None
        assert await store.read("packs/absent") is None
        await locks(store).extend((), until=later)

    asyncio.run(scenario())


def test_stores_without_locks_say_so(tmp_path: Path) -> None:
    """Also from behind another store."""
    assert locks_of(MemoryStore()) is None
    assert locks_of(DirectoryStore(tmp_path)) is None
    assert locks_of(CountingStore(DirectoryStore(tmp_path))) is None


@pytest.mark.s3
def test_a_bucket_without_locks_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything but a probe was put there."""
    del monkeypatch
    store = in_bucket(request, tmp_path, BUCKET)
    assert locks_of(CountingStore(store)) is not None

    async def scenario() -> None:
        with pytest.raises(RefusedError, match="create a bucket with object lock"):
            await locks(store).prove(RULE)
        assert await store.names("") == ()
        assert await store.stranger() is None

    asyncio.run(scenario())


@pytest.mark.s3
def test_what_somebody_put_above_a_locked_object_goes(
    request: pytest.FixtureRequest,
    object_server: ObjectServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A deletion takes other versions and delete markers away, and what is locked reads again."""
    del monkeypatch
    store = begin("bucket", request, tmp_path, LockMode.COMPLIANCE)
    client = object_server.client()
    key = f"{tmp_path.name}/packs/a-1"

    async def scenario() -> None:
        await store.create("packs/a-1", b"ours")
        client.put_object(Bucket=LOCKED_BUCKET, Key=key, Body=b"somebody's")
        assert await store.read("packs/a-1") == b"somebody's"
        client.delete_object(Bucket=LOCKED_BUCKET, Key=key)
        assert await store.read("packs/a-1") is None
        with pytest.raises(ObjectLockedError):
            await store.delete("packs/a-1")
        assert await store.read("packs/a-1") == b"ours"

    asyncio.run(scenario())


@pytest.mark.s3
def test_what_is_not_locked_any_more_is_removed_for_good(
    request: pytest.FixtureRequest,
    object_server: ObjectServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No version stays behind, so that its space comes back."""
    del monkeypatch
    store = begin("bucket", request, tmp_path, LockMode.GOVERNANCE)
    client = object_server.client()
    where = {"Bucket": LOCKED_BUCKET, "Prefix": f"{tmp_path.name}/packs/"}

    async def scenario() -> None:
        # Put by somebody who locks nothing: what a lock leaves once it has ended.
        for body in (b"first", b"second"):
            client.put_object(Bucket=LOCKED_BUCKET, Key=f"{where['Prefix']}a-1", Body=body)
        client.put_object(Bucket=LOCKED_BUCKET, Key=f"{where['Prefix']}a-10", Body=b"another")
        await store.delete("packs/a-1")
        left = client.list_object_versions(**where)
        assert [each["Key"] for each in left["Versions"]] == [f"{where['Prefix']}a-10"]
        assert "DeleteMarkers" not in left

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("period", "stretch"),
    [(DAY, DAY), (8 * DAY, 2 * DAY), (40 * DAY, 10 * DAY), (365 * DAY, 10 * DAY)],
)
def test_locks_of_a_stretch_end_together_and_last_a_period(period: int, stretch: int) -> None:
    """Whenever within a stretch something is used, one end is late enough for all of it."""
    rule = LockRule(mode=LockMode.GOVERNANCE, period=Duration(period))
    start = 20_000 * stretch

    assert rule.stretch == stretch
    for into in (0, 1, stretch // 2, stretch - 1):
        assert rule.end(Instant(start + into)) == start + stretch + period
    assert rule.end_of_new(Instant(start + stretch - HOUR - 1)) == start + stretch + period
    assert rule.end_of_new(Instant(start + stretch - HOUR)) == start + 2 * stretch + period
    assert rule.end(Instant(start)) % SECOND == 0
