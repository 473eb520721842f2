"""What happens in a random scenario: classes first, then kinds, then moments near steps.

A class that is left out is left out of the whole run. Each happening aims at one machine: its
moment is mostly a step of that machine's backup, and it befalls that machine, its node or one of
its volumes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from reference_engine.model.units import MINUTE, SECOND
from simulator.kernel.streams import Stream

_STEPS: Final = 17
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
_OBJECTS: Final = ("log", "packs", "points")
Table = dict[str, Any]


def microseconds(amount: int, /) -> str:
    """Return an amount of virtual time as a scenario file writes it."""
    return f"{'-' if amount < 0 else ''}{abs(amount) / 1000!r}ms"


class HappeningDraw:
    """Draws the happenings of one scenario."""

    def __init__(
        self,
        draw: Stream,
        /,
        *,
        machines: list[Table],
        nodes: list[str],
        volumes: list[str],
        interval: int,
        slots: int,
    ) -> None:
        self.draw, self.nodes, self.volumes = draw, nodes, volumes
        self.interval, self.slots = interval, slots
        self._machines = machines
        self.aim = machines[0]
        """The machine that the happening now being drawn is about."""

    def drawn(self) -> list[Table]:
        """Return the scenario's happenings."""
        draw = self.draw
        classes = [kinds for kinds in CLASSES if draw.chance(600)]
        # A class of one kind is switched off as a class, and not once more as a kind.
        chosen = [
            [kind for kind in kinds if draw.chance(600)] if len(kinds) > 1 else [*kinds]
            for kinds in classes
        ]
        chosen = [kinds for kinds in chosen if kinds]
        # One seed in eight is undisturbed by intention: there, nothing excuses anything.
        if not chosen or draw.chance(120):
            return []
        count = draw.between(2, 6 + 2 * self.slots)
        return [self._one(chosen[draw.below(len(chosen))]) for _ in range(count)]

    def _one(self, kinds: list[str]) -> Table:
        self.aim = self._machines[self.draw.below(len(self._machines))]
        kind = kinds[self.draw.below(len(kinds))]
        name = kind.partition("/")[0]
        return {"kind": name, **_DRAWERS[kind](self)}

    def one_of(self, names: list[str] | tuple[str, ...], /) -> str:
        """Return one of the names."""
        return names[self.draw.below(len(names))]

    def machine(self) -> str:
        """Return the machine's name."""
        return str(self.aim["name"])

    def volume(self) -> str:
        """Return mostly a volume of the machine."""
        own = [str(disk["volume"]) for disk in self.aim["disks"]]
        return self.one_of(own if self.draw.chance(850) else self.volumes)

    def node(self) -> str:
        """Return mostly the node that runs the machine then."""
        owner = f"owner-of:{self.machine()}"
        return owner if self.draw.chance(700) else self.one_of(self.nodes)

    def span(self, shortest: int, longest: int, /) -> str:
        """Return a duration between so many seconds."""
        return microseconds(self.draw.between(shortest * SECOND, longest * SECOND))

    def moment(self) -> Table:
        """Return mostly a border of a step of the machine's, or a moment shortly after one."""
        draw = self.draw
        if draw.chance(920):
            on: Table = {
                "machine": self.machine(),
                "step": draw.below(_STEPS),
                "when": "before" if draw.chance(850) else "after",
                "occurrence": draw.between(1, self.slots),
            }
            if draw.chance(200):
                on["delay"] = microseconds(draw.between(0, 12 * SECOND))
            return on
        return {"at": microseconds(draw.below(self.interval * self.slots))}

    def call(self) -> Table:
        """Return a call, of the machine, of one of its volumes, or of the repository."""
        draw = self.draw
        if draw.chance(250):
            subject, operation = self.one_of(_OBJECTS), "create"
        else:
            operation = self.one_of(_OPERATIONS)
            subject = self.volume() if operation == "volume" else self.machine()
        return {
            "subject": subject,
            "operation": operation,
            "occurrence": draw.between(1, 2 * self.slots),
        }


def _migration(draw: HappeningDraw) -> Table:
    elsewhere = [node for node in draw.nodes if node != draw.aim["node"]]
    # Mostly short, so that the hand-over falls into the step at which the move began.
    longest = 5 if draw.draw.chance(600) else 40
    return {
        "machine": draw.machine(),
        "target": draw.one_of(elsewhere if draw.draw.chance(750) else draw.nodes),
        "pre_copy": draw.span(0, longest),
        "blackout": microseconds(draw.draw.between(50_000, 3 * SECOND)),
        "fails": draw.draw.chance(100),
        "on": draw.moment(),
    }


def _engine_crash(draw: HappeningDraw) -> Table:
    on = draw.moment()
    if draw.draw.chance(300):
        on = {
            "subject": draw.one_of(_OBJECTS),
            "operation": "create",
            "when": draw.one_of(("before", "after")),
            "occurrence": draw.draw.between(1, 12),
        }
    return {"down_for": draw.span(5, 900), "on": on}


def _silence(draw: HappeningDraw) -> Table:
    silence: Table = {
        "machine": draw.machine(),
        "occurrence": draw.draw.between(1, draw.slots),
    }
    if draw.draw.chance(500):
        # Around and beyond the engine's patience: an answer in time is no silence.
        silence["late"] = microseconds(min(draw.draw.between(15, 45) * SECOND, draw.interval))
    return silence


def _disturbance(draw: HappeningDraw) -> Table:
    call = draw.call()
    return {
        **call,
        "answer": draw.one_of(("fail", "lose", "hang", "delay")),
        "delay": draw.span(0, 90),
        # An outage that starts at a chosen operation and holds: one failure alone hides in retries.
        "times": draw.draw.between(2, 6) if draw.draw.chance(200) else 1,
    }


def _partition(draw: HappeningDraw) -> Table:
    cut = draw.one_of(("node-engine", "node-cluster", "engine-cluster", "engine-repository"))
    partition: Table = {"cut": cut, "lasts": _outage_span(draw), "on": _start(draw)}
    if cut.startswith("node-"):
        partition["node"] = draw.node()
    return partition


def _outage(service: str) -> Callable[[HappeningDraw], Table]:
    def drawn(draw: HappeningDraw) -> Table:
        outage: Table = {"service": service, "lasts": _outage_span(draw), "on": _start(draw)}
        if service != "repository":
            outage["machine"] = draw.machine()
        return outage

    return drawn


def _outage_span(draw: HappeningDraw) -> str:
    """Return mostly a short while: what holds for long keeps runs from their later steps."""
    return draw.span(1, 60) if draw.draw.chance(750) else draw.span(60, 1500)


def _start(draw: HappeningDraw) -> Table:
    """Return when an outage starts: at a step, or at a chosen operation."""
    if draw.draw.chance(800):
        return draw.moment()
    return {**draw.call(), "when": draw.one_of(("before", "after"))}


def _timed(*keys: str, **drawn: Callable[[HappeningDraw], Any]) -> Callable[[HappeningDraw], Table]:
    """Return what draws a happening with a moment, whose `keys` say what it befalls."""

    def one(draw: HappeningDraw) -> Table:
        befallen: dict[str, Callable[[], str]] = {
            "machine": draw.machine,
            "volume": draw.volume,
            "node": draw.node,
            "target": lambda: draw.one_of(draw.nodes),
        }
        named = {key: befallen[key]() for key in keys}
        return {
            **named,
            **{key: value(draw) for key, value in drawn.items()},
            "on": draw.moment(),
        }

    return one


def _lasting(shortest: int, longest: int) -> Callable[[HappeningDraw], str]:
    return lambda draw: draw.span(shortest, longest)


def _disk(draw: HappeningDraw) -> int:
    return draw.draw.below(len(draw.aim["disks"]))


def _any_node(draw: HappeningDraw) -> str:
    return draw.one_of(draw.nodes)


def _clock(draw: HappeningDraw) -> str:
    return draw.machine() if draw.draw.chance(400) else draw.one_of(draw.nodes)


def _jump(draw: HappeningDraw) -> str:
    return microseconds(draw.draw.between(-7200, 7200) * SECOND)


def _twin(draw: HappeningDraw) -> Table:
    return {
        "cut_off": draw.span(0, 1500) if draw.draw.chance(500) else "0s",
        "ends_after": draw.span(60, 60 * MINUTE // SECOND),
        "on": draw.moment(),
    }


def _writer(draw: HappeningDraw) -> Table:
    return {
        "machine": draw.machine(),
        "writer": "SqlServerWriter",
        "occurrence": draw.draw.between(1, draw.slots),
        "times": draw.draw.between(1, 3),
    }


_DRAWERS: Final[Mapping[str, Callable[[HappeningDraw], Table]]] = {
    "live-migration": _migration,
    "quick-migration": _timed("machine", "target", downtime=_lasting(1, 90)),
    "storage-migration": _timed("machine", "volume", disk=_disk, lasts=_lasting(0, 60)),
    "placement-stale": _timed("machine", node=_any_node, lasts=_lasting(1, 300)),
    "node-drain": _timed(node=_any_node),
    "coordinator-move": _timed("volume", "target"),
    "volume-paused": _timed("volume", lasts=_lasting(1, 120)),
    "volume-slow": _timed("volume", percent=lambda draw: draw.draw.between(1, 50)),
    "redirection-dropped": _timed("volume"),
    "foreign-snapshot": _timed("volume", lasts=_lasting(1, 300)),
    "node-crash": _timed("node", down_for=_lasting(30, 2400)),
    "partition": _partition,
    "engine-crash": _engine_crash,
    "engine-twin": _twin,
    "guest-silence": _silence,
    "guest-thawed": _timed("machine"),
    "writer-failure": _writer,
    "outage/guest": _outage("guest"),
    "tracker-lost": _timed("machine"),
    "tracker-over-reports": _timed("machine"),
    "reference-points-removed": _timed("machine"),
    "outage/tracker": _outage("tracker"),
    "disk-replaced": _timed("machine", disk=_disk),
    "disk-added": _timed("machine", "volume", size=lambda _: "300 KiB"),
    "user-checkpoint": _timed("machine"),
    "user-revert": _timed("machine"),
    "foreign-checkpoint": _timed("machine"),
    "machine-stopped": _timed("machine", lasts=_lasting(10, 1800)),
    "machine-deleted": _timed("machine"),
    "outage/repository": _outage("repository"),
    "call-disturbed": _disturbance,
    "clock-jump": _timed(clock=_clock, by=_jump),
}

_MIGRATIONS: Final = (
    "live-migration",
    "quick-migration",
    "storage-migration",
    "placement-stale",
    "node-drain",
)
_FREEZES: Final = ("guest-thawed", "outage/guest", "foreign-snapshot")
_DISKS: Final = ("disk-replaced", "disk-added")

CLASSES: Final = (
    _MIGRATIONS,
    _MIGRATIONS,
    ("coordinator-move", "volume-paused", "volume-slow", "redirection-dropped"),
    ("node-crash",),
    ("partition",),
    ("engine-crash", "engine-twin"),
    _FREEZES,
    _FREEZES,
    ("guest-silence", "writer-failure"),
    ("tracker-lost", "tracker-over-reports", "reference-points-removed", "outage/tracker"),
    _DISKS,
    _DISKS,
    (
        "user-checkpoint",
        "user-revert",
        "foreign-checkpoint",
        "machine-stopped",
        "machine-deleted",
    ),
    ("outage/repository",),
    ("clock-jump",),
    ("call-disturbed",),
)
"""Kinds by the class of events that they count for, and by whether a step is their moment.

A class is as likely as any other; what has an effect in few moments only is there twice.
"""
