"""What happens to the cluster in a night that never happened: crashes, moves, failovers."""

import bisect
from typing import Final

import numpy as np

from reference_engine.model.identity import MachineId, NodeName, VolumeName
from reference_engine.model.units import HOUR, MINUTE, SECOND, Instant
from reference_engine.reporting.night import NightMachine
from reference_engine.trace import Event
from reference_engine.trace.cluster import (
    CoordinatorChanged,
    FaultInjected,
    MachinePlaced,
    MigrationEnded,
    MigrationStarted,
    NodeChanged,
    RedirectionChanged,
)

NODES: Final = tuple(NodeName(name) for name in ("hv1", "hv2", "hv3"))
VOLUMES: Final = tuple(VolumeName(name) for name in ("csv-1", "csv-2"))
NODE_CRASH: Final = (Instant(3 * HOUR + 20 * MINUTE), Instant(3 * HOUR + 52 * MINUTE))
ENGINE_CRASH: Final = (Instant(6 * HOUR + 10 * MINUTE), Instant(6 * HOUR + 15 * MINUTE))
MIGRATIONS: Final = (
    (35, 2, "hv2"),
    (58, 0, "hv3"),
    (110, 4, "hv1"),
    (150, 5, "hv3"),
    (171, 7, "hv1"),
    (262, 10, "hv3"),
    (270, 2, "hv3"),
    (276, 8, "hv3"),
    (340, 1, "hv3"),
    (415, 6, "hv2"),
    (480, 2, "hv1"),
    (533, 11, "hv3"),
    (600, 9, "hv2"),
    (655, 3, "hv3"),
)
"""Minute, machine, target."""

COORDINATORS: Final = ((90, 0, "hv2"), (200, 1, "hv1"), (330, 0, "hv1"), (505, 1, "hv3"))
"""Minute, volume, node."""


def cluster_events(
    machines: tuple[NightMachine, ...], chance: np.random.Generator, /
) -> list[Event]:
    """Return what nodes, volumes and the placement of machines went through, in no order."""
    cluster = _Cluster(machines, chance)
    cluster.cluster()
    return cluster.events


class _Cluster:
    """Gathers the cluster's events."""

    def __init__(self, machines: tuple[NightMachine, ...], chance: np.random.Generator) -> None:
        self.machines = machines
        self.chance = chance
        self.events: list[Event] = []

    def cluster(self) -> None:
        for number, volume in enumerate(VOLUMES):
            self.events.append(
                CoordinatorChanged(at=Instant(0), volume=volume, node=NODES[number], why="start")
            )
        for minute, number, node in COORDINATORS:
            at = Instant(minute * MINUTE)
            volume = VOLUMES[number]
            self.events += [
                CoordinatorChanged(at=at, volume=volume, node=NodeName(node), why="balancer"),
                RedirectionChanged(at=at, volume=volume, redirected=True),
                RedirectionChanged(at=Instant(at + 9 * MINUTE), volume=volume, redirected=False),
            ]
        for number, machine in enumerate(self.machines):
            self.residency(number, machine)
        down, up = NODE_CRASH
        self.events += [
            FaultInjected(at=down, kind="node-crash", subject="hv3", what="hv3 loses power"),
            NodeChanged(at=down, node=NODES[2], running=False, why="node-crash"),
            NodeChanged(at=up, node=NODES[2], running=True, why="boot"),
        ]
        down, up = ENGINE_CRASH
        self.events += [
            FaultInjected(at=down, kind="engine-crash", subject="", what="the engine is killed"),
            NodeChanged(at=down, node=NodeName("engine"), running=False, why="killed"),
            NodeChanged(at=up, node=NodeName("engine"), running=True, why="boot"),
        ]

    def residency(self, number: int, machine: NightMachine) -> None:
        assert machine.node is not None, machine
        node = machine.node
        crash = NODE_CRASH[0]
        moves = [
            (Instant(minute * MINUTE), NodeName(target))
            for minute, mover, target in MIGRATIONS
            if mover == number
        ]
        for at, target in sorted([*moves, (crash, NODES[0])]):
            if at == crash:
                if self.where(machine.id, node, crash) == NODES[2]:
                    back = Instant(crash + 140 * SECOND + number * 11 * SECOND)
                    self.placed(crash, machine.id, None, "node-crash")
                    self.placed(back, machine.id, NODES[number % 2], "failover")
                continue
            source = self.where(machine.id, node, at)
            if source == target:
                continue
            end = Instant(at + int(self.chance.integers(90, 360)) * SECOND)
            blackout = Instant(end - SECOND // 3)
            self.events += [
                MigrationStarted(at=at, machine=machine.id, source=source, target=target),
                MigrationEnded(
                    at=end,
                    machine=machine.id,
                    source=source,
                    target=target,
                    blackout=blackout,
                    succeeded=number != 11,
                ),
            ]
            if number != 11:
                self.placed(end, machine.id, target, "live-migration")

    def placed(self, at: Instant, machine: MachineId, node: NodeName | None, why: str) -> None:
        self.events.append(MachinePlaced(at=at, machine=machine, node=node, why=why))

    def where(self, machine: MachineId, first: NodeName, at: Instant) -> NodeName:
        known = sorted(
            (event.at, event.node)
            for event in self.events
            if isinstance(event, MachinePlaced) and event.machine == machine and event.node
        )
        behind = bisect.bisect_right(known, (at, NodeName("~")))
        return known[behind - 1][1] if behind else first
