"""Random scenarios: each seed draws a small cluster and what happens to it.

Swarm testing: every seed leaves whole classes and kinds of happenings out, so that rare
combinations are not drowned by frequent ones. Happenings lean towards the borders of a backup's
steps, where things go wrong, and towards the machine whose step it is; purely random instants
rarely hit a window of a second in an hour. Most clusters are small, as their seeds cost little; a
few have eight machines or eight slots, because some bugs need company or time.
"""

from typing import Any, Final

from reference_engine.model.units import MINUTE, SECOND
from simulator.kernel.streams import Stream
from simulator.scenario.happenings import HappeningDraw, microseconds
from simulator.scenario.later_draws import (
    enlarge,
    has_room,
    host_database,
    let_objects_rot,
    make_trackers_lie,
)
from simulator.scenario.schema import Scenario

_NAMES: Final = "ABCDE"
_MACHINES: Final = (1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 4, 8)
_SLOTS: Final = (3, 3, 3, 3, 3, 4, 4, 8)
_BURSTS: Final = (20, 40, 80, 160, 320, 640, 1200)
Table = dict[str, Any]


def draw_scenario(seed: int, /) -> Scenario:
    """Return the scenario of this seed; the same one in any process."""
    draw = Stream(seed, "swarm")
    nodes = [*_NAMES[: draw.between(2, 5)]]
    volumes = [f"V{number + 1}" for number in range(draw.between(1, 3))]
    names = [f"vm{number + 1}" for number in range(_MACHINES[draw.below(len(_MACHINES))])]
    slots = _SLOTS[draw.below(len(_SLOTS))]
    interval = draw.between(15, 40) * MINUTE
    machines = [_machine(draw, name, nodes, volumes) for name in names]
    happenings = HappeningDraw(
        draw, machines=machines, nodes=nodes, volumes=volumes, interval=interval, slots=slots
    )
    data: Table = {
        "why": f"Whatever seed {seed} draws: the engine has to come through it.",
        "seed": seed,
        "duration": microseconds(interval * slots),
        "back_end": "E1" if draw.chance(600) else "E3",
        "migration_waits_for_backup": draw.chance(200),
        "rct_after_power_cut": "coarse" if draw.chance(600) else "lost",
        "canary_percent": draw.between(0, 100),
        "protection": {
            "interval": microseconds(interval),
            "first": microseconds(draw.between(1, 5) * MINUTE),
            "stagger": microseconds(draw.between(0, 120) * SECOND),
            "attempts": draw.between(2, 3),
            "application_required": draw.chance(150),
            "block": ["4 KiB", "16 KiB", "64 KiB"][draw.below(3)],
        },
        "skew": {
            "shortest": microseconds(draw.between(0, 2) * SECOND),
            "longest": microseconds(draw.between(2, 25) * SECOND),
        },
        "nodes": [
            {"name": name, "clock_offset": microseconds(draw.between(-3600, 3600) * SECOND)}
            for name in nodes
        ],
        "volumes": [
            {
                "name": name,
                "coordinator": nodes[draw.below(len(nodes))],
                "pinned": draw.chance(250),
            }
            for name in volumes
        ],
        "machines": machines,
        "happenings": happenings.drawn(),
    }
    _host_application(Stream(seed, "swarm", "application"), machines)
    enlarge(data, seed, interval, slots, span=microseconds)
    make_trackers_lie(data, seed, interval, slots, span=microseconds)
    let_objects_rot(data, seed, interval, slots, span=microseconds)
    host_database(data, seed)
    return Scenario.model_validate(data)


def _machine(draw: Stream, name: str, nodes: list[str], volumes: list[str]) -> Table:
    disks = [
        {
            "volume": volumes[draw.below(len(volumes))],
            # Not a multiple of a cell: the last one is partial.
            "size": f"{draw.between(600, 1400) * 1024 + 512 * draw.below(8)} B",
            "used_percent": draw.between(10, 90),
            **({"diff_area": "32 KiB"} if draw.chance(100) else {}),
        }
        for _ in range(draw.between(1, 2))
    ]
    shares = [draw.below(60), draw.below(40)]
    return {
        "name": name,
        "node": nodes[draw.below(len(nodes))],
        "guest": ["vss", "vss", "vss", "fsfreeze", "none"][draw.below(5)],
        "guest_clock_offset": microseconds(draw.between(-600, 600) * SECOND),
        "disks": disks,
        "writes": {
            "bursts_per_hour": _BURSTS[draw.below(len(_BURSTS))],
            "burst_cells": draw.between(1, 8),
            "hot_percent": shares[0],
            "sequential_percent": shares[1],
            "rewrite_percent": draw.below(100 - sum(shares)),
            "trim_percent": draw.below(20),
        },
    }


def _host_application(draw: Stream, machines: list[Table]) -> None:
    """Put a ledger into a guest now and then; its own stream leaves all other draws as they are."""
    if not draw.chance(150):
        return
    machine = machines[draw.below(len(machines))]
    rate = draw.between(30, 600)
    if has_room(machine):
        machine["application"] = "ledger"
        machine["transactions_per_hour"] = rate
