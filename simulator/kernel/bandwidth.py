"""Shared bandwidth: everybody who is transferring gets an equal part of what there is."""

from typing import Final

from simpy.events import Event

from reference_engine.model.units import SECOND, ByteCount, Duration
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import wait

_SHORTEST: Final = 1  # microsecond: a transfer never ends in the instant at which it begins


class SharedLink:
    """A disk or a network of `rate` bytes a second, shared equally among its transfers."""

    def __init__(self, sim: Simulation, rate: ByteCount, /) -> None:
        assert rate > 0, rate
        self._sim, self.rate = sim, rate
        self._left: dict[Event, int] = {}  # bytes scaled by SECOND, so that division stays exact
        self._since = sim.now()
        self._planned: Event | None = None
        """What wakes the link up when the next transfer is over."""

    @property
    def busy(self) -> int:
        """How many transfers share the link at this instant."""
        return len(self._left)

    async def transfer(self, amount: ByteCount, /) -> None:
        """Return once `amount` bytes have passed; a cancelled transfer frees its part."""
        left = self._left
        if left:
            self._settle()
        else:
            self._since = self._sim.now()
        done = self._sim.event()
        left[done] = amount * SECOND
        self._plan()
        try:
            await wait(done)
        finally:
            if done in left and not self._sim.closed:
                self._settle()
                left.pop(done, None)
                self._plan()

    def change_rate(self, rate: ByteCount, /) -> None:
        """Go on at another rate from this instant."""
        self._settle()
        self.rate = rate
        self._plan()

    def _settle(self) -> None:
        """Account for what has passed since the last change of the sharing."""
        for transfer in self._finished():
            transfer.succeed()

    def _finished(self) -> list[Event]:
        """Account for what has passed, and return the transfers that are over."""
        now, left = self._sim.now(), self._left
        passed = (now - self._since) * self.rate // max(1, len(left))
        self._since = now
        over: list[Event] = []
        for transfer in left:
            left[transfer] -= passed
            if left[transfer] <= 0:
                over.append(transfer)
        for transfer in over:
            del left[transfer]
        return over

    def _plan(self) -> None:
        """Wake up when the next transfer is over, and at no instant planned before."""
        left = self._left
        if not left:
            self._planned = None
            return
        shortest = min(left.values()) if len(left) > 1 else next(iter(left.values()))
        due = max(_SHORTEST, -(-shortest * len(left) // self.rate))
        self._planned = self._sim.timer(Duration(due))
        self._planned.callbacks.append(self._wake)

    def _wake(self, timer: Event) -> None:
        if timer is not self._planned or self._sim.closed:
            return
        over = self._finished()
        if len(over) != 1:
            # In which order they are told is drawn.
            for transfer in over:
                transfer.succeed()
            self._plan()
            return
        tie = self._sim.tie()
        self._plan()
        self._sim.happen(over[0], tie)
