"""Clocks that are wrong: by how much, and how fast that changes."""

from typing import Final

from reference_engine.model.units import Duration, Instant
from simulator.kernel.simulation import Simulation

_EVENING: Final = 1_767_297_600_000_000
"""What a right clock shows when a scenario begins: 2026-01-01 20:00 UTC, in microseconds."""


class Clock:
    """A clock that is wrong: `offset` microseconds away, drifting by parts per million."""

    def __init__(self, sim: Simulation, /, *, offset: Duration, drift_ppm: int) -> None:
        self._sim, self._offset, self._drift = sim, offset, drift_ppm

    def jump(self, by: Duration, /) -> None:
        """Be set forwards or backwards from this instant on."""
        self._offset = Duration(self._offset + by)

    def read(self) -> Instant:
        """Return what the clock shows."""
        now = self._sim.now()
        return Instant(_EVENING + now + self._offset + now * self._drift // 1_000_000)
