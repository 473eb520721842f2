"""Whether points can be read back as they were written, to the last block."""

import enum
from collections.abc import Sequence

import msgspec

from reference_engine.model.errors import CorruptionError, TransientError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.repository.errors import PointRemovedError, PointUnknownError
from reference_engine.repository.reader import Progress
from reference_engine.repository.repository import Repository


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


async def verify_points(
    repository: Repository, points: Sequence[RecoveryPointId], /, *, progress: Progress
) -> tuple[PointVerdict, ...]:
    """Return a verdict on each of the committed `points`, in their order."""
    verdicts: list[PointVerdict] = []
    for point in points:
        verdict, cause, checked = Verdict.INTACT, "", ByteCount(0)
        try:
            checked = await repository.verify(point, progress=progress)
        except CorruptionError as error:
            verdict, cause = Verdict.DAMAGED, str(error)
        except (PointRemovedError, PointUnknownError) as error:
            verdict, cause = Verdict.REMOVED, str(error)
        except TransientError as error:
            verdict, cause = Verdict.UNREADABLE, str(error)
        verdicts.append(
            PointVerdict(point=point, verdict=verdict, cause=cause, bytes_checked=checked)
        )
    return tuple(verdicts)
