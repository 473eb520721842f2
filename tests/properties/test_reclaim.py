"""Whatever happens in whatever order: points that are kept restore, and unneeded objects go.

Writers and reclaims are coroutines that await nothing but the store, so they are run here by hand:
a schedule says who makes how many calls, then everybody may be dropped as by a power cut.
"""

import asyncio  # noqa: TID251 - the store is awaited on asyncio where nothing is interleaved
import enum
from collections.abc import Coroutine, Generator
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import ConsistencyLostError, RefusedError
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import ByteCount, Instant
from reference_engine.repository.codec import session_of
from reference_engine.repository.reclaim import SILENCE_MAX
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from tests.strategies.repositories import (
    BLOCK,
    DISK,
    images,
    new_repository,
    no_progress,
    point_of,
    restored,
)


class Do(enum.Enum):
    """What somebody does from its beginning to its end."""

    BACKUP = "back up a whole image"
    INCREMENT = "write one block, inherit the rest"
    EXPIRE = "remove a point, and another one"
    FORCE = "condemn, sweep, delete, release, waiting for nobody"
    RECLAIM = "reclaim, waiting for open runs"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody does, on a machine or a point."""

    do: Do
    which: int
    image: bytes


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Somebodies with their jobs, and who makes how many calls, until a power cut or the end."""

    actors: tuple[tuple[Job, ...], ...]
    schedule: tuple[tuple[int, int], ...]
    cut: bool


_WRITING = st.sampled_from([Do.BACKUP, Do.BACKUP, Do.INCREMENT])
_TAKING = st.sampled_from([Do.EXPIRE, Do.FORCE, Do.FORCE, Do.RECLAIM])


def jobs_of(what: st.SearchStrategy[Do]) -> st.SearchStrategy[tuple[Job, ...]]:
    """Return some jobs of one actor."""
    job = st.builds(Job, do=what, which=st.integers(0, 3), image=images)
    return st.lists(job, max_size=3).map(tuple)


rounds = st.builds(
    Round,
    actors=st.tuples(*map(jobs_of, (_WRITING, _WRITING, _TAKING, _TAKING))),
    schedule=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([1, 1, 2, 3, 5, 8, 13, 30])), max_size=24
    ).map(tuple),
    cut=st.booleans(),
)


class Turn:
    """Lets somebody else make a call first."""

    def __await__(self) -> Generator[None, None, None]:
        """Come back when the schedule says so."""
        yield


class TurnStore(MemoryStore):
    """A store at whose every call another coroutine may go on."""

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Create the object when it is our turn."""
        await Turn()
        return await super().create(name, content)

    async def read(self, name: str, /) -> bytes | None:
        """Read the object when it is our turn."""
        await Turn()
        return await super().read(name)

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Read a part of it when it is our turn."""
        await Turn()
        return await super().read_range(name, offset=offset, length=length)

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """List when it is our turn."""
        await Turn()
        return await super().names(prefix)

    async def delete(self, name: str, /) -> None:
        """Delete the object when it is our turn."""
        await Turn()
        await super().delete(name)


class World:
    """What everybody did to one store, and what must have come of it."""

    def __init__(self) -> None:
        self.store = TurnStore()
        self.images: dict[str, bytes] = {}
        self.acknowledged: dict[str, None] = {}
        self.removing: dict[str, int] = {}
        """How many removals of a point succeeded, or were begun and had no answer."""

        self.count = 0
        self.now = Instant(0)

    def plain(self) -> MemoryStore:
        """Return the same objects without turns."""
        store = MemoryStore()
        store.objects = self.store.objects
        return store

    def run(self, each: Round) -> None:
        """Let everybody work as the schedule says."""
        alive: dict[int, Coroutine[Any, Any, None]] = {
            number: self._actor(jobs) for number, jobs in enumerate(each.actors)
        }
        for number, calls in each.schedule:
            for _ in range(calls):
                self._advance(alive, number)
        if each.cut:
            for coroutine in alive.values():
                coroutine.close()
        for number in range(len(each.actors)):
            while not each.cut and number in alive:
                self._advance(alive, number)

    @staticmethod
    def _advance(alive: dict[int, Coroutine[Any, Any, None]], number: int) -> None:
        if number in alive:
            try:
                alive[number].send(None)
            except StopIteration:
                del alive[number]

    async def _actor(self, jobs: tuple[Job, ...]) -> None:
        repository = await Repository.open(self.store)
        for job in jobs:
            try:
                await self._work(repository, job)
            except (RefusedError, ConsistencyLostError):
                continue

    async def _work(self, repository: Repository, job: Job) -> None:
        match job.do:
            case Do.BACKUP | Do.INCREMENT:
                await self._back_up(repository, job)
            case Do.EXPIRE:
                await self._expire(repository, job)
            case Do.RECLAIM:
                await repository.reclaim.reclaim(at=self.now)
            case Do.FORCE:
                await repository.reclaim.condemn(at=self.now)
                history = repository.reclaim.history
                for number in (*history.condemned, *history.unreleased):
                    await repository.reclaim.sweep(number)
                    await repository.reclaim.delete(number)
                    await repository.reclaim.release(number)

    async def _back_up(self, repository: Repository, job: Job) -> None:
        self.count += 1
        token = f"session{self.count}"
        session = await repository.open_run(MachineId(f"vm{job.which % 2}"), token=token)
        base = None if session.base is None else str(session.base.id)
        inherit = None if base is None else DISK
        image = job.image
        await session.begin_disk(DISK, ByteCount(len(image)), inherit=inherit)
        if job.do is Do.BACKUP or base is None:
            await session.put_blocks(DISK, np.arange(-(-len(image) // BLOCK)), image)
        else:
            first = image[:BLOCK]
            rest = self.images[base][len(first) : len(image)]
            image = (first + rest).ljust(len(image), b"\0")
            await session.put(DISK, 0, first)
        await self._commit(session, image, f"p{self.count}-{token}")

    async def _commit(self, session: WriteSession, image: bytes, point: str) -> None:
        self.images[point] = image
        await session.stage(point_of(session, {DISK: len(image)}, point))
        try:
            await session.commit()
        except (RefusedError, ConsistencyLostError):
            await session.abandon()
            raise
        self.acknowledged[point] = None

    async def _expire(self, repository: Repository, job: Job) -> None:
        for _ in range(2):
            points = await repository.commits()
            if not points:
                return
            point = str(points[job.which % len(points)].point)
            self.removing[point] = self.removing.get(point, 0) + 1
            try:
                await repository.reclaim.expire(
                    (RecoveryPointId(point),), at=self.now, allow_last=False
                )
            except RefusedError:
                self.removing[point] -= 1
                raise

    async def check(self) -> None:
        """Every point that has to be there is, and every one that is there is whole."""
        repository = await Repository.open(self.plain())
        listed = [str(entry.point) for entry in await repository.commits()]
        kept = {point for point in self.acknowledged if not self.removing.get(point)}
        assert kept <= set(listed), (kept, listed)
        for point in listed:
            assert await restored(repository, point) == self.images[point], point
            await no_progress(repository, point)

    async def clean_up(self) -> None:
        """Reclaim until nobody can be waited for any more."""
        repository = await Repository.open(self.plain())
        for _ in range(3):
            await repository.reclaim.reclaim(at=self.now)
            self.now = Instant(self.now + SILENCE_MAX)


async def needed(store: MemoryStore) -> set[str]:
    """Return the objects that restoring every point reads, but for the log."""
    seen = {"repository.json", "copies/repository-1.json", "copies/repository-2.json"}

    class Watched(MemoryStore):
        async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
            seen.add(name)
            return await super().read_range(name, offset=offset, length=length)

    watched = Watched()
    watched.objects = store.objects
    repository = await Repository.open(watched)
    for entry in await repository.commits():
        seen.update((entry.manifest, f"copies/{entry.manifest}"))
        await restored(repository, str(entry.point))
    seen |= {f"copies/{name}" for name in seen if name.startswith("maps/")}
    # Every portion of an index may be read as long as a pack of its session is there.
    sessions = {session_of(name) for name in seen if name.startswith("packs/")}
    portions = [name for name in store.objects if name.startswith("index/")]
    return seen | {name for name in portions if session_of(name) in sessions}


@settings(max_examples=300, deadline=None)
@given(st.lists(rounds, max_size=5))
def test_kept_points_restore_and_nothing_else_stays(plan: list[Round]) -> None:
    """Two writers, two reclaims, a power cut at any call: no point is lost, no garbage is left."""
    world = World()
    asyncio.run(new_repository(world.plain()))
    for each in plan:
        world.run(each)
        asyncio.run(world.check())
    asyncio.run(world.clean_up())
    asyncio.run(world.check())
    left = {name for name in world.store.objects if "log/" not in name}
    assert left <= asyncio.run(needed(world.plain()))
