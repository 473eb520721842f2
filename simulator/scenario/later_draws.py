"""What the swarm learned to draw later: from a stream of its own, for a part of the seeds.

Seeds that draw nothing here are what they always were, so that whatever was found with them stays
found; the others get everything that they had, and more.
"""

from collections.abc import Callable
from typing import Any, Final

from reference_engine.model.units import MINUTE, SECOND
from simulator.kernel.streams import Stream
from simulator.world.applications.application import LEAST_CELLS

_LEAST_BYTES: Final = LEAST_CELLS * 4096

Table = dict[str, Any]
Span = Callable[[int], str]

_SHARE: Final = 350
"""Of a thousand seeds."""

_LIARS: Final = 150
"""Of a thousand seeds whose blocks are as small as what trackers tell apart."""

_ROTTEN: Final = 40
"""Of a thousand seeds."""

_DATABASES: Final = 80
"""Of a thousand seeds that draw none of what an application's disks cannot be asked to bear."""

_OBJECTS: Final = ("packs", "points", "maps", "manifests")
_OBSTACLES: Final = ("fat-volume", "dynamic-disk", "diff-area-elsewhere", "no-scsi-controller")


def enlarge(data: Table, seed: int, interval: int, slots: int, /, *, span: Span) -> None:
    """Add to a drawn scenario what this seed's second stream draws; nothing for most seeds.

    Where a program with data of its own runs in a guest nothing is added: its disks stay.
    """
    draw = Stream(seed, "swarm/hosts")
    if not draw.chance(_SHARE) or _hosting(data):
        return
    _hosts(data, draw)
    _policy(data, draw, span)
    machines = [machine["name"] for machine in data["machines"]]
    kinds = [kind for kind in _KINDS if draw.chance(400)]
    for _ in range(draw.between(0, 3) if kinds else 0):
        happening = _KINDS[kinds[draw.below(len(kinds))]](data, draw, span)
        data["happenings"].append(
            happening
            if "on" in happening
            else {**happening, "on": _moment(draw, machines, interval, slots, span)}
        )


def make_trackers_lie(data: Table, seed: int, interval: int, slots: int, /, *, span: Span) -> None:
    """Let trackers of one machine miss writes in silence for a while; nothing for most seeds.

    Not where a hidden piece shares a block with one that is told: such a point is refused when it
    is restored, which is all that can be done about it. Nor in the guest of an application, which
    nobody can save from a tracker that lies.
    """
    draw = Stream(seed, "swarm/lies")
    if not draw.chance(_LIARS) or _hosting(data) or data["protection"]["block"] != "4 KiB":
        return
    machines = [machine["name"] for machine in data["machines"]]
    if draw.chance(700):
        data["protection"]["sample_blocks"] = draw.between(1, 16)
    lies = {"kind": "tracker-lies", "machine": machines[draw.below(len(machines))]}
    shares = (draw.between(5, 400), 0)
    for share in shares if draw.chance(700) else shares[:1]:
        moment = _moment(draw, machines, interval, slots, span)
        data["happenings"].append({**lies, "per_mille": share, "on": moment})


def let_objects_rot(data: Table, seed: int, interval: int, slots: int, /, *, span: Span) -> None:
    """Damage objects of the repository at some moments; nothing for most seeds."""
    draw = Stream(seed, "swarm/rot")
    if not draw.chance(_ROTTEN):
        return
    machines = [machine["name"] for machine in data["machines"]]
    for _ in range(draw.between(1, 3)):
        rot = {
            "kind": "object-damaged",
            "objects": _OBJECTS[draw.below(len(_OBJECTS))],
            "damage": ("lost", "flipped")[draw.below(2)],
        }
        moment = _moment(draw, machines, interval, slots, span)
        data["happenings"].append({**rot, "on": moment})


def host_database(data: Table, seed: int, /) -> None:
    """Run SQLite in one guest; nothing for most seeds.

    Only where `enlarge` and `make_trackers_lie` leave everything as it is: disks stay, and trackers
    speak the truth.
    """
    draw = Stream(seed, "swarm/databases")
    machine = data["machines"][draw.below(len(data["machines"]))]
    enlarged = Stream(seed, "swarm/hosts").chance(_SHARE)
    lied_to = any(happening["kind"] == "tracker-lies" for happening in data["happenings"])
    if not draw.chance(_DATABASES) or _hosting(data) or enlarged or lied_to:
        return
    if has_room(machine):
        machine["application"] = ("sqlite", "sqlite-wal")[draw.below(2)]
        machine["transactions_per_hour"] = draw.between(30, 600)


def has_room(machine: Table, /) -> bool:
    """Return whether an application's files fit on each disk of a drawn machine."""
    return all(int(disk["size"].removesuffix(" B")) >= _LEAST_BYTES for disk in machine["disks"])


def _hosting(data: Table) -> bool:
    return any("application" in machine for machine in data["machines"])


def _moment(draw: Stream, machines: list[str], interval: int, slots: int, span: Span) -> Table:
    if draw.chance(650):
        return {
            "machine": machines[draw.below(len(machines))],
            "step": draw.below(17),
            "when": ["before", "after"][draw.below(2)],
            "occurrence": draw.between(1, slots),
            "delay": span(0 if draw.chance(400) else draw.between(0, 12 * SECOND)),
        }
    return {"at": span(draw.below(interval * slots))}


def _hosts(data: Table, draw: Stream) -> None:
    if draw.chance(200):
        data["back_end"] = "E2"
    if draw.chance(150):
        for node in data["nodes"]:
            node["back_end"] = ("E1", "E2", "E3")[draw.below(3)]
    for volume in data["volumes"]:
        if draw.chance(150):
            volume["snapshots"] = "storage"
    for machine in data["machines"]:
        if draw.chance(200):
            machine["obstacles"] = [_OBSTACLES[draw.below(len(_OBSTACLES))]]
        if draw.chance(100):
            machine["physical_disks"] = draw.between(1, 2)


def _policy(data: Table, draw: Stream, span: Span) -> None:
    protection = data["protection"]
    protection["without_guest"] = "save" if draw.chance(500) else "cut"
    if draw.chance(300):
        protection["sample_blocks"] = draw.between(1, 16)
    if draw.chance(300):
        protection["discover"] = span(draw.between(1, 10) * MINUTE)
    if draw.chance(400):
        data["repository"] = {
            "keep_last": draw.between(1, 3),
            "upkeep_every": span(draw.between(3, 40) * MINUTE),
            "repack_growth_percent": 0,
            "immutable_for": span(draw.between(0, 60) * MINUTE),
        }


def _one(names: list[Table], draw: Stream) -> str:
    name: str = names[draw.below(len(names))]["name"]
    return name


def _node_full(data: Table, draw: Stream, span: Span) -> Table:
    lasts = span(draw.between(10, 1200) * SECOND)
    return {"kind": "node-full", "node": _one(data["nodes"], draw), "lasts": lasts}


def _resized(data: Table, draw: Stream, span: Span) -> Table:
    del span
    size = f"{draw.between(600, 2200) * 1024 + 512 * draw.below(8)} B"
    machine = _one(data["machines"], draw)
    return {"kind": "disk-resized", "machine": machine, "disk": draw.below(2), "size": size}


def _astray(data: Table, draw: Stream, span: Span) -> Table:
    lasts = span(draw.between(1, 600) * SECOND)
    return {"kind": "mount-goes-astray", "machine": _one(data["machines"], draw), "lasts": lasts}


def _cloned(data: Table, draw: Stream, span: Span) -> Table:
    del span
    source, node = _one(data["machines"], draw), _one(data["nodes"], draw)
    return {"kind": "machine-cloned", "machine": source, "name": "clone", "node": node}


def _created(data: Table, draw: Stream, span: Span) -> Table:
    del span
    node, volume = _one(data["nodes"], draw), _one(data["volumes"], draw)
    return {"kind": "machine-created", "name": "new", "node": node, "volume": volume}


def _imported(data: Table, draw: Stream, span: Span) -> Table:
    return {
        "kind": "machine-imported",
        "machine": _one(data["machines"], draw),
        "node": _one(data["nodes"], draw),
        "volume": _one(data["volumes"], draw),
        "lasts": span(draw.between(30, 2400) * SECOND),
    }


def _power_cut(data: Table, draw: Stream, span: Span) -> Table:
    return {
        "kind": "repository-power-cut",
        # A point has copies and outlives the loss of two objects; that of three it may not.
        "loses": draw.between(1, 4),
        "down_for": span(draw.between(5, 600) * SECOND),
        # Right after a commit: then it is the log's last entry, or the index, that is lost.
        "on": {
            "machine": _one(data["machines"], draw),
            "step": draw.between(13, 14),
            "when": "before",
            "occurrence": draw.between(1, 3),
        },
    }


_KINDS: Final[dict[str, Callable[[Table, Stream, Span], Table]]] = {
    "node-full": _node_full,
    "disk-resized": _resized,
    "mount-goes-astray": _astray,
    "machine-cloned": _cloned,
    "machine-created": _created,
    "machine-imported": _imported,
    "repository-power-cut": _power_cut,
}
