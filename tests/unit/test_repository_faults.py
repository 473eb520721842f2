"""Whatever happens to a run, its point is absent or whole, and the repository goes on."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from typing import Final

import numpy as np
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import (
    DeadlineExceededError,
    SupersededError,
    TransientError,
)
from reference_engine.model.identity import Epoch, RunTag
from reference_engine.model.units import KIB, MIB, ByteCount
from reference_engine.repository.pack import PACK_MAX
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from tests.strategies.faulty_stores import Fault, FaultyStore, PowerCutError
from tests.strategies.repositories import (
    BLOCK,
    DISK,
    VM,
    block,
    commit,
    new_repository,
    no_progress,
    point_of,
    restored,
)

# ruff: noqa: S106 - the token of a run is no secret

BEFORE = block(1) + block(2)
AFTER = block(1) + block(3)


async def second_run(repository: Repository) -> WriteSession:
    """Back up `AFTER`, up to but without the commit."""
    session = await repository.open_run(VM, token="second")
    await session.begin_disk(DISK, ByteCount(len(AFTER)), inherit=DISK)
    await session.put_blocks(DISK, np.arange(2), AFTER)
    await session.stage(point_of(session, {DISK: len(AFTER)}, "b"))
    return session


async def prepared() -> dict[str, bytes]:
    """Return the objects of a repository with one point that holds `BEFORE`."""
    store = MemoryStore()
    await commit(await new_repository(store), BEFORE, "a")
    return store.objects


async def check_whole(objects: dict[str, bytes], *, expected: set[str]) -> None:
    """Make sure that every listed point is whole and that another run can be made."""
    store = MemoryStore()
    store.objects = objects
    repository = await Repository.open(store)
    listed = [str(point.id) for point in await repository.points()]
    assert "".join(listed) in expected
    images = {"a": BEFORE, "b": AFTER}
    for point in listed:
        assert await restored(repository, point) == images[point]
        await no_progress(repository, point)
    await commit(repository, BEFORE, "c")
    assert await restored(repository, "c") == BEFORE


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_after_a_power_cut_a_point_is_absent_or_whole(fault: Fault) -> None:
    """The engine may die at any changing call; only the log entry makes the point exist."""

    async def scenario() -> None:
        hits: list[str] = []
        for at in range(100):
            store = FaultyStore(await prepared(), at=at, fault=fault)
            repository = await Repository.open(store)
            try:
                await (await second_run(repository)).commit()
            except PowerCutError:
                committed = store.hit in {"copies/log/0000000004", "index/second-0"} or (
                    store.hit == "log/0000000004" and fault is Fault.CUT_AFTER
                )
                await check_whole(store.objects, expected={"ab"} if committed else {"a"})
            if not store.hit:
                break
            hits.append(store.hit)
        # The order of publication, as the package promises it. What another process wrote last is
        # made durable first.
        assert hits == [
            # In case that whoever wrote the newest entry died before its copy.
            "copies/log/0000000002",
            "log/0000000003",
            "copies/log/0000000003",
            "packs/second-1",
            "maps/second-1",
            "copies/maps/second-1",
            "points/b",
            "copies/points/b",
            "log/0000000004",
            "copies/log/0000000004",
            "index/second-0",
        ]

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [Fault.FAILED, Fault.ANSWER_LOST])
def test_a_lost_answer_is_settled_by_reading(fault: Fault) -> None:
    """A single failure of the store, whether it stored the object or not, costs nothing."""

    async def scenario() -> None:
        for at in range(100):
            store = FaultyStore(await prepared(), at=at, fault=fault)
            session = await second_run(await Repository.open(store))
            await session.commit()
            assert session.run.epoch == 2
            await check_whole(store.objects, expected={"ab"})
            if not store.hit:
                break

    asyncio.run(scenario())


class DeafStore(MemoryStore):
    """A store whose answers are lost from the next create on, until it is `hearing` again."""

    def __init__(self, objects: dict[str, bytes], /) -> None:
        super().__init__()
        self.objects = objects
        self.hearing = True
        self.deaf = False
        self.delayed: list[tuple[str, bytes]] = []

    async def create(self, name: str, content: bytes, /) -> bool:
        """Keep the object for later where answers are lost."""
        self.deaf = not self.hearing
        if not self.deaf:
            return await super().create(name, content)
        self.delayed.append((name, content))
        raise DeadlineExceededError(1)

    async def read(self, name: str, /) -> bytes | None:
        """Answer nothing where answers are lost."""
        if self.deaf:
            raise DeadlineExceededError(1)
        return await super().read(name)

    def hear(self) -> None:
        """Answer again; what was delayed stays delayed."""
        self.hearing, self.deaf = True, False

    async def arrive(self) -> None:
        """Carry out what was delayed."""
        assert self.delayed, "nothing was delayed"
        self.hear()
        for name, content in self.delayed:
            await super().create(name, content)


def test_a_commit_in_doubt_is_settled_by_committing_again() -> None:
    """A commit that arrives late is found by the next attempt, and counts once."""

    async def scenario() -> None:
        store = DeafStore(await prepared())
        repository = await Repository.open(store)
        session = await second_run(repository)
        store.hearing = False
        with pytest.raises(TransientError):
            await session.commit()
        await session.abandon()
        await store.arrive()

        await session.commit()
        committed = await repository.committed(session.run)
        assert committed is not None
        assert committed.id == "b"
        await check_whole(store.objects, expected={"ab"})

    asyncio.run(scenario())


def test_a_commit_that_arrives_after_its_successor_was_opened_is_void() -> None:
    """The log number that a dead run aimed at is taken, so its late write changes nothing."""

    async def scenario() -> None:
        store = DeafStore(await prepared())
        repository = await Repository.open(store)
        session = await second_run(repository)
        store.hearing = False
        with pytest.raises(TransientError):
            await session.commit()
        store.hear()
        await (await Repository.open(store)).open_run(VM, token="third")
        await store.arrive()

        with pytest.raises(SupersededError):
            await session.commit()
        assert await repository.committed(RunTag(machine=VM, epoch=Epoch(2))) is None
        await check_whole(store.objects, expected={"a"})

    asyncio.run(scenario())


def test_many_engines_share_a_repository() -> None:
    """Runs opened at once get epochs of their own, and only the newest commits."""

    async def scenario() -> None:
        store = MemoryStore()
        store.objects = await prepared()

        async def engine(number: int) -> str:
            repository = await Repository.open(store)
            session = await repository.open_run(VM, token=f"engine-{number}")
            await session.begin_disk(DISK, ByteCount(BLOCK), inherit=None)
            await session.put(DISK, 0, block(10 + number))
            await session.stage(point_of(session, {DISK: BLOCK}, f"p{number}"))
            await asyncio.sleep(0)
            try:
                await session.commit()
            except SupersededError:
                return ""
            return f"{session.run.epoch}"

        ended = await asyncio.gather(*(engine(number) for number in range(5)))
        repository = await Repository.open(store)
        epochs = [entry.epoch for entry in await repository.commits()]
        assert epochs == sorted(epochs)
        assert [str(epoch) for epoch in epochs[1:]] == [epoch for epoch in ended if epoch]
        assert epochs[-1] == 6

    asyncio.run(scenario())


def test_a_pack_that_was_not_stored_is_sent_again() -> None:
    """Blocks stay in memory until their pack is durable; staging sends what is missing."""

    async def scenario() -> None:
        store = DeafStore(await prepared())
        repository = await Repository.open(store)
        session = await repository.open_run(VM, token="second")
        await session.begin_disk(DISK, ByteCount(len(AFTER)), inherit=None)
        await session.put_blocks(DISK, np.arange(2), AFTER)
        point = point_of(session, {DISK: len(AFTER)}, "b")
        store.hearing = False
        with pytest.raises(TransientError):
            await session.stage(point)
        store.hear()
        store.delayed.clear()

        await session.stage(point)
        await session.commit()
        await check_whole(store.objects, expected={"ab"})

    asyncio.run(scenario())


def test_an_abandoned_run_leaves_the_points_alone() -> None:
    """What it stored is deleted, and nothing else is."""

    async def scenario() -> None:
        store = MemoryStore()
        store.objects = await prepared()
        before = dict(store.objects)
        session = await second_run(await Repository.open(store))
        await session.abandon()

        added = store.objects.keys() - before.keys()
        entries = {"log/0000000003", "log/0000000004"}
        assert added == entries | {f"copies/{name}" for name in entries}
        assert b"run-closed" in store.objects["log/0000000004"]
        await check_whole(store.objects, expected={"a"})

    asyncio.run(scenario())


LARGE: Final = ByteCount(64 * KIB)
STEP: Final = 16
INCOMPRESSIBLE: Final = np.random.default_rng(1).bytes(5 * PACK_MAX // 2)
"""Two full packs, and the half of another one."""


async def put_all(session: WriteSession) -> None:
    """Write the large image, a megabyte at a time."""
    await session.begin_disk(DISK, ByteCount(len(INCOMPRESSIBLE)), inherit=None)
    for start in range(0, len(INCOMPRESSIBLE) // LARGE, STEP):
        part = INCOMPRESSIBLE[start * LARGE : (start + STEP) * LARGE]
        await session.put_blocks(DISK, np.arange(start, start + STEP), part)


@pytest.mark.parametrize("way", ["killed", "abandoned"])
def test_what_a_failed_run_stored_is_not_stored_again(way: str) -> None:
    """Blocks of full packs are found by the next run, and its point needs nothing else."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await Repository.create(store, identity_token="ab" * 16, block_size=LARGE)
        first = await repository.open_run(VM, token="first")
        await put_all(first)
        if way == "abandoned":
            await first.abandon()
        told = [name for name in store.objects if name.startswith("index/")]
        packs = {name for name in store.objects if name.startswith("packs/")}
        again = await Repository.open(store)

        second = await again.open_run(VM, token="second")
        await put_all(second)
        await second.stage(point_of(second, {DISK: len(INCOMPRESSIBLE)}, "a"))
        await second.commit()

        assert told == ["index/first-1"]
        assert packs == {"packs/first-1", *(["packs/first-2"] if way == "killed" else [])}
        # The first portion speaks of one pack; the next one would have come two packs later.
        assert 0 <= second.bytes_sent - (len(INCOMPRESSIBLE) - PACK_MAX) <= MIB
        assert await restored(again, "a") == INCOMPRESSIBLE

    asyncio.run(scenario())
