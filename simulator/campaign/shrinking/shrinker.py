"""Shrinks one failing scenario while the same invariant breaks, in a bounded number of runs."""

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from simulator.campaign.shrinking.ddmin import least
from simulator.campaign.shrinking.reductions import (
    REDUCTIONS,
    Path,
    Table,
    settings,
    without,
    without_defaults,
)
from simulator.campaign.shrinking.story import story_of
from simulator.campaign.sweep.seeds import Breach, findings
from simulator.campaign.trial import subject_of
from simulator.scenario.schema import Scenario, impossibilities

RUNS_MOST: Final = 400
_WHY: Final = "To be told once it is known."


class Shrunk(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a failing scenario."""

    scenario: Scenario
    breach: Breach
    story: str
    runs: int
    complete: bool
    """Whether nothing more could be left out; else the runs were used up first."""


class HoldsError(Exception):
    """The scenario to be shrunk breaks nothing."""


class _UsedUpError(Exception):
    """No run is left."""


class Shrinker:
    """Knows what breaks, what was tried, and the smallest scenario that still breaks it."""

    def __init__(
        self, scenario: Scenario, /, *, runs: int, told: Callable[[int, str], None]
    ) -> None:
        """`told` is told how many runs were made, and how large the scenario is."""
        self._runs_most, self._told = runs, told
        self._tried: dict[str, bool] = {}
        self._been: set[str] = set()
        self.runs = 0
        # The variants of a scenario are trials of their own, so one of them was chosen before.
        self._best = {**without_defaults(scenario), "why": _WHY, "variants": []}
        self._breach: Breach | None = None
        self._keep_expectations()

    def _keep_expectations(self) -> None:
        """Find out what breaks; expectations are kept only where it is one of them."""
        scenario = Scenario.model_validate(self._best)
        found = findings(subject_of(scenario, name="shrinking"))
        self.runs += 1
        if not found:
            raise HoldsError
        self._breach = found[0]
        if not self._breach.invariant.startswith("expect:"):
            self._best.pop("expect", None)

    def shrink(self) -> Shrunk:
        """Return the smallest scenario found."""
        complete = True
        try:
            before = None
            while before != self._best:
                before = self._best
                self._round()
        except _UsedUpError:
            complete = False
        scenario = Scenario.model_validate(self._best)
        breach = self._broken_by(scenario)
        assert breach is not None, self._best
        story = story_of(scenario, breach)
        return Shrunk(
            scenario=scenario.model_copy(update={"why": story}),
            breach=breach,
            story=story,
            runs=self.runs,
            complete=complete,
        )

    def _round(self) -> None:
        self._fewer_happenings()
        for name, reduction in REDUCTIONS:
            if name == "moments":
                self._fewer_settings()
            again = True
            while again:
                again = any(self._fails(smaller) for smaller in reduction(self._best))

    def _fewer_happenings(self) -> None:
        happenings = self._best.get("happenings", [])
        least(happenings, lambda kept: self._fails({**self._best, "happenings": kept}))

    def _fewer_settings(self) -> None:
        """Leave every setting out that can be left out."""
        start = self._best
        removable = [path for path in settings(start) if _valid(without(start, [path]))]

        def fails(kept: list[Path]) -> bool:
            return self._fails(without(start, [path for path in removable if path not in kept]))

        least(removable, fails)

    def _fails(self, smaller: Table) -> bool:
        """Return whether the same breaks, and if so go on from there."""
        scenario = _valid(smaller)
        if scenario is None:
            return False
        data: dict[str, Any] = {**without_defaults(scenario), "why": _WHY}
        key = json.dumps(data, sort_keys=True)
        if key not in self._tried:
            if self.runs >= self._runs_most:
                raise _UsedUpError
            self.runs += 1
            self._tried[key] = self._broken_by(scenario) is not None
            self._told(self.runs, _size(self._best))
        if not self._tried[key] or key in self._been:
            return False  # what was left behind once is no step forward, or nothing would end
        self._been.add(key)
        self._best = data
        return True

    def _broken_by(self, scenario: Scenario) -> Breach | None:
        assert self._breach is not None
        found = findings(subject_of(scenario, name="shrinking"))
        return next((each for each in found if each.invariant == self._breach.invariant), None)


def _valid(data: Table) -> Scenario | None:
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError:
        return None
    return None if any(impossibilities(scenario)) else scenario


def _size(data: Table) -> str:
    counts = {
        "happenings": len(data.get("happenings", [])),
        "machines": len(data["machines"]),
        "nodes": len(data["nodes"]),
        "settings": len(settings(data)),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items())
