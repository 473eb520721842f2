"""Which kind of happening fell into which step of a backup: the table of what was tried at all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from reference_engine.model.identity import MachineId, NodeName, RunTag, VolumeName
from reference_engine.model.outcome import Step
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import (
    CoordinatorChanged,
    FaultInjected,
    MachinePlaced,
    MigrationStarted,
    NodeChanged,
)
from reference_engine.trace.engine import RunEnded, StepEntered, StepLeft
from simulator.scenario.schema import Scenario

MIGRATE: Final = "migrate"
COORDINATOR: Final = "coordinator move"
PARTITION: Final = "partition"
NODE_CRASH: Final = "node crash"
ENGINE_CRASH: Final = "engine crash"
FREEZE: Final = "freeze fault"
TRACKER: Final = "tracker fault"
DISK_CHANGE: Final = "disk change"
LIFE_CYCLE: Final = "VM life cycle"
HOST_CALL: Final = "host call fault"
OTHER: Final = "other"
CLASSES: Final = (
    MIGRATE,
    COORDINATOR,
    NODE_CRASH,
    PARTITION,
    FREEZE,
    TRACKER,
    DISK_CHANGE,
    LIFE_CYCLE,
    "repository fault",
    "clock",
)
"""The catalogue's classes of events."""

MORE_CLASSES: Final = (ENGINE_CRASH, HOST_CALL, OTHER)
"""What happens besides: the engine's own end, calls that fail, and what has no class yet."""

TOLD_BY_THEIR_FACTS: Final = (
    "live-migration",
    "node-drain",
    "coordinator-move",
    "node-crash",
    "engine-crash",
)
"""Kinds that count where they have an effect: a move to where a machine is already is none."""

CLASS_OF_KIND: Final[Mapping[str, str]] = {
    "call-disturbed/consistency": FREEZE,
    "call-disturbed/change_tracking": TRACKER,
    "call-disturbed/blob_store": "repository fault",
    "call-disturbed/host": HOST_CALL,
    "call-disturbed/cluster": HOST_CALL,
    "call-disturbed/disk_io": HOST_CALL,
    "quick-migration": MIGRATE,
    "storage-migration": MIGRATE,
    "placement-stale": MIGRATE,
    "volume-paused": COORDINATOR,
    "volume-slow": COORDINATOR,
    "redirection-dropped": COORDINATOR,
    "guest-thawed": FREEZE,
    "writer-failure": FREEZE,
    "foreign-snapshot": FREEZE,
    "tracker-lost": TRACKER,
    "tracker-over-reports": TRACKER,
    "reference-points-removed": TRACKER,
    "disk-replaced": DISK_CHANGE,
    "disk-added": DISK_CHANGE,
    "user-checkpoint": LIFE_CYCLE,
    "user-revert": LIFE_CYCLE,
    "foreign-checkpoint": LIFE_CYCLE,
    "machine-created": LIFE_CYCLE,
    "machine-cloned": LIFE_CYCLE,
    "machine-imported": LIFE_CYCLE,
    "tracker-lies": TRACKER,
    "node-full": HOST_CALL,
    "agent-appears": MIGRATE,
    "shared-nothing-move": MIGRATE,
    "mount-goes-astray": HOST_CALL,
    "volume-fills": COORDINATOR,
    "disk-resized": DISK_CHANGE,
    "machine-renamed": LIFE_CYCLE,
    "machine-stopped": LIFE_CYCLE,
    "machine-deleted": LIFE_CYCLE,
    "repository-power-cut": "repository fault",
    "object-damaged": "repository fault",
    "partition": PARTITION,
    "outage/guest": FREEZE,
    "outage/tracker": TRACKER,
    "outage/repository": "repository fault",
    "clock-jump": "clock",
    "machine-restored": LIFE_CYCLE,
    "point-mounted": OTHER,
    "items-taken": OTHER,
    "shared-disks-claimed": LIFE_CYCLE,
    "machine-run-from-point": LIFE_CYCLE,
    "replica-connected": OTHER,
    "node-lost": NODE_CRASH,
    "engine-twin": OTHER,
    "guest-writes": OTHER,
}
"""The class of a FaultInjected's kind."""

Cell = tuple[int, str]
"""A step's number and a class of events."""

_ENGINE: Final = NodeName("engine")


def cells_hit(scenario: Scenario, facts: Sequence[Fact], /) -> Counter[Cell]:
    """Return how often an event began while a run that it concerns was in a step."""
    whereabouts = _Whereabouts(scenario)
    hits: Counter[Cell] = Counter()
    for fact in facts:
        event = whereabouts.event(fact)
        if event is not None:
            event_class, machines = event
            for run, steps in whereabouts.steps.items():
                if machines is None or run.machine in machines:
                    hits.update((step, event_class) for step in steps)
        whereabouts.note(fact)
    return hits


class _Whereabouts:
    """Where machines, coordinators and runs are while the facts go by."""

    def __init__(self, scenario: Scenario) -> None:
        self.steps: dict[RunTag, set[Step]] = {}
        self._node: dict[MachineId, NodeName | None] = {}
        self._coordinator: dict[VolumeName, NodeName] = {}
        self._volumes = {
            MachineId(machine.name): {VolumeName(disk.volume) for disk in machine.disks}
            for machine in scenario.machines
        }

    def event(self, fact: Fact) -> tuple[str, frozenset[MachineId] | None] | None:
        """Return the fact's class and the machines concerned (None: all), if it is an event."""
        match fact:
            case MigrationStarted():
                return MIGRATE, frozenset({fact.machine})
            case CoordinatorChanged(why="balancer" | "failover"):
                return COORDINATOR, self._machines_on({fact.volume})
            case NodeChanged(node="engine", running=False):
                return ENGINE_CRASH, None
            case NodeChanged(running=False):
                return NODE_CRASH, self._concerned_by(fact.node)
            case FaultInjected() if fact.kind not in TOLD_BY_THEIR_FACTS:
                return CLASS_OF_KIND.get(fact.kind, OTHER), self._concerned(fact)
            case _:
                return None

    def _concerned(self, fact: FaultInjected) -> frozenset[MachineId] | None:
        if fact.kind == "partition" and fact.subject:
            return self._concerned_by(NodeName(fact.subject))
        machine = MachineId(fact.subject)
        return frozenset({machine}) if machine in self._volumes else None

    def _concerned_by(self, node: NodeName) -> frozenset[MachineId]:
        """Return the machines that run on a node, or on volumes that it coordinates."""
        led = {name for name, leader in self._coordinator.items() if leader == node}
        there = {name for name, owner in self._node.items() if owner == node}
        return self._machines_on(led) | there

    def _machines_on(self, volumes: set[VolumeName]) -> frozenset[MachineId]:
        return frozenset(name for name, used in self._volumes.items() if used & volumes)

    def note(self, fact: Fact) -> None:
        """Take the fact's effect."""
        match fact:
            case StepEntered():
                self.steps.setdefault(fact.run, set()).add(fact.step)
            case StepLeft():
                self.steps.get(fact.run, set()).discard(fact.step)
            case RunEnded():
                self.steps.pop(fact.run, None)
            case NodeChanged(running=False) if fact.node == _ENGINE:
                self.steps.clear()
            case MachinePlaced():
                self._node[fact.machine] = fact.node
            case CoordinatorChanged():
                self._coordinator[fact.volume] = fact.node
            case _:
                pass
