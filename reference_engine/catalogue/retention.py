"""Which points a policy keeps, and why: a pure function of when the points were made.

Each rule keeps the newest point of as many hours, days, weeks, months or years as it says, as
restic's rules of the same names do; a point that any rule keeps is kept. A calendar is a matter of
clocks, and clocks jump, so order is that of the commits, and a point counts as made no later than
any that was committed after it, nor than now.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import SECOND, Duration, Instant


class DatedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point as retention sees it."""

    point: RecoveryPointId
    machine: MachineId
    at: Instant
    """By the clock of the host that was backed up, microseconds since 1970."""


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How many points to keep of each machine; 0 of a kind keeps none for its sake."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Duration = Duration(0)
    """Everything that is at most this much older than the machine's newest point."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one point."""

    point: DatedPoint
    reasons: tuple[str, ...]
    """Why it is kept; without any it is not."""

    @property
    def keep(self) -> bool:
        """Whether the point stays."""
        return bool(self.reasons)


def _hour(at: dt.datetime) -> tuple[int, ...]:
    return (at.year, at.month, at.day, at.hour)


def _day(at: dt.datetime) -> tuple[int, ...]:
    return (at.year, at.month, at.day)


def _week(at: dt.datetime) -> tuple[int, ...]:
    # The ISO year: the last days of December may belong to the first week of the next one.
    return tuple(at.isocalendar()[:2])


def _month(at: dt.datetime) -> tuple[int, ...]:
    return (at.year, at.month)


def _year(at: dt.datetime) -> tuple[int, ...]:
    return (at.year,)


_PERIODS: Final[tuple[tuple[str, Callable[[dt.datetime], tuple[int, ...]]], ...]] = (
    ("hourly", _hour),
    ("daily", _day),
    ("weekly", _week),
    ("monthly", _month),
    ("yearly", _year),
)

NEWEST: Final = "newest of its machine"


def choose_kept(
    points: Sequence[DatedPoint],
    policy: RetentionPolicy,
    /,
    *,
    now: Instant,
    immutable_for: Duration,
) -> tuple[Verdict, ...]:
    """Return what becomes of each point; `points` are in commit order, and so is the answer.

    The newest point of a machine is kept whatever the policy says: the machine's next run builds on
    it. So is every point younger than `immutable_for`. Periods are those of UTC.
    """
    verdicts: dict[RecoveryPointId, Verdict] = {}
    newest_first: dict[MachineId, list[DatedPoint]] = {}
    for point in reversed(points):
        newest_first.setdefault(point.machine, []).append(point)
    for own in newest_first.values():
        reasons = _reasons(_made(own, now), policy)
        for point, why in zip(own, reasons, strict=True):
            locked = ("immutable",) if immutable_for and now - point.at < immutable_for else ()
            verdicts[point.point] = Verdict(point=point, reasons=(*why, *locked))
    return tuple(verdicts[point.point] for point in points)


def _made(newest_first: Sequence[DatedPoint], now: Instant) -> list[Instant]:
    """Return when each point counts as made: never later than the one before it in this order."""
    made: list[Instant] = []
    for point in newest_first:
        now = min(now, point.at)
        made.append(now)
    return made


def _reasons(made: Sequence[Instant], policy: RetentionPolicy) -> list[tuple[str, ...]]:
    """Return for each of one machine's points, newest first, why it is kept."""
    found: list[list[str]] = [[] for _ in made]
    found[0].append(NEWEST)
    for index in range(min(policy.last, len(made))):
        found[index].append("last")
    for index, at in enumerate(made):
        if policy.within and made[0] - at <= policy.within:
            found[index].append("within")
    dates = [dt.datetime.fromtimestamp(at // SECOND, dt.UTC) for at in made]
    for name, period in _PERIODS:
        left, before = getattr(policy, name), None
        for index, date in enumerate(dates):
            if left and period(date) != before:
                found[index].append(name)
                left, before = left - 1, period(date)
    return [tuple(why) for why in found]
