"""Schedules that are drawn: each happening at any call, or by priorities at a few of them."""

from collections.abc import Callable
from typing import Final

from simulator.campaign.exploring.fingerprint import History
from simulator.campaign.exploring.vocabulary import Place
from simulator.kernel.streams import Stream

_NEVER: Final = 1 << 62


class Drawn:
    """The chooser of one drawn schedule: at which calls, counted from 0, how many happen."""

    def __init__(self, at: tuple[int, ...], draw: Stream, /) -> None:
        self._at, self._draw = sorted(at), draw
        self.calls = 0
        """How many calls were offered something."""

    def begin(self, _: History, __: Callable[[], None], /) -> None:
        """Begin one run."""

    def wants(self) -> bool:
        """Return whether anything may still happen; even after the last one, calls are counted."""
        return True

    def choose(self, _: Place, options: int, /, *, border: bool) -> int:  # noqa: ARG002 - the protocol's form
        """Return one of the options where this is a drawn call."""
        if options == 0:
            return 0
        if self._at and self._at[0] <= self.calls:
            self._at.pop(0)
            return 1 + self._draw.below(options)
        self.calls += 1
        return 0


def random_schedule(number: int, /, *, seed: int, events: int, calls: int) -> Drawn:
    """Return the n-th random schedule: each of the happenings at a call of its own drawing."""
    draw = Stream(seed, "explore", "random", number)
    return Drawn(tuple(draw.below(max(1, calls)) for _ in range(events)), draw)


def pct_schedule(number: int, /, *, seed: int, events: int, calls: int, depth: int) -> Drawn:
    """Return the n-th schedule of probabilistic concurrency testing.

    The engine has the highest priority and loses it at depth - 1 drawn calls: each time the
    happening that is next in priority comes, and the last time all that are left. Where depth is 1
    everything comes before the first call. `calls`: how many calls a run without happenings has.

    Source: Burckhardt et al., A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs,
    ASPLOS 2010; here for one long task among tasks of one step.
    """
    draw = Stream(seed, "explore", "pct", depth, number)
    changes = sorted(draw.below(max(1, calls)) for _ in range(min(depth - 1, events)))
    last = changes[-1] if changes else 0
    return Drawn((*changes[:-1], *(last for _ in range(events - max(0, len(changes) - 1)))), draw)


def calls_only() -> Drawn:
    """Return a chooser of nothing, which counts the calls that are offered something."""
    return Drawn((_NEVER,), Stream(0))
