"""Shared bandwidth: everybody who is transferring gets an equal part of what there is."""

from typing import Final

from simpy.events import Event

from reference_engine.model.units import SECOND, ByteCount, Duration
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import Wait

_SHORTEST: Final = 1  # microsecond: a transfer never ends in the instant at which it begins


class SharedLink:
    """A disk or a network of `rate` bytes a second, shared equally among its transfers."""

    def __init__(self, sim: Simulation, rate: ByteCount, /) -> None:
        assert rate > 0, rate
        self._sim, self.rate = sim, rate
        self._left: dict[Event, int] = {}  # bytes scaled by SECOND, so that division stays exact
        self._since = sim.now()
        self._round = 0

    @property
    def busy(self) -> int:
        """How many transfers share the link at this instant."""
        return len(self._left)

    async def transfer(self, amount: ByteCount, /) -> None:
        """Return once `amount` bytes have passed; a cancelled transfer frees its part."""
        self._settle()
        done = self._sim.event()
        self._left[done] = amount * SECOND
        self._plan()
        try:
            await Wait(done)
        finally:
            if not self._sim.closed and done in self._left:
                self._settle()
                self._left.pop(done, None)
                self._plan()

    def change_rate(self, rate: ByteCount, /) -> None:
        """Go on at another rate from this instant."""
        self._settle()
        self.rate = rate
        self._plan()

    def _settle(self) -> None:
        """Account for what has passed since the last change of the sharing."""
        now = self._sim.now()
        passed = (now - self._since) * self.rate // max(1, len(self._left))
        self._since = now
        for transfer in list(self._left):
            self._left[transfer] -= passed
            if self._left[transfer] <= 0:
                del self._left[transfer]
                transfer.succeed()

    def _plan(self) -> None:
        self._round += 1
        if not self._left:
            return
        planned = self._round
        shortest = min(self._left.values())
        wait = max(_SHORTEST, -(-shortest * len(self._left) // self.rate))

        def wake(_: Event) -> None:
            if planned == self._round and not self._sim.closed:
                self._settle()
                self._plan()

        self._sim.timer(Duration(wait)).callbacks.append(wake)
