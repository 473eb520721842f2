"""Stopping a run at a fact: at a chosen one, or at one after the other."""

import re
from collections.abc import Callable
from typing import Final, get_args

import msgspec

from reference_engine.model.errors import InputRefusedError
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import ClusterEvent
from reference_engine.trace.engine import EngineEvent, StepEntered
from simulator.campaign.night import Night, Watcher
from simulator.campaign.replaying.facts import fact_line
from simulator.campaign.replaying.state import State, state_of

_FORM: Final = re.compile(r"(?:([\w-]+):)?(S\d{1,2}|[A-Za-z]+)(?:#(\d+))?")
_KINDS: Final = tuple(
    sorted(kind.__name__ for kind in (*get_args(EngineEvent), *get_args(ClusterEvent)))
)
HELP: Final = "n: next fact, c: go on to the end, s: state, q: quit"


class Breakpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A fact by its meaning: a step that is entered or a kind of fact, the k-th time."""

    machine: str | None
    wanted: str
    """`S5`, or the name of a kind of fact."""

    occurrence: int

    def fits(self, fact: Fact, /) -> bool:
        """Return whether the fact is of this kind, whatever its occurrence."""
        if self.machine not in (None, _machine_of(fact)):
            return False
        if re.fullmatch(r"S\d+", self.wanted):
            return isinstance(fact, StepEntered) and int(fact.step) == int(self.wanted[1:])
        return type(fact).__name__ == self.wanted


def breakpoint_named(text: str, /) -> Breakpoint:
    """Return what `vm1:S5#2` or `MigrationStarted` means.

    Raises:
        InputRefusedError: it is neither a step nor a kind of fact.
    """
    found = _FORM.fullmatch(text)
    if found is not None:
        machine, wanted, occurrence = found.groups()
        is_step = re.fullmatch(r"S(\d|1[0-6])", wanted) is not None
        if (is_step or wanted in _KINDS) and occurrence != "0":
            return Breakpoint(machine=machine, wanted=wanted, occurrence=int(occurrence or 1))
    raise InputRefusedError(
        f"{text!r} is no place to stop", f"give S0 to S16 or one of {', '.join(_KINDS)}"
    )


def _machine_of(fact: Fact) -> str | None:
    if hasattr(fact, "run"):
        return str(fact.run.machine)
    named = getattr(fact, "machine", None) or getattr(fact, "subject", None)
    return None if named is None else str(named)


class StopAt(Watcher):
    """Takes the state down at the breakpoint; the run goes on to its end, as ever."""

    def __init__(self, where: Breakpoint, /) -> None:
        self._where = where
        self._seen = 0
        self.stopped: tuple[Fact, State] | None = None

    def see(self, fact: Fact, night: Night, /) -> None:
        """Look at a fact."""
        if self.stopped is None and self._where.fits(fact):
            self._seen += 1
            if self._seen == self._where.occurrence:
                self.stopped = fact, state_of(night)


class Stepper(Watcher):
    """Shows one fact after the other, and does what it is told after each."""

    def __init__(
        self, ask: Callable[[], str], say: Callable[[str], None], /, *, start: Breakpoint | None
    ) -> None:
        """Ask for the first time at `start`, or at the first fact."""
        self._ask, self._say, self._start = ask, say, start
        self._asking = start is None
        self._seen = 0

    def see(self, fact: Fact, night: Night, /) -> None:
        """Show a fact, and wait for a word."""
        if self._start is not None and self._start.fits(fact):
            self._seen += 1
            self._asking = self._asking or self._seen == self._start.occurrence
        if not self._asking:
            return
        self._say(fact_line(fact))
        while True:
            match self._ask().strip().lower():
                case "" | "n":
                    return
                case "c":
                    self._asking = False
                    return
                case "s":
                    for line in state_of(night).lines():
                        self._say(line)
                case "q":
                    raise KeyboardInterrupt
                case _:
                    self._say(HELP)
