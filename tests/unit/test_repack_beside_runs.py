"""A repack and others at once: readers and runs go on, and what was overtaken does not commit."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.errors import RepackOvertakenError
from reference_engine.repository.reclaim import SILENCE_MAX
from reference_engine.repository.repack_run import RepackRun
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from tests.strategies.reclaims import NOW, OTHER, give_back, reclaim_without
from tests.strategies.repacks import EVERYTHING, image, repack, scattered
from tests.strategies.repositories import DISK, VM, commit, point_of, restored, write


def test_a_reader_from_before_reads_on() -> None:
    """What it was reading is deleted: it goes on with the point's new manifest."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        other = await Repository.open(store)
        early = await other.reader(RecoveryPointId("b"))
        paged = await other.reader(RecoveryPointId("b"))
        await paged.allocated(DISK)
        await repack(repository)

        for reader in (early, paged):
            assert await reader.read(DISK, ExtentSet.whole(reader.size(DISK))) == image(1, 5, 6, 7)

    asyncio.run(scenario())


async def _waiting_run(store: MemoryStore, content: bytes, machine: MachineId) -> WriteSession:
    """Return a run that has staged `content` and is yet to commit."""
    session = await (await Repository.open(store)).open_run(machine, token="late")  # noqa: S106
    await write(session, content)
    await session.stage(point_of(session, {DISK: len(content)}, "late"))
    return session


@pytest.mark.parametrize("machine", [VM, OTHER])
@pytest.mark.parametrize("when", ["before the sweep", "behind the sweep"])
def test_a_run_that_builds_on_what_was_moved_commits(machine: MachineId, when: str) -> None:
    """It inherited pages, or found blocks, in packs that the repack gave up meanwhile."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        session = await _waiting_run(store, image(1, 5, 9, 7), machine)
        plan = await repository.repack.plan(EVERYTHING, at=NOW)
        await repository.repack.run(plan, token=lambda: "repack", at=NOW)
        condemned = await repository.reclaim.condemn(at=NOW)
        assert condemned is not None
        if when == "before the sweep":
            await session.commit()
        await repository.reclaim.sweep(condemned)
        if when != "before the sweep":
            await session.commit()
        await give_back(repository, condemned)

        again = await Repository.open(store)
        assert await restored(again, "late") == image(1, 5, 9, 7)
        assert await restored(again, "b") == image(1, 5, 6, 7)

    asyncio.run(scenario())


async def _staged_repack(repository: Repository, session: str) -> RepackRun:
    """Return a repack that is yet to commit."""
    plan = await repository.repack.plan(EVERYTHING, at=NOW)
    run = await repository.repack._opened(plan.usage, plan.choice.objects, session)
    assert await run.stage(lambda _: None) > 0
    return run


def test_a_point_that_expired_meanwhile_does_not_come_back() -> None:
    """The repack names only points that exist as they were read."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        run = await _staged_repack(repository, "slow")
        await commit(repository, image(20), "c")
        await reclaim_without(await Repository.open(store), "b")
        with pytest.raises(RepackOvertakenError):
            await run.commit(at=NOW)
        await run.abandon()

        again = await Repository.open(store)
        assert [point.id for point in await again.points()] == ["c"]
        assert [name for name in store.objects if "slow" in name] == []

    asyncio.run(scenario())


def test_of_two_repacks_the_later_one_commits() -> None:
    """The first one learns that it was overtaken, and what it wrote is given back."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        slow = await _staged_repack(repository, "slow")
        await repack(await Repository.open(store))
        with pytest.raises(RepackOvertakenError, match="overtaken"):
            await slow.commit(at=NOW)
        await slow.abandon()

        again = await Repository.open(store)
        assert [name for name in store.objects if "slow" in name] == []
        assert await restored(again, "b") == image(1, 5, 6, 7)

    asyncio.run(scenario())


def test_what_an_open_repack_wrote_is_spared_and_a_dead_one_leaves_nothing() -> None:
    """Nobody condemns its manifests although the runs of their points ended long ago."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        await commit(repository, image(1, 30), "c")
        run = await _staged_repack(repository, "slow")
        other = await Repository.open(store)
        await other.reclaim.reclaim(at=NOW)
        assert any("points/b.slow" in name for name in store.objects)
        assert await run.commit(at=NOW) == 2
        await other.reclaim.reclaim(at=NOW)
        assert await restored(await Repository.open(store), "b") == image(1, 5, 6, 7)

        await commit(repository, image(30, 31), "d")
        await reclaim_without(repository, "c")
        await _staged_repack(repository, "dead")
        await repository.reclaim.reclaim(at=NOW)
        await repository.reclaim.reclaim(at=Instant(NOW + SILENCE_MAX))
        assert [name for name in store.objects if "dead" in name] == []

    asyncio.run(scenario())
