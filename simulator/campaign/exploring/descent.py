"""Depth first over all schedules, cutting runs whose state was seen before."""

from collections.abc import Callable

import msgspec

from simulator.campaign.exploring.fingerprint import History, Mark
from simulator.campaign.exploring.vocabulary import Place


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many schedules, and how many of them break something."""

    schedules: int = 0
    broken: int = 0

    def plus(self, other: "Tally", /) -> "Tally":
        """Return both together."""
        return Tally(schedules=self.schedules + other.schedules, broken=self.broken + other.broken)


class _Fork:
    """A call at which a run could go on in several ways."""

    def __init__(self, state: bytes | None, options: int, left: int, mark: Mark, /) -> None:
        self.state, self.options, self.left, self.mark = state, options, left, mark
        self.taken = 0
        self.below = Tally()


class Descent:
    """The chooser of every run of one search, and what is known of the states below."""

    def __init__(self, *, events: int, cuts: bool) -> None:
        self._events, self._cuts = events, cuts
        self._forks: list[_Fork] = []
        self._known: dict[bytes, Tally] = {}
        self._at = 0
        self._left = events
        self._rest: Tally | None = None
        self._history: History | None = None
        self._stop: Callable[[], None] = lambda: None

    @property
    def states(self) -> int:
        """How many states are known."""
        return len(self._known)

    @property
    def unfinished(self) -> bool:
        """Whether schedules are left to run."""
        return bool(self._forks)

    def begin(self, history: History, stop: Callable[[], None], /) -> None:
        """Begin one run."""
        self._history, self._stop = history, stop
        self._at, self._left, self._rest = 0, self._events, None

    def wants(self) -> bool:
        """Return whether anything may still happen."""
        return self._left > 0 and self._rest is None

    def choose(self, _: Place, options: int, /, *, border: bool) -> int:
        """Return what happens at this call: as before, then nothing, then what was not tried."""
        if self._rest is not None or (options == 0 and not border):
            return 0
        assert self._history is not None
        if self._at < len(self._forks):
            fork = self._forks[self._at]
            if self._at == len(self._forks) - 1:
                self._history.go_on_from(fork.mark)
        else:
            state = None
            if border and self._cuts:
                state = self._history.state() + bytes([self._left])
                if state in self._known:
                    self._rest = self._known[state]
                    self._stop()
                    return 0
            fork = _Fork(state, options, self._left, self._history.mark())
            self._forks.append(fork)
        self._at += 1
        self._left -= fork.taken > 0
        return fork.taken

    def end(self, *, broken: bool) -> Tally | None:
        """Take note of a run's end; return all that was counted once nothing is left to try."""
        rest = self._rest or Tally(schedules=1, broken=int(broken))
        while self._forks:
            fork = self._forks[-1]
            fork.below = fork.below.plus(rest)
            if fork.taken < fork.options:
                fork.taken += 1
                return None
            if fork.state is not None:
                self._known[fork.state] = fork.below
            rest = fork.below
            self._forks.pop()
        return rest

    def so_far(self) -> Tally:
        """Return what a search that was stopped has counted."""
        whole = Tally()
        for fork in self._forks:
            whole = whole.plus(fork.below)
        return whole
