"""Smaller scenarios that might fail still, most promising first.

Scenarios are plain data here, as in their files. A reduction may propose what no cluster can be;
whoever tries it asks the schema first.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Final

from reference_engine.model.units import MINUTE
from simulator.faults.quantities import parse_duration, write_duration
from simulator.scenario.schema import Scenario
from simulator.scenario.writing import as_data

Table = dict[str, Any]
Reduction = Callable[[Table], Iterator[Table]]
Path = tuple[str | int, ...]

_SIMPLER: Final[dict[str, tuple[Any, ...]]] = {
    "size": ("512 KiB", "1 MiB"),
    "bursts_per_hour": (0, 60, 600),
    "burst_cells": (1, 8),
    "used_percent": (10, 90),
    "canary_percent": (0, 100),
    "interval": ("30m", "20m", "15m"),
    "first": ("5m", "1m"),
    "stagger": ("0s",),
    "delay": ("1s", "5s", "10s", "20s", "30s", "60s"),
    "late": ("30s", "20s", "25s", "40s"),
    "pre_copy": ("0s", "5s", "20s"),
    "blackout": ("1s",),
    "down_for": ("1m", "5m", "30m"),
    "occurrence": (1, 2, 3),
    "attempts": (2,),
    "block": ("4 KiB", "64 KiB"),
    "seed": (1, 2, 3),
    "hot_percent": (0, 100),
    "sequential_percent": (0, 100),
    "rewrite_percent": (0,),
    "trim_percent": (0,),
    "guest": ("vss", "fsfreeze"),
    "when": ("before",),
}
"""For a setting that cannot be left out: values that a person would have written, best first."""


def without_defaults(scenario: Scenario, /) -> Table:
    """Return the scenario as data, with nothing in it that need not be said."""
    return as_data(scenario)


def fewer_machines(data: Table, /) -> Iterator[Table]:
    """Leave out one machine after the other, with what concerns it alone."""
    for gone in reversed(data["machines"]):
        name = gone["name"]
        smaller = copy.deepcopy(data)
        smaller["machines"] = [each for each in smaller["machines"] if each["name"] != name]
        if not smaller["machines"]:
            return
        heir = smaller["machines"][0]["name"]
        kept = []
        for happening in smaller.get("happenings", []):
            if name in (happening.get("machine"), happening.get("subject")):
                continue
            on = happening.get("on", {})
            for place, key in ((happening, "node"), (on, "machine"), (on, "subject")):
                if place.get(key) in (name, f"owner-of:{name}"):
                    place[key] = place[key].replace(name, happening.get("machine", heir))
            kept.append(happening)
        smaller["happenings"] = kept
        yield smaller


def own_moments(data: Table, /) -> Iterator[Table]:
    """Have what waits for another machine's backup happen half-way between two slots instead."""
    protection = data.get("protection", {})
    interval = parse_duration(protection.get("interval", "1h"))
    first = parse_duration(protection.get("first", "10m"))
    for number, happening in enumerate(data.get("happenings", [])):
        awaited = happening.get("on", {}).get("machine")
        if awaited is None or awaited == happening.get("machine", awaited):
            continue
        at = first + interval // 2
        while at < parse_duration(data["duration"]):
            smaller = copy.deepcopy(data)
            smaller["happenings"][number]["on"] = {"at": write_duration(at)}
            yield smaller
            at += interval


def fewer_nodes(data: Table, /) -> Iterator[Table]:
    """Make one of two nodes, whatever ran there; fewest first."""
    names = [node["name"] for node in data["nodes"]]
    for most in range(1, min(len(names), 3)):
        smaller = data
        for gone in names[most:]:
            smaller = _joined(smaller, "nodes", gone, names[0])
        yield smaller
    for gone in reversed(names):
        for heir in names:
            if heir != gone:
                yield _joined(data, "nodes", gone, heir)


def fewer_volumes(data: Table, /) -> Iterator[Table]:
    """Make one of two volumes."""
    names = [volume["name"] for volume in data["volumes"]]
    for gone in reversed(names):
        for heir in names:
            if heir != gone:
                yield _joined(data, "volumes", gone, heir)


def _joined(data: Table, table: str, gone: str, heir: str) -> Table:
    smaller: Table = copy.deepcopy(data)
    smaller[table] = [each for each in smaller[table] if each["name"] != gone]
    keys = ("node", "target", "coordinator", "volume", "subject")

    def rename(value: Any) -> None:
        match value:
            case dict():
                for key, each in value.items():
                    if key in keys and each == gone:
                        value[key] = heir
                    rename(each)
            case list():
                for each in value:
                    rename(each)
            case _:
                pass

    rename(smaller)
    return smaller


def fewer_disks(data: Table, /) -> Iterator[Table]:
    """Leave out one disk after the other."""
    for number, machine in enumerate(data["machines"]):
        for gone in reversed(range(len(machine["disks"]))):
            smaller = copy.deepcopy(data)
            del smaller["machines"][number]["disks"][gone]
            yield smaller


def shorter(data: Table, /) -> Iterator[Table]:
    """End after one slot, or two, and so on; what would happen later does not."""
    protection = data.get("protection", {})
    interval = parse_duration(protection.get("interval", "1h"))
    first = parse_duration(protection.get("first", "10m"))
    now = parse_duration(data["duration"])
    slots = -(-(now - first) // interval)
    for count in range(1, slots + 1):
        end = first + (count - 1) * interval + MINUTE
        if end < now:
            smaller = copy.deepcopy(data)
            smaller["duration"] = write_duration(end)
            smaller["happenings"] = [
                each for each in smaller.get("happenings", []) if _begins(each) <= end
            ]
            yield smaller


def _begins(happening: Table) -> int:
    return parse_duration(happening.get("on", {}).get("at", 0))


def less_skew(data: Table, /) -> Iterator[Table]:
    """Have the host snapshot at once, or always equally late."""
    for amount in ("0s", "1s", "10s", "20s"):
        wanted = {"shortest": amount, "longest": amount}
        if data.get("skew") == wanted:
            return
        yield {**copy.deepcopy(data), "skew": wanted}


def simpler_triggers(data: Table, /) -> Iterator[Table]:
    """Have things happen at full minutes."""
    for number, happening in enumerate(data.get("happenings", [])):
        if "at" in happening.get("on", {}):
            at = parse_duration(happening["on"]["at"])
            for rounded in (at // MINUTE * MINUTE, -(-at // MINUTE) * MINUTE):
                if rounded != at:
                    smaller = copy.deepcopy(data)
                    smaller["happenings"][number]["on"]["at"] = write_duration(rounded)
                    yield smaller


def simpler_values(data: Table, /) -> Iterator[Table]:
    """Give each setting that is left a value that a person would have written."""
    for path in settings(data):
        now = _at(data, path)
        options = _SIMPLER.get(str(path[-1]), ())
        better = options[: options.index(now)] if now in options else options
        for value in better:
            smaller = copy.deepcopy(data)
            _at(smaller, path[:-1])[path[-1]] = value
            yield smaller


def settings(data: Table, /) -> list[Path]:
    """Return the path of every value in the data that is no table and no list."""
    found: list[Path] = []

    def walk(value: Any, path: Path) -> None:
        match value:
            case dict():
                for key, each in value.items():
                    walk(each, (*path, key))
            case list():
                for number, each in enumerate(value):
                    walk(each, (*path, number))
            case _:
                found.append(path)

    walk(data, ())
    return found


def without(data: Table, paths: list[Path], /) -> Table:
    """Return the data without these values: their defaults hold."""
    smaller = copy.deepcopy(data)
    for path in paths:
        del _at(smaller, path[:-1])[path[-1]]
    return smaller


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


REDUCTIONS: Final[tuple[tuple[str, Reduction], ...]] = (
    ("triggers", own_moments),
    ("machines", fewer_machines),
    ("nodes", fewer_nodes),
    ("volumes", fewer_volumes),
    ("disks", fewer_disks),
    ("duration", shorter),
    ("skew", less_skew),
    ("moments", simpler_triggers),
    ("values", simpler_values),
)
"""By what they make smaller, in the order in which they are tried."""
