"""Searches of one scope, cut into tasks that processes share; the same results on any number."""

from collections.abc import Iterator
from time import monotonic  # noqa: TID251 - a limit on real time
from typing import Final, Literal

import msgspec

from simulator.campaign.exploring.choosing import Chooser, Course, Kinds, run_schedule
from simulator.campaign.exploring.descent import Descent, Tally
from simulator.campaign.exploring.sampling import calls_only, pct_schedule, random_schedule
from simulator.campaign.exploring.small_world import Scope, small_scenario
from simulator.campaign.mutants import with_mutant
from simulator.campaign.sweep.seeds import Breach
from simulator.scenario.schema import Scenario
from simulator.scenario.writing import as_data

_KEPT_MOST: Final = 5
"""How many schedules of one task are kept for each set of broken invariants."""

ModeName = Literal["exhaustive", "random", "pct"]


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """How schedules are chosen."""

    name: ModeName
    cuts: bool = True
    """Exhaustive: whether runs are cut at known states."""

    depth: int = 3
    """PCT: of how many ordered steps a bug may consist."""

    first: int = 0
    count: int = 0
    """Drawn schedules: from which number, and how many."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a search."""

    scope: Scope
    mode: Mode
    first: str
    """Of which kind the first happening is; empty: of any."""

    kinds: tuple[str, ...]
    mutant: str | None
    stop_at_first: bool
    until: float | None
    """When to give up, on this machine's monotonic clock."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that breaks something."""

    scenario: dict[str, object]
    """Plain data of the scenario that runs it again."""

    breaches: tuple[Breach, ...]
    number: int
    """As which run of its task it was found, from 1."""

    @property
    def signature(self) -> str:
        """What is broken."""
        return " ".join(breach.invariant for breach in self.breaches)


class Explored(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task."""

    task: Task
    tally: Tally
    """Schedules that were run, or that are known to go on as one that was."""

    runs: int
    cut: int
    states: int
    failures: tuple[Failure, ...]
    complete: bool


def explored(task: Task, /) -> Explored:
    """Return what came of a task, its mutant planted meanwhile."""
    with with_mutant(task.mutant):
        return _descended(task) if task.mode.name == "exhaustive" else _drawn(task)


def _kinds(task: Task) -> Kinds:
    return Kinds(first=(task.first,) if task.first else task.kinds, later=task.kinds)


def _descended(task: Task) -> Explored:
    descent = Descent(events=task.scope.events, cuts=task.mode.cuts)
    kept = _Kept(task)
    cut = 0
    whole: Tally | None = None
    while whole is None and not kept.enough:
        course = run_schedule(task.scope, descent, _kinds(task))
        kept.take(course)
        cut += course.breaches is None
        whole = descent.end(broken=bool(course.breaches))
    return Explored(
        task=task,
        tally=whole or descent.so_far(),
        runs=kept.runs,
        cut=cut,
        states=descent.states,
        failures=tuple(kept.failures),
        complete=whole is not None,
    )


def _drawn(task: Task) -> Explored:
    kept = _Kept(task)
    quiet = calls_only()
    run_schedule(task.scope, quiet, _kinds(task))
    for chooser in _choosers(task, quiet.calls):
        kept.take(run_schedule(task.scope, chooser, _kinds(task)))
        if kept.enough:
            break
    return Explored(
        task=task,
        tally=Tally(schedules=kept.runs, broken=kept.broken),
        runs=kept.runs,
        cut=0,
        states=0,
        failures=tuple(kept.failures),
        complete=kept.runs == task.mode.count,
    )


def _choosers(task: Task, calls: int) -> Iterator[Chooser]:
    scope, mode = task.scope, task.mode
    for number in range(mode.first, mode.first + mode.count):
        if mode.name == "random":
            yield random_schedule(number, seed=scope.seed, events=scope.events, calls=calls)
        else:
            yield pct_schedule(
                number, seed=scope.seed, events=scope.events, calls=calls, depth=mode.depth
            )


class _Kept:
    """What is kept of the runs of one task."""

    def __init__(self, task: Task, /) -> None:
        self._task = task
        self.runs = self.broken = 0
        self.failures: list[Failure] = []
        self._by_signature: dict[str, int] = {}

    @property
    def enough(self) -> bool:
        """Whether the task may stop here."""
        if self._task.stop_at_first and self.broken:
            return True
        return self._task.until is not None and monotonic() >= self._task.until

    def take(self, course: Course, /) -> None:
        """Take one more run."""
        self.runs += 1
        if not course.breaches:
            return
        self.broken += 1
        scenario = small_scenario(self._task.scope)
        found = Failure(
            scenario=as_data(scheduled(scenario, course)),
            breaches=course.breaches,
            number=self.runs,
        )
        count = self._by_signature[found.signature] = self._by_signature.get(found.signature, 0) + 1
        if count <= _KEPT_MOST:
            self.failures.append(found)


def scheduled(scenario: Scenario, course: Course, /) -> Scenario:
    """Return the scenario in which this schedule happens."""
    return scenario.model_copy(update={"happenings": course.happenings})
