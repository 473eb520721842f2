"""A gate: whoever comes while it is closed waits until it opens."""

from simpy.events import Event

from simulator.kernel.simulation import Simulation
from simulator.kernel.task import wait


class Gate:
    """Open at first."""

    def __init__(self, sim: Simulation, /) -> None:
        self._sim = sim
        self._waiting: list[Event] | None = None

    @property
    def closed(self) -> bool:
        """Whether nobody passes."""
        return self._waiting is not None

    def close(self) -> None:
        """Let nobody pass."""
        if self._waiting is None:
            self._waiting = []

    def open(self) -> None:
        """Let everybody pass who waits, and whoever comes."""
        waiting, self._waiting = self._waiting or [], None
        for turn in waiting:
            turn.succeed()

    async def passed(self) -> None:
        """Return once the gate is open."""
        while self._waiting is not None:
            turn = self._sim.event()
            self._waiting.append(turn)
            await wait(turn)
