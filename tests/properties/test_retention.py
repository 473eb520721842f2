"""Retention is a pure function: what it keeps follows from the points and the policy alone."""

import datetime as dt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.catalogue.retention import (
    NEWEST,
    DatedPoint,
    RetentionPolicy,
    Verdict,
    choose_kept,
)
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import HOUR, Duration, Instant

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
NOW = Instant(4_000_000_000 * 1_000_000)
MUTABLE = Duration(0)
COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")

instants = st.integers(0, 3_000_000_000_000_000).map(Instant)
policies = st.builds(
    RetentionPolicy,
    **dict.fromkeys(COUNTS, st.integers(0, 4)),
    within=st.integers(0, 60 * 24).map(lambda hours: Duration(hours * HOUR)),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[DatedPoint, ...]:
    """Return points of two machines in commit order; clocks mostly run, and sometimes jump."""
    at = draw(instants)
    points: list[DatedPoint] = []
    for number in range(draw(st.integers(0, 30))):
        at = draw(instants) if draw(st.integers(0, 9)) == 0 else Instant(at + draw(_gaps))
        machine = MachineId(draw(st.sampled_from(["a", "b"])))
        points.append(DatedPoint(point=RecoveryPointId(f"{number}"), machine=machine, at=at))
    return tuple(points)


_gaps = st.sampled_from([0, HOUR // 2, HOUR, 24 * HOUR, 24 * 7 * HOUR, 24 * 31 * HOUR])


def kept(verdicts: tuple[Verdict, ...]) -> tuple[DatedPoint, ...]:
    """Return the points that stay."""
    return tuple(verdict.point for verdict in verdicts if verdict.keep)


def series(count: int, *, hours: int) -> tuple[DatedPoint, ...]:
    """Return points of one machine, so many hours apart."""
    start = int(START.timestamp()) * 1_000_000
    return tuple(
        DatedPoint(
            point=RecoveryPointId(f"{number}"),
            machine=MachineId("a"),
            at=Instant(start + number * hours * HOUR),
        )
        for number in range(count)
    )


@given(histories(), policies)
def test_the_newest_point_of_a_machine_stays(
    points: tuple[DatedPoint, ...], policy: RetentionPolicy
) -> None:
    """Whatever the policy and the clocks say: newest is what was committed last."""
    newest = {point.machine: point for point in points}
    verdicts = choose_kept(points, policy, now=NOW, immutable_for=MUTABLE)

    assert {v.point for v in verdicts if NEWEST in v.reasons} == {*newest.values()}
    assert tuple(verdict.point for verdict in verdicts) == points


@given(histories(), policies, st.sampled_from(COUNTS), st.integers(1, 5))
def test_a_more_generous_policy_keeps_no_less(
    points: tuple[DatedPoint, ...], policy: RetentionPolicy, field: str, more: int
) -> None:
    """Raising one number never removes what was kept before."""
    generous = msgspec.structs.replace(policy, **{field: getattr(policy, field) + more})

    before = {*kept(choose_kept(points, policy, now=NOW, immutable_for=MUTABLE))}
    assert before <= {*kept(choose_kept(points, generous, now=NOW, immutable_for=MUTABLE))}


@given(histories(), policies)
def test_what_is_kept_would_be_kept_again(
    points: tuple[DatedPoint, ...], policy: RetentionPolicy
) -> None:
    """A second prune with the same policy removes nothing."""
    once = kept(choose_kept(points, policy, now=NOW, immutable_for=MUTABLE))

    assert kept(choose_kept(once, policy, now=NOW, immutable_for=MUTABLE)) == once


@given(histories(), policies)
def test_machines_do_not_concern_each_other(
    points: tuple[DatedPoint, ...], policy: RetentionPolicy
) -> None:
    """A machine's points are judged as if there were no other."""
    alone = tuple(point for point in points if point.machine == "a")

    together = choose_kept(points, policy, now=NOW, immutable_for=MUTABLE)
    assert [v for v in together if v.point.machine == "a"] == [
        *choose_kept(alone, policy, now=NOW, immutable_for=MUTABLE)
    ]


@given(histories(), policies)
def test_no_rule_keeps_more_than_it_says(
    points: tuple[DatedPoint, ...], policy: RetentionPolicy
) -> None:
    """Each reason is given at most as often as the policy allows, for each machine."""
    verdicts = choose_kept(points, policy, now=NOW, immutable_for=MUTABLE)

    for machine in ("a", "b"):
        own = [verdict for verdict in verdicts if verdict.point.machine == machine]
        for field in COUNTS:
            given_for = [verdict for verdict in own if field in verdict.reasons]
            assert len(given_for) <= getattr(policy, field)


@given(histories(), policies, instants)
def test_a_clock_that_runs_ahead_removes_nothing_more(
    points: tuple[DatedPoint, ...], policy: RetentionPolicy, ahead: Instant
) -> None:
    """A newest point dated in the future counts as made now."""
    now = max((point.at for point in points), default=Instant(0))
    late = DatedPoint(point=RecoveryPointId("late"), machine=MachineId("a"), at=now)
    early = msgspec.structs.replace(late, at=Instant(now + ahead))

    honest, jumped = (
        choose_kept((*points, each), policy, now=now, immutable_for=MUTABLE)
        for each in (late, early)
    )
    assert [v.reasons for v in honest] == [v.reasons for v in jumped]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RetentionPolicy(last=3), [97, 98, 99]),
        (RetentionPolicy(daily=3), [87, 95, 99]),
        (RetentionPolicy(weekly=2), [55, 99]),
        (RetentionPolicy(monthly=5), [99]),
        (RetentionPolicy(yearly=1), [99]),
        (RetentionPolicy(within=Duration(6 * HOUR)), [97, 98, 99]),
        (RetentionPolicy(), [99]),
    ],
)
def test_rules_keep_the_newest_of_each_period(policy: RetentionPolicy, expected: list[int]) -> None:
    """A hundred points, one every three hours from 1 January 2024: eight a day."""
    points = series(100, hours=3)
    # 2024-01-01 was a Monday: point 8 n is at midnight, and the last one at 9:00 on the 13th.
    verdicts = choose_kept(points, policy, now=NOW, immutable_for=MUTABLE)

    assert [int(point.point) for point in kept(verdicts)] == expected


def test_a_point_within_the_immutable_window_stays() -> None:
    """The window is measured from now, whatever the policy says."""
    points = series(5, hours=1)
    now = Instant(points[-1].at + HOUR // 2)
    verdicts = choose_kept(points, RetentionPolicy(), now=now, immutable_for=Duration(2 * HOUR))

    assert [int(point.point) for point in kept(verdicts)] == [3, 4]
