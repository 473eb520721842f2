"""How a guest writes: a law drawn from its own stream, made in bulk when somebody looks.

Nobody can see a disk between two observations, so one array stands for thousands of writes.
"""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from reference_engine.model.units import HOUR, Instant
from simulator.kernel.streams import key_of
from simulator.world.stamps import Cells

_BATCH: Final = 64
_MOST_BURST: Final = 64


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A write law. Shares are per mille of the bursts; what is left over is uniform."""

    bursts_per_hour: int
    burst_cells: int
    """Cells in one burst: 1 to this many."""

    hot_share: int
    """Bursts that go to the hot set, an eighth of the writable cells."""

    sequential_share: int
    """Bursts that continue where the last sequential one ended, as a log does."""

    rewrite_share: int
    """Bursts that repeat the cells of the burst before."""

    trim_share: int
    """Bursts that are trims: the cells read as zeros afterwards."""


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive cells written in one instant on one disk."""

    at: Instant
    disk: int
    cells: Cells
    trim: bool


class Workload:
    """An endless sequence of bursts; a function of the seed, the machine and the profile."""

    def __init__(
        self, seed: int, machine: str, profile: Profile, writable: tuple[Cells, ...], /
    ) -> None:
        """Write only to the `writable` cells of each disk."""
        self._seed, self._machine, self.profile = seed, machine, profile
        self._writable = writable
        self._batch = 0
        self._clock = 0
        self._bursts: list[Burst] = []
        self._next = 0
        self._log_at = [0 for _ in writable]
        self._last: Burst | None = None

    def until(self, now: Instant, /) -> list[Burst]:
        """Return the bursts not yet returned that are due by `now`, in order."""
        if self.profile.bursts_per_hour == 0 or not any(map(len, self._writable)):
            return []
        due: list[Burst] = []
        while True:
            if self._next == len(self._bursts):
                self._fill()
            while self._next < len(self._bursts):
                burst = self._bursts[self._next]
                if burst.at > now:
                    return due
                due.append(burst)
                self._next += 1

    def skip(self, now: Instant, /) -> None:
        """Let everything due by `now` go by unwritten: the machine was off."""
        self.until(now)

    def _fill(self) -> None:
        profile = self.profile
        key = key_of(self._seed, "workload", self._machine, self._batch)
        draw = np.random.Generator(np.random.Philox(key=key))
        self._batch += 1
        gap = HOUR // profile.bursts_per_hour
        at = self._clock + np.cumsum(draw.integers(1, 2 * gap + 1, _BATCH))
        self._clock = int(at[-1])
        disks = draw.integers(0, len(self._writable), _BATCH).tolist()
        laws = draw.integers(0, 1000, _BATCH).tolist()
        trims = (draw.integers(0, 1000, _BATCH) < profile.trim_share).tolist()
        places = draw.random(_BATCH).tolist()
        lengths = draw.integers(1, profile.burst_cells + 1, _BATCH).tolist()
        self._bursts = []
        self._next = 0
        for due, disk, law, place, length, trim in zip(
            at.tolist(), disks, laws, places, lengths, trims, strict=True
        ):
            if len(self._writable[disk]) == 0:
                continue
            cells = self._place(disk, law, place, length, trim=trim)
            burst = Burst(at=Instant(due), disk=disk, cells=cells, trim=trim)
            self._bursts.append(burst)
            self._last = burst

    def _place(self, disk: int, law: int, place: float, length: int, *, trim: bool) -> Cells:
        profile, writable = self.profile, self._writable[disk]
        length = min(length, len(writable), _MOST_BURST)
        if law < profile.rewrite_share and self._last is not None and self._last.disk == disk:
            return self._last.cells
        law -= profile.rewrite_share
        if law < profile.sequential_share and not trim:
            start = self._log_at[disk]
            self._log_at[disk] = (start + length) % len(writable)
        elif law < profile.sequential_share + profile.hot_share:
            start = int(place * max(1, len(writable) // 8))
        else:
            start = int(place * len(writable))
        chosen: npt.NDArray[np.int64] = writable[start : start + length]
        return chosen
