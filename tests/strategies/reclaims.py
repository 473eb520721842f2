"""Points that are removed, and how far their space has been given back."""

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.reclaim import SILENCE_MAX, Reclaimed
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from tests.strategies.repositories import DISK, block, commit, new_repository, point_of, write

NOW = Instant(1_000_000)
LATER = Instant(NOW + SILENCE_MAX)
OTHER = MachineId("other")
FIRST = block(1) + block(2)
SECOND = block(3) + block(4)


async def expire(repository: Repository, *points: str, allow_last: bool = False) -> None:
    """Remove these points."""
    ids = tuple(RecoveryPointId(point) for point in points)
    await repository.reclaim.expire(ids, at=NOW, allow_last=allow_last)


async def reclaim_without(repository: Repository, *points: str) -> Reclaimed:
    """Remove these points, and give back all that nobody may need any more."""
    await expire(repository, *points)
    return await repository.reclaim.reclaim(at=NOW)


async def condemn_without(repository: Repository, *points: str, allow_last: bool = False) -> int:
    """Remove these points; return the number under which what only they used is condemned."""
    await expire(repository, *points, allow_last=allow_last)
    condemned = await repository.reclaim.condemn(at=NOW)
    assert condemned is not None, points
    return condemned


async def give_back(repository: Repository, condemned: int) -> None:
    """Delete what was swept under this number, and note that it is gone."""
    await repository.reclaim.delete(condemned)
    await repository.reclaim.release(condemned)


async def two_points(store: MemoryStore) -> Repository:
    """Return a repository with points `a` of `FIRST` and `b` of `SECOND`, which share nothing."""
    repository = await new_repository(store)
    await commit(repository, FIRST, "a")
    await commit(repository, SECOND, "b")
    return repository


async def staged(repository: Repository, image: bytes, *, point: str) -> WriteSession:
    """Return a run of another machine that has yet to commit `image`."""
    session = await repository.open_run(OTHER, token=f"session-{point}")
    await write(session, image)
    await session.stage(point_of(session, {DISK: len(image)}, point))
    return session


async def overtaken(store: MemoryStore) -> tuple[Repository, WriteSession, int]:
    """Return a repository, a run of another process, and under which number its blocks may go.

    The run is yet to commit point `c`, and has found its blocks in point `a`, which was removed.
    """
    repository = await two_points(store)
    session = await staged(await Repository.open(store), FIRST, point="c")
    return repository, session, await condemn_without(repository, "a")


def of_session(store: MemoryStore, session: str) -> list[str]:
    """Return what is left of a session."""
    return [name for name in sorted(store.objects) if session in name]
