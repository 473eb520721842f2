"""The world that is searched: two nodes, one volume, one disk of eight blocks, two backups."""

from functools import lru_cache
from typing import Final, Literal

import msgspec

from simulator.scenario.schema import Scenario

BackEndName = Literal["E1", "E3"]

_DISK: Final = "65024 B"
"""Eight blocks of 8 KiB, the last one not whole; 127 cells."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """How far a search goes."""

    back_end: BackEndName
    seed: int
    """Draws latencies and which cells are written."""

    events: int
    """How many happenings a schedule has at most."""

    machines: int
    backups: int
    """During how many backups of each machine something may happen; one more follows in peace."""


@lru_cache(maxsize=16)
def small_scenario(scope: Scope, /) -> Scenario:
    """Return the scope's world, in which nothing happens but backups and a guest that writes."""
    interval_m = 10
    machines = [
        {
            "name": name,
            "node": "A",
            "disks": [{"volume": "V", "size": _DISK}],
            # Every write is a canary beside a change of state: no burst hides a lost one.
            "writes": {"bursts_per_hour": 0},
        }
        for name in _names(scope.machines)
    ]
    return Scenario.model_validate(
        {
            "why": f"A schedule of at most {scope.events} happenings in the smallest world.",
            "seed": scope.seed,
            "duration": f"{scope.backups * interval_m + 1}m",
            "back_end": scope.back_end,
            "cell": "512 B",
            "canary_percent": 100,
            "nodes": [{"name": "A"}, {"name": "B"}],
            "volumes": [{"name": "V", "coordinator": "A"}],
            "machines": machines,
            "skew": {"shortest": "2s", "longest": "2s"},
            "merge_longest": "2s",
            "protection": {
                "interval": f"{interval_m}m",
                "first": "30s",
                "stagger": "0s",
                "block": "8 KiB",
            },
        }
    )


def _names(machines: int) -> tuple[str, ...]:
    return tuple(f"vm{number + 1}" for number in range(machines))
