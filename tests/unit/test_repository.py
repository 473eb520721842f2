"""A repository returns what it was given, at every commit, or says that it cannot."""

# ruff: noqa: S106 - the token of a run is no secret

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import SupersededError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, Epoch, MachineId, RecoveryPointId, RunTag
from reference_engine.model.units import ByteCount
from reference_engine.repository.errors import (
    RepositoryAbsentError,
    RepositoryExistsError,
    RepositoryForeignError,
    RepositoryNewerError,
)
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import (
    BLOCK,
    DISK,
    VM,
    block,
    commit,
    images,
    new_repository,
    no_progress,
    point_of,
    restored,
    write,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(images, min_size=1, max_size=4))
def test_every_point_is_restored_as_it_was(history: list[bytes]) -> None:
    """Whatever the images of a machine were, resized or not, each point returns its own."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        for number, image in enumerate(history):
            await commit(repository, image, f"point-{number}")

        again = await Repository.open(store)
        for number, image in enumerate(history):
            assert await restored(again, f"point-{number}") == image
            await no_progress(again, f"point-{number}")

    asyncio.run(scenario())


@settings(max_examples=60, deadline=None)
@given(images, images)
def test_an_inherited_disk_goes_on_where_the_base_ended(before: bytes, after: bytes) -> None:
    """Without a single write a disk has the base's content, cut off or continued with zeros."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        await commit(repository, before, "a")
        session = await repository.open_run(VM, token="second")
        await session.begin_disk(DISK, ByteCount(len(after)), inherit=DISK)
        await session.stage(point_of(session, {DISK: len(after)}, "b"))
        await session.commit()

        expected = before[: len(after)].ljust(len(after), b"\0")
        assert await restored(repository, "b") == expected

    asyncio.run(scenario())


@settings(max_examples=60, deadline=None)
@given(images, images)
def test_root_digests_speak_of_content_only(one: bytes, other: bytes) -> None:
    """Equal content has equal root digests whatever came before, and other content another one."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        direct = await commit(repository, one, "a")
        await commit(repository, other, "b")
        detour = await commit(repository, one, "c")
        different = await commit(repository, other, "d")

        assert detour.root_digest(DISK) == direct.root_digest(DISK)
        assert (different.root_digest(DISK) == direct.root_digest(DISK)) == (one == other)

    asyncio.run(scenario())


def test_any_range_can_be_read() -> None:
    """Reading needs no alignment and returns the ranges one after the other."""

    async def scenario() -> None:
        image = b"".join(block(fill) for fill in (1, 0, 2, 3))[:-5]
        repository = await new_repository(MemoryStore())
        await commit(repository, image, "a")
        reader = await repository.reader(RecoveryPointId("a"))

        ranges = ExtentSet.of([(3, 70), (100, 101), (190, len(image))])
        expected = b"".join(image[part.offset : part.end] for part in ranges)
        assert await reader.read(DISK, ranges) == expected
        assert await reader.allocated(DISK) == ExtentSet.of([(0, 64), (128, len(image))])

    asyncio.run(scenario())


def test_a_block_is_stored_once() -> None:
    """Neither a repetition in the run, nor in the base, nor on another disk takes space."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        session = await repository.open_run(VM, token="one")
        await session.begin_disk(DISK, ByteCount(4 * BLOCK), inherit=None)
        image = block(1) + block(2) + block(1) + block(0)
        fresh = await session.put_blocks(DISK, np.arange(4), image)
        assert fresh.tolist() == [True, True, False, False]
        assert session.bytes_sent == 2 * BLOCK
        assert session.sent(DISK) == ExtentSet.of([(0, 2 * BLOCK)])
        await session.stage(point_of(session, {DISK: 4 * BLOCK}, "a"))
        await session.commit()

        session = await repository.open_run(VM, token="two")
        other = DiskId("other")
        await session.begin_disk(DISK, ByteCount(4 * BLOCK), inherit=DISK)
        await session.begin_disk(other, ByteCount(BLOCK), inherit=None)
        assert not await session.put(DISK, 0, block(2))
        assert not await session.put(other, 0, block(1))
        assert session.bytes_sent == 0
        await session.stage(point_of(session, {DISK: 4 * BLOCK, other: BLOCK}, "b"))
        await session.commit()
        assert await restored(repository, "b") == block(2) + image[BLOCK:]
        assert await restored(repository, "b", other) == block(1)

    asyncio.run(scenario())


def test_a_comparison_stores_what_differs() -> None:
    """Over an inherited disk only other content is stored, and what is gone becomes a hole."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        await commit(repository, block(1) + block(0) + block(2) + block(0) + block(4), "a")
        session = await repository.open_run(VM, token="two")
        await session.begin_disk(DISK, ByteCount(5 * BLOCK), inherit=DISK)
        await session.keep_only(DISK, ExtentSet.of([(0, 4 * BLOCK)]))

        now = block(1) + block(3) + block(0) + block(0)
        fresh = await session.put_blocks(DISK, np.arange(4), now)
        assert fresh.tolist() == [False, True, False, False]
        await session.stage(point_of(session, {DISK: 5 * BLOCK}, "b"))
        await session.commit()
        assert await restored(repository, "b") == now + block(0)

    asyncio.run(scenario())


def test_a_superseded_run_cannot_commit() -> None:
    """Once a newer run of the machine is open, an older one's point can never exist."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        old = await repository.open_run(VM, token="old")
        await write(old, block(1))
        await old.stage(point_of(old, {DISK: BLOCK}, "old"))
        new = await (await Repository.open(store)).open_run(VM, token="new")

        assert (old.run.epoch, new.run.epoch) == (1, 2)
        with pytest.raises(SupersededError):
            await old.commit()
        await old.abandon()
        assert await repository.points() == ()
        assert await store.names("packs/") == ()
        assert await store.names("points/") == ()

    asyncio.run(scenario())


def test_machines_do_not_supersede_each_other() -> None:
    """Epochs are counted for each machine by itself."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        session = await repository.open_run(VM, token="one")
        other = await repository.open_run(MachineId("other"), token="two")
        await write(session, block(1))
        await session.stage(point_of(session, {DISK: BLOCK}, "a"))
        await session.commit()

        assert other.run.epoch == 1
        assert await repository.latest(MachineId("other")) is None

    asyncio.run(scenario())


def test_a_base_is_the_newest_point_when_the_run_was_opened() -> None:
    """The first run has no base; a later one has what was committed before it was opened."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        first = await commit(repository, block(1), "a")
        second = await commit(repository, block(2), "b")

        assert first.base is None
        assert second.base is not None
        assert second.base.id == "a"
        committed = await repository.committed(RunTag(machine=VM, epoch=Epoch(2)))
        assert committed is not None
        assert committed.id == "b"
        assert committed == (await repository.points())[-1]
        assert await repository.committed(RunTag(machine=VM, epoch=Epoch(3))) is None

    asyncio.run(scenario())


def test_points_are_listed_in_the_order_of_their_commits() -> None:
    """The log's order is the only one; ids and clocks have no say."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        for name in ("c", "a", "b"):
            await commit(repository, block(1), name)

        assert [point.id for point in await repository.points()] == ["c", "a", "b"]
        latest = await repository.latest(VM)
        assert latest is not None
        assert latest.id == "b"

    asyncio.run(scenario())


def test_a_committed_record_comes_back_field_by_field() -> None:
    """The manifest holds the whole provenance, byte ranges included."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        session = await repository.open_run(VM, token="one")
        await write(session, block(1))
        point = point_of(session, {DISK: BLOCK}, "a")
        await session.stage(point)
        await session.commit()

        assert await (await Repository.open(store)).points() == (point,)

    asyncio.run(scenario())


def test_a_repository_is_created_once() -> None:
    """A second creation is refused, and so is one among other objects; a repetition is not."""

    async def scenario() -> None:
        store = MemoryStore()
        with pytest.raises(RepositoryAbsentError):
            await Repository.open(store)
        await new_repository(store)
        await new_repository(store)
        with pytest.raises(RepositoryExistsError):
            await Repository.create(store, identity_token="cd" * 16, block_size=BLOCK)
        other = MemoryStore()
        other.objects["holiday.jpg"] = b""
        with pytest.raises(RepositoryForeignError, match="holiday"):
            await new_repository(other)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (b'{"format":3,"anything":[]}', RepositoryNewerError),
        (b'{"format":2}', RepositoryForeignError),
        (b'{"format":1}', RepositoryForeignError),
        (b'{"name":"web-app"}', RepositoryForeignError),
        (b"[]", RepositoryForeignError),
        (b"\xff\xd8", RepositoryForeignError),
        (b"", RepositoryForeignError),
        (
            b'{"format":2,"repository":"x","block_size":64,"digest_key":"xyz"}',
            RepositoryForeignError,
        ),
        (
            b'{"format":2,"repository":"x","block_size":0,"digest_key":"' + b"ab" * 32 + b'"}',
            RepositoryForeignError,
        ),
    ],
)
def test_what_is_not_ours_is_left_alone(header: bytes, error: type[Exception]) -> None:
    """Newer formats and other programs' files are refused by name, never guessed at."""

    async def scenario() -> None:
        store = MemoryStore()
        store.objects["repository.json"] = header
        with pytest.raises(error):
            await Repository.open(store)

    asyncio.run(scenario())
