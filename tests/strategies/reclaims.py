"""Points that are removed, and how far their space has been given back."""

from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.reclaim import Reclaimed
from reference_engine.repository.repository import Repository

NOW = Instant(1_000_000)


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
