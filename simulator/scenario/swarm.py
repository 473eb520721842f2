"""Random scenarios: each seed draws a small cluster and what happens to it.

Swarm testing: every seed leaves whole kinds of happenings out, so that rare combinations are not
drowned by frequent ones. Happenings lean towards the borders of a backup's steps, where things go
wrong; purely random instants rarely hit a window of a second in an hour.
"""

from collections.abc import Callable
from typing import Any, Final

from reference_engine.model.units import MINUTE, SECOND
from simulator.kernel.streams import Stream
from simulator.scenario.later_draws import enlarge
from simulator.scenario.schema import Scenario

_NAMES: Final = "ABCDE"
_SLOTS: Final = 4
_FREQUENT: Final = 550
_COMMON: Final = (
    "live-migration",
    "coordinator-move",
    "node-crash",
    "engine-crash",
    "guest-silence",
    "call-disturbed",
    "tracker-lost",
)
_OPERATIONS: Final = (
    "locate",
    "confirms",
    "describe",
    "volume",
    "switch",
    "arm",
    "freeze",
    "thaw",
    "take_snapshot",
    "take_checkpoint",
    "convert_to_reference_point",
    "pre_images",
    "auto_recovered",
    "frozen",
    "changed_since",
    "allocated",
    "read",
    "drop",
    "merge_back",
    "release",
    "leftovers",
    "delete_snapshot",
    "drop_reference_point",
)
Table = dict[str, Any]
Drawer = Callable[[Stream, list[str], list[str], list[str], int], Table]
"""Draws one happening, given machines, nodes, volumes and the interval."""


def draw_scenario(seed: int, /) -> Scenario:
    """Return the scenario of this seed; the same one in any process."""
    draw = Stream(seed, "swarm")
    nodes = [*_NAMES[: draw.between(2, 4)]]
    volumes = [f"V{number + 1}" for number in range(draw.between(1, 3))]
    machines = [f"vm{number + 1}" for number in range(draw.between(1, 4))]
    interval = draw.between(15, 40) * MINUTE
    # A kind that is left out is left out of the whole run.
    kinds = [kind for kind in _KINDS if draw.chance(_FREQUENT if kind in _COMMON else 250)]
    count = draw.between(0, 9) if kinds else 0
    data: Table = {
        "why": f"Whatever seed {seed} draws: the engine has to come through it.",
        "seed": seed,
        "duration": _us(interval * _SLOTS),
        "back_end": "E1" if draw.chance(600) else "E3",
        "migration_waits_for_backup": draw.chance(200),
        "rct_after_power_cut": "coarse" if draw.chance(600) else "lost",
        "canary_percent": draw.between(0, 100),
        "protection": {
            "interval": _us(interval),
            "first": _us(draw.between(1, 5) * MINUTE),
            "stagger": _us(draw.between(0, 120) * SECOND),
            "attempts": draw.between(2, 3),
            "application_required": draw.chance(150),
            "block": ["4 KiB", "16 KiB", "64 KiB"][draw.below(3)],
        },
        "skew": {
            "shortest": _us(draw.between(0, 2) * SECOND),
            "longest": _us(draw.between(2, 25) * SECOND),
        },
        "nodes": [
            {"name": name, "clock_offset": _us(draw.between(-3600, 3600) * SECOND)}
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
        "machines": [_machine(draw, name, nodes, volumes) for name in machines],
        "happenings": [
            _KINDS[kinds[draw.below(len(kinds))]](draw, machines, nodes, volumes, interval)
            for _ in range(count)
        ],
    }
    enlarge(data, seed, interval, moment=_moment, span=_us)
    return Scenario.model_validate(data)


def _us(amount: int) -> str:
    return f"{'-' if amount < 0 else ''}{abs(amount) / 1000!r}ms"


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
        "guest_clock_offset": _us(draw.between(-600, 600) * SECOND),
        "disks": disks,
        "writes": {
            "bursts_per_hour": draw.between(20, 1200),
            "burst_cells": draw.between(1, 8),
            "hot_percent": shares[0],
            "sequential_percent": shares[1],
            "rewrite_percent": draw.below(100 - sum(shares)),
            "trim_percent": draw.below(20),
        },
    }


def _moment(draw: Stream, machines: list[str], interval: int) -> Table:
    if draw.chance(650):
        return {
            "machine": machines[draw.below(len(machines))],
            "step": draw.below(17),
            "when": ["before", "after"][draw.below(2)],
            "occurrence": draw.between(1, _SLOTS),
            "delay": _us(0 if draw.chance(400) else draw.between(0, 12_000_000)),
        }
    return {"at": _us(draw.below(interval * _SLOTS))}


def _migration(
    draw: Stream, machines: list[str], nodes: list[str], _: list[str], interval: int
) -> Table:
    return {
        "kind": "live-migration",
        "machine": machines[draw.below(len(machines))],
        "target": nodes[draw.below(len(nodes))],
        # Mostly short, so that the hand-over falls into the step at which the move began.
        "pre_copy": _us(draw.between(0, 5_000_000 if draw.chance(600) else 40_000_000)),
        "blackout": _us(draw.between(50_000, 3_000_000)),
        "on": _moment(draw, machines, interval),
    }


def _move(
    draw: Stream, machines: list[str], nodes: list[str], volumes: list[str], interval: int
) -> Table:
    return {
        "kind": "coordinator-move",
        "volume": volumes[draw.below(len(volumes))],
        "target": nodes[draw.below(len(nodes))],
        "on": _moment(draw, machines, interval),
    }


def _node_crash(
    draw: Stream, machines: list[str], nodes: list[str], _: list[str], interval: int
) -> Table:
    owner = f"owner-of:{machines[draw.below(len(machines))]}"
    return {
        "kind": "node-crash",
        "node": owner if draw.chance(500) else nodes[draw.below(len(nodes))],
        "down_for": _us(draw.between(30, 2400) * SECOND),
        "on": _moment(draw, machines, interval),
    }


def _engine_crash(
    draw: Stream, machines: list[str], _: list[str], __: list[str], interval: int
) -> Table:
    on = _moment(draw, machines, interval)
    if draw.chance(300):
        on = {
            "subject": ["log", "packs", "points"][draw.below(3)],
            "operation": "create",
            "when": ["before", "after"][draw.below(2)],
            "occurrence": draw.between(1, 12),
        }
    return {"kind": "engine-crash", "down_for": _us(draw.between(5, 900) * SECOND), "on": on}


def _silence(
    draw: Stream, machines: list[str], _: list[str], __: list[str], interval: int
) -> Table:
    silence: Table = {
        "kind": "guest-silence",
        "machine": machines[draw.below(len(machines))],
        "occurrence": draw.between(1, _SLOTS),
    }
    if draw.chance(500):
        # Around and beyond the engine's patience: an answer in time is no silence.
        silence["late"] = _us(min(draw.between(15, 45) * SECOND, interval))
    return silence


def _disturbance(
    draw: Stream, machines: list[str], _: list[str], volumes: list[str], __: int
) -> Table:
    if draw.chance(250):
        subject, operation = ["log", "packs", "points"][draw.below(3)], "create"
    else:
        subject, operation = machines[draw.below(len(machines))], ""
        operation = _OPERATIONS[draw.below(len(_OPERATIONS))]
        if operation == "volume":
            subject = volumes[draw.below(len(volumes))]
    return {
        "kind": "call-disturbed",
        "subject": subject,
        "operation": operation,
        "occurrence": draw.between(1, 6),
        "answer": ["fail", "lose", "hang", "delay"][draw.below(4)],
        "delay": _us(draw.between(0, 90) * SECOND),
    }


def _tracker_loss(
    draw: Stream, machines: list[str], _: list[str], __: list[str], interval: int
) -> Table:
    return {
        "kind": "tracker-lost",
        "machine": machines[draw.below(len(machines))],
        "on": _moment(draw, machines, interval),
    }


def _rare(kind: str, **drawn: Callable[[Stream], Any]) -> Drawer:
    """Return what draws a happening of a machine whose other keys come from `drawn`."""

    def draw_one(
        draw: Stream, machines: list[str], _: list[str], __: list[str], interval: int
    ) -> Table:
        return {
            "kind": kind,
            "machine": machines[draw.below(len(machines))],
            "on": _moment(draw, machines, interval),
            **{key: value(draw) for key, value in drawn.items()},
        }

    return draw_one


def _elsewhere(key: str, kind: str, **drawn: Callable[[Stream], Any]) -> Drawer:
    """Return what draws a happening of a machine and a node or a volume."""
    inner = _rare(kind, **drawn)

    def draw_one(
        draw: Stream, machines: list[str], nodes: list[str], volumes: list[str], interval: int
    ) -> Table:
        places = volumes if key == "volume" else nodes
        place = places[draw.below(len(places))]
        return {**inner(draw, machines, nodes, volumes, interval), key: place}

    return draw_one


def _of_volume(kind: str, **drawn: Callable[[Stream], Any]) -> Drawer:
    """Return what draws a happening of a volume."""
    inner = _elsewhere("volume", kind, **drawn)

    def draw_one(
        draw: Stream, machines: list[str], nodes: list[str], volumes: list[str], interval: int
    ) -> Table:
        happening = inner(draw, machines, nodes, volumes, interval)
        return {key: value for key, value in happening.items() if key != "machine"}

    return draw_one


def _drain(
    draw: Stream, machines: list[str], nodes: list[str], _: list[str], interval: int
) -> Table:
    node = nodes[draw.below(len(nodes))]
    return {"kind": "node-drain", "node": node, "on": _moment(draw, machines, interval)}


def _clock_jump(
    draw: Stream, machines: list[str], nodes: list[str], _: list[str], interval: int
) -> Table:
    clocks = nodes + machines
    return {
        "kind": "clock-jump",
        "clock": clocks[draw.below(len(clocks))],
        "by": _us(draw.between(-7200, 7200) * SECOND),
        "on": _moment(draw, machines, interval),
    }


def _twin(draw: Stream, machines: list[str], _: list[str], __: list[str], interval: int) -> Table:
    return {
        "kind": "engine-twin",
        "cut_off": _us(draw.between(0, 1500) * SECOND if draw.chance(500) else 0),
        "ends_after": _us(draw.between(60, 3600) * SECOND),
        "on": _moment(draw, machines, interval),
    }


def _writer(draw: Stream, machines: list[str], _: list[str], __: list[str], ___: int) -> Table:
    return {
        "kind": "writer-failure",
        "machine": machines[draw.below(len(machines))],
        "writer": "SqlServerWriter",
        "occurrence": draw.between(1, _SLOTS),
        "times": draw.between(1, 3),
    }


def _seconds(shortest: int, longest: int) -> Callable[[Stream], str]:
    return lambda draw: _us(draw.between(shortest, longest) * SECOND)


def _below(limit: int) -> Callable[[Stream], int]:
    return lambda draw: draw.below(limit)


_KINDS: Final[dict[str, Drawer]] = {
    "live-migration": _migration,
    "coordinator-move": _move,
    "node-crash": _node_crash,
    "engine-crash": _engine_crash,
    "guest-silence": _silence,
    "call-disturbed": _disturbance,
    "tracker-lost": _tracker_loss,
    "quick-migration": _elsewhere("target", "quick-migration", downtime=_seconds(1, 90)),
    "storage-migration": _elsewhere(
        "volume", "storage-migration", disk=_below(2), lasts=_seconds(0, 60)
    ),
    "placement-stale": _elsewhere("node", "placement-stale", lasts=_seconds(1, 300)),
    "node-drain": _drain,
    "volume-paused": _of_volume("volume-paused", lasts=_seconds(1, 120)),
    "volume-slow": _of_volume("volume-slow", percent=lambda draw: draw.between(1, 50)),
    "redirection-dropped": _of_volume("redirection-dropped"),
    "foreign-snapshot": _of_volume("foreign-snapshot", lasts=_seconds(1, 300)),
    "foreign-checkpoint": _rare("foreign-checkpoint"),
    "tracker-over-reports": _rare("tracker-over-reports"),
    "reference-points-removed": _rare("reference-points-removed"),
    "disk-replaced": _rare("disk-replaced", disk=_below(2)),
    "disk-added": _elsewhere("volume", "disk-added", size=lambda _: "300 KiB"),
    "user-checkpoint": _rare("user-checkpoint"),
    "user-revert": _rare("user-revert"),
    "machine-stopped": _rare("machine-stopped", lasts=_seconds(10, 1800)),
    "machine-deleted": _rare("machine-deleted"),
    "guest-thawed": _rare("guest-thawed"),
    "writer-failure": _writer,
    "clock-jump": _clock_jump,
    "engine-twin": _twin,
}
