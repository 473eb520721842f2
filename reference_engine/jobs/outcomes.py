"""How runs and jobs end, in the words of the scenario catalogue."""

from reference_engine.jobs.copying import scanned
from reference_engine.model.errors import (
    CorruptionError,
    IdentityDoubtError,
    NotProtectableError,
    SupersededError,
    TwinshotError,
)
from reference_engine.model.outcome import Outcome
from reference_engine.model.recovery_point import Consistency, RecoveryPoint


def failure_outcome(error: TwinshotError, /) -> Outcome:
    """Return how a run ends that ends with this error."""
    match error:
        case SupersededError():
            return Outcome.SUPERSEDED
        case NotProtectableError():
            return Outcome.REFUSED
        case IdentityDoubtError():
            return Outcome.QUARANTINE
        case CorruptionError():
            return Outcome.INCONSISTENT
        case _:
            return Outcome.FAIL_CLEAN


def point_outcome(point: RecoveryPoint, /, *, attempt: int) -> Outcome:
    """Return how a run ends that made this point, the job's first attempt or a later one."""
    if point.consistency is Consistency.CRASH:
        return Outcome.OK_CRASH
    if attempt > 1:
        return Outcome.RETRY_OK
    return Outcome.OK_SCAN if scanned(point.disks) else Outcome.OK
