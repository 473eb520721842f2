"""Which way of choosing schedules finds a planted bug, and after how many."""

from collections.abc import Iterator
from typing import Final

import msgspec

from simulator.campaign.exploring.choosing import Chooser, Kinds, run_schedule
from simulator.campaign.exploring.descent import Descent
from simulator.campaign.exploring.sampling import calls_only, pct_schedule, random_schedule
from simulator.campaign.exploring.small_world import BackEndName, Scope
from simulator.campaign.exploring.vocabulary import COMMON

MODES: Final = ("random", "pct", "exhaustive")
_BACK_ENDS: Final[tuple[BackEndName, ...]] = ("E1", "E3")
_DRAWN_EVENTS: Final = 2
_KINDS: Final = Kinds(first=COMMON, later=COMMON)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """When something was found first."""

    schedules: int
    """How many were run, with the one that shows it; both back ends take turns."""

    broken: str
    back_end: str


def first_found(mode: str, /, *, schedules: int) -> Found | None:
    """Return what a mode finds in the engine as it is now, or None after so many schedules.

    Drawn schedules have two happenings; the exhaustive ones none or one, at every call.
    """
    turns = [_courses(mode, back_end) for back_end in _BACK_ENDS]
    for number in range(schedules):
        back_end = _BACK_ENDS[number % len(turns)]
        broken = next(turns[number % len(turns)], None)
        if broken:
            return Found(schedules=number + 1, broken=broken, back_end=back_end)
    return None


def _courses(mode: str, back_end: BackEndName) -> Iterator[str]:
    """Yield what each schedule breaks; empty where it holds, or was cut."""
    events = 1 if mode == "exhaustive" else _DRAWN_EVENTS
    scope = Scope(back_end=back_end, seed=1, events=events, machines=1, backups=2)
    for chooser in _descending() if mode == "exhaustive" else _drawing(mode, scope):
        course = run_schedule(scope, chooser, _KINDS)
        if isinstance(chooser, Descent):
            chooser.end(broken=bool(course.breaches))
        yield " ".join(breach.invariant for breach in course.breaches or ())


def _descending() -> Iterator[Chooser]:
    descent = Descent(events=1, cuts=True)
    yield descent
    while descent.unfinished:
        yield descent


def _drawing(mode: str, scope: Scope) -> Iterator[Chooser]:
    quiet = calls_only()
    run_schedule(scope, quiet, _KINDS)
    number = 0
    while True:
        if mode == "random":
            yield random_schedule(number, seed=1, events=scope.events, calls=quiet.calls)
        else:
            yield pct_schedule(number, seed=1, events=scope.events, calls=quiet.calls, depth=2)
        number += 1
