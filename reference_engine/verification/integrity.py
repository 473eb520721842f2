"""Whether points can be read back as they were written, to the last block."""

import enum
from collections.abc import Sequence

import msgspec

from reference_engine.model.errors import OperationFailedError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.repository.errors import PointRemovedError, PointUnknownError
from reference_engine.repository.reader import Progress
from reference_engine.repository.repository import Repository
from reference_engine.verification.block_survey import BlockSurvey
from reference_engine.verification.findings import EVERYTHING


class Verdict(enum.StrEnum):
    """What came of checking one point."""

    INTACT = "intact"
    """Every block, every digest and every root digest is right."""

    DAMAGED = "damaged"
    """It cannot be restored as it was written."""

    REMOVED = "removed"
    """It was removed meanwhile, and nothing is to be said of it any more."""

    UNREADABLE = "unreadable"
    """The store failed before an answer was found; check again."""


class PointVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one point, with the first thing found wrong."""

    point: RecoveryPointId
    verdict: Verdict
    cause: str
    bytes_checked: ByteCount
    """What of it is no hole; blocks that several points have are read once."""


async def verify_points(
    repository: Repository, points: Sequence[RecoveryPointId], /, *, progress: Progress
) -> tuple[PointVerdict, ...]:
    """Return a verdict on each of the committed `points`, in their order."""
    commits = {entry.point: entry for entry in await repository.commits()}
    machines = {point: entry.machine for point, entry in commits.items()}
    there = [(point, machines[point]) for point in points if point in machines]
    survey = BlockSurvey(repository, there)
    silent = ""
    try:
        await survey.look(lambda _: None)
        await survey.read(EVERYTHING, progress=progress)
    except OperationFailedError as error:
        silent = str(error)
    damage = await survey.attribute()
    live = {entry.point: entry for entry in await repository.commits()}
    moved = [p for p in (*damage, *survey.unread) if p in live and live[p] != commits[p]]
    if moved:
        # What was missing was perhaps what a repack has left behind.
        return await verify_points(repository, points, progress=progress)
    verdicts: list[PointVerdict] = []
    for point in points:
        verdict, cause = Verdict.INTACT, ""
        if silent or point in survey.unread:
            verdict, cause = Verdict.UNREADABLE, survey.unread.get(point, silent)
        if point in damage:
            verdict, cause = Verdict.DAMAGED, damage[point][0].cause
        if point not in live:
            verdict, cause = Verdict.REMOVED, str(PointRemovedError(point))
        if point not in machines:
            cause = str(PointUnknownError(point))
        checked = survey.filled.get(point, ByteCount(0)) if verdict is Verdict.INTACT else 0
        verdicts.append(
            PointVerdict(
                point=point, verdict=verdict, cause=cause, bytes_checked=ByteCount(checked)
            )
        )
    return tuple(verdicts)
