"""What may happen around a call, in the words of scenario files."""

from functools import lru_cache
from typing import Any, Final

import msgspec
from pydantic import TypeAdapter

from reference_engine.model.errors import InputRefusedError
from reference_engine.model.identity import MachineId, NodeName
from simulator.faults.kinds import Happening
from simulator.world.cluster import World

_HAPPENING: Final[TypeAdapter[Happening]] = TypeAdapter(Happening)
_OTHER_NODE: Final = "the node that does not run the machine"
_OWNER: Final = "the node that runs the machine"
_MACHINE: Final = "the machine"
_VOLUME: Final = "the volume"

_OF_MACHINE: Final = {"machine": _MACHINE}
_WORLD: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "guest-writes": (_OF_MACHINE,),
    "live-migration": ({**_OF_MACHINE, "target": _OTHER_NODE, "pre_copy": "0s"},),
    "coordinator-move": ({"volume": _VOLUME, "target": _OTHER_NODE},),
    "node-crash": ({"node": _OWNER, "down_for": "5m"},),
    "tracker-lost": (_OF_MACHINE,),
    "tracker-over-reports": (_OF_MACHINE,),
    "reference-points-removed": (_OF_MACHINE,),
    "quick-migration": ({**_OF_MACHINE, "target": _OTHER_NODE},),
    "placement-stale": ({**_OF_MACHINE, "node": _OTHER_NODE, "lasts": "1m"},),
    "volume-paused": ({"volume": _VOLUME, "lasts": "20s"},),
    "redirection-dropped": ({"volume": _VOLUME},),
    "foreign-snapshot": ({"volume": _VOLUME, "lasts": "30s"},),
    "foreign-checkpoint": (_OF_MACHINE,),
    "user-checkpoint": (_OF_MACHINE,),
    "user-revert": (_OF_MACHINE,),
    "disk-replaced": (_OF_MACHINE,),
    "disk-added": ({**_OF_MACHINE, "volume": _VOLUME, "size": "65024 B"},),
    "machine-stopped": ({**_OF_MACHINE, "lasts": "2m"},),
    "machine-deleted": (_OF_MACHINE,),
    "guest-thawed": (_OF_MACHINE,),
    "clock-jump": ({"clock": _OWNER, "by": "1h"}, {"clock": _OWNER, "by": "-1h"}),
    "engine-twin": ({"ends_after": "15m"},),
}
"""By kind: the forms in which it is tried, at any call to the cluster."""

_ENGINE: Final = "engine-crash"
_CALL: Final = "call-disturbed"
_FREEZE: Final = ("guest-silence", "writer-failure")
_ANSWERS: Final = ({"answer": "fail"}, {"answer": "lose"}, {"answer": "hang"})
_INSIDE: Final = {
    "freeze": ("21ms",),
    "take_snapshot": ("1s", "2035ms"),
    "take_checkpoint": ("60ms",),
}
"""Calls that last: how far into them something may happen as well; in a hold, a preparation."""

KINDS: Final = (*_WORLD, _ENGINE, _CALL, *_FREEZE)
COMMON: Final = (
    "guest-writes",
    "live-migration",
    "coordinator-move",
    "node-crash",
    "engine-crash",
    "guest-silence",
    "tracker-lost",
    "call-disturbed",
)
"""What is searched where nothing else is asked for."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the engine: the k-th of an operation on a subject."""

    subject: str
    operation: str
    occurrence: int
    cluster: bool
    """Whether it concerns a machine or a volume, not the repository."""


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """Something that may happen at a call; names that depend on the world are still open."""

    kind: str
    fields: dict[str, Any]
    when: str = ""
    """Before or after the call; empty for what is the call's own answer."""

    delay: str = "0s"


def check_kinds(kinds: tuple[str, ...], /) -> None:
    """Refuse kinds that are not tried around calls.

    Raises:
        InputRefusedError: one of them is not.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise InputRefusedError(
                f"{kind!r} is no kind of happening that schedules are made of",
                f"choose from {', '.join(KINDS)}",
            )


def options_at(place: Place, kinds: tuple[str, ...], /) -> tuple[Option, ...]:
    """Return what may happen at a call, the same for all calls of its operation."""
    commit = place.subject == "log" and place.operation == "create"
    return _options(kinds, place.operation, world=place.cluster or commit)


@lru_cache(maxsize=4096)
def _options(kinds: tuple[str, ...], operation: str, *, world: bool) -> tuple[Option, ...]:
    found: list[Option] = []
    for kind in kinds:
        if kind in _WORLD and world:
            for fields in _WORLD[kind]:
                found.append(Option(kind=kind, fields=fields, when="before"))
                found += [
                    Option(kind=kind, fields=fields, when="before", delay=delay)
                    for delay in _INSIDE.get(operation, ())
                ]
        elif kind == _ENGINE:
            found += [
                Option(kind=kind, fields={"down_for": "1m"}, when=when)
                for when in ("before", "after")
            ]
        elif kind == _CALL:
            found += [Option(kind=kind, fields=fields) for fields in _ANSWERS]
        elif kind == "guest-silence" and operation == "freeze":
            found += [Option(kind=kind, fields={}), Option(kind=kind, fields={"late": "30s"})]
        elif kind == "writer-failure" and operation == "freeze":
            found.append(Option(kind=kind, fields={"writer": "SqlServerWriter"}))
    return tuple(found)


def happening_of(option: Option, place: Place, world: World, /) -> Happening:
    """Return the happening, with the names that fit the world in this instant."""
    machine = world.machines.get(MachineId(place.subject)) or next(iter(world.machines.values()))
    owner = machine.home or machine.last_node or next(iter(world.nodes))
    names = {
        _MACHINE: str(machine.id),
        _VOLUME: str(machine.disks[0].volume),
        _OWNER: str(owner),
        _OTHER_NODE: str(_other(owner, world)),
    }
    fields = {
        key: names.get(value, value) if isinstance(value, str) else value
        for key, value in option.fields.items()
    }
    if option.kind == "coordinator-move":
        fields["target"] = str(_other(world.volumes[machine.disks[0].volume].coordinator, world))
    if option.when:
        fields["on"] = {
            "subject": place.subject,
            "operation": place.operation,
            "occurrence": place.occurrence,
            "when": option.when,
            "delay": option.delay,
        }
    elif option.kind in _FREEZE:
        fields |= {"machine": place.subject, "occurrence": place.occurrence}
    else:
        fields |= {
            "subject": place.subject,
            "operation": place.operation,
            "occurrence": place.occurrence,
        }
    return _HAPPENING.validate_python({"kind": option.kind, **fields})


def _other(node: NodeName, world: World) -> NodeName:
    return next(name for name in world.nodes if name != node)
