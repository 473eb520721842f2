"""Bringing points to a second repository whenever it can be reached, in the order of their commits.

What is cut off is gone on with: a point is there whole or not at all, and none before an older one
of its machine.
"""

from collections.abc import Awaitable, Callable

from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import (
    ConsistencyLostError,
    CorruptionError,
    RefusedError,
    TransientError,
)
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.outcome import Outcome
from reference_engine.repository.repository import Repository
from reference_engine.trace.engine import PointReplicated, ReplicationEnded
from reference_engine.upkeep.copying import PointCopy, plan_copy

Reach = Callable[[], Awaitable[Repository]]
"""Opens the second repository, or makes it; raises TransientError where it cannot be reached."""


async def replicate(ports: Ports, policy: Policy, reach: Reach, /) -> Outcome:
    """Copy every point that the second repository lacks, oldest first; say how it went.

    DEFERRED: it could not be reached any more; what is there is whole, and the next call goes on.
    """
    copied: list[RecoveryPointId] = []
    failures, cause = 0, ""
    while failures < policy.attempts:
        try:
            async with ports.runtime.deadline(policy.copy_limit):
                await _copy_missing(ports, policy, await reach(), copied)
        except (TransientError, ConsistencyLostError) as failure:
            failures += 1
            cause = str(failure)
        except (RefusedError, CorruptionError) as failure:
            return _end(ports, Outcome.FAIL_CLEAN, len(copied), str(failure))
        else:
            outcome = Outcome.RETRY_OK if failures else Outcome.OK
            return _end(ports, outcome, len(copied), cause)
        await ports.runtime.sleep(policy.retry_delay)
    return _end(ports, Outcome.DEFERRED, len(copied), cause)


async def _copy_missing(
    ports: Ports, policy: Policy, target: Repository, copied: list[RecoveryPointId]
) -> None:
    """Copy the points that are missing, and note each in `copied` as soon as it is there."""
    source = ports.repository
    plan = plan_copy(await source.commits(), await target.commits())
    copy = PointCopy(source, target, level=policy.level)
    for entry in plan.missing:
        token = ports.runtime.random(f"replica/{entry.point}").token()
        await copy.copy(
            entry.point,
            token=f"{token}{ports.runtime.now():x}",
            progress=lambda _: lambda _: None,
        )
        copied.append(entry.point)
        ports.tracer(
            PointReplicated(at=ports.runtime.now(), machine=entry.machine, point=entry.point)
        )


def _end(ports: Ports, outcome: Outcome, points: int, cause: str) -> Outcome:
    ports.tracer(
        ReplicationEnded(at=ports.runtime.now(), outcome=outcome, points=points, cause=cause)
    )
    return outcome
