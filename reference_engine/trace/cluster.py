"""Facts about hosts, guests, volumes and the engine's machine, stated by whoever watches them."""

import msgspec

from reference_engine.model.identity import (
    DiskId,
    GuestSnapshotId,
    MachineId,
    NodeName,
    RecoveryPointId,
    ReferencePointId,
    RunTag,
    SnapshotId,
    VolumeName,
)
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import Instant


class MachinePlaced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The machine runs on this node from now on; `None`: it runs nowhere."""

    at: Instant
    machine: MachineId
    node: NodeName | None
    why: str
    """`start`, `live-migration`, `node-crash`, `failover`."""


class MachineSaved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The machine stands still for this run, its memory saved, until it is placed again."""

    at: Instant
    machine: MachineId
    node: NodeName
    run: RunTag


class MachinePaused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The machine is paused-critical: this run's checkpoint has filled its volume."""

    at: Instant
    machine: MachineId
    volume: VolumeName
    run: RunTag


class MigrationStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Live migration began its pre-copy."""

    at: Instant
    machine: MachineId
    source: NodeName
    target: NodeName


class MigrationEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Live migration is over; `blackout` is the instant at which the guest stood still."""

    at: Instant
    machine: MachineId
    source: NodeName
    target: NodeName
    blackout: Instant
    succeeded: bool


class CoordinatorChanged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """This node coordinates the volume from now on."""

    at: Instant
    volume: VolumeName
    node: NodeName
    why: str
    """`start`, `engine`, `balancer`, `failover`."""


class RedirectionChanged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Every write of the volume goes through the coordinator, or no longer does."""

    at: Instant
    volume: VolumeName
    redirected: bool


class NodeChanged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A node, or the engine's own machine (`engine`), went down or came up."""

    at: Instant
    node: NodeName
    running: bool
    why: str


class GuestFroze(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The guest's applications came to rest."""

    at: Instant
    machine: MachineId
    run: RunTag


class GuestSnapshotTaken(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The guest took its own snapshot: this is Tg. `clock` is what the guest's clock showed."""

    at: Instant
    machine: MachineId
    run: RunTag
    guest_snapshot: GuestSnapshotId
    clock: Instant


class GuestThawed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The guest's applications go on. `why`: `guest`, `engine`, `limit`, `power-off`."""

    at: Instant
    machine: MachineId
    why: str


class HostSnapshotTaken(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A host cut disks at one instant: this is Th. `clock` is what the host's clock showed."""

    at: Instant
    node: NodeName
    run: RunTag
    snapshot: SnapshotId
    disks: tuple[DiskId, ...]
    clock: Instant


class SnapshotReleased(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A snapshot or checkpoint is gone. `why`: `engine`, `node-crash`, `abort`."""

    at: Instant
    snapshot: SnapshotId
    run: RunTag
    why: str


class MapSwitched(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A node's change map was frozen under the run's tag, and an empty one started."""

    at: Instant
    node: NodeName
    disk: DiskId
    run: RunTag


class MapDropped(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A frozen map was forgotten. `why`: `engine`, or `node-crash`."""

    at: Instant
    node: NodeName
    disk: DiskId
    run: RunTag
    why: str


class MapMerged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A frozen map was joined with the running one."""

    at: Instant
    node: NodeName
    disk: DiskId
    run: RunTag


class ReferencePointCreated(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Change tracking can answer from this run's instant on."""

    at: Instant
    machine: MachineId
    point: ReferencePointId
    run: RunTag


class ReferencePointDropped(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Change tracking can no longer answer from this point."""

    at: Instant
    machine: MachineId
    point: ReferencePointId
    run: RunTag


class PointBecameVisible(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The repository lists the point from now on, whether or not its engine lived to hear it."""

    at: Instant
    point: RecoveryPoint


class PointsBecameInvisible(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The repository lists these points no more, whether or not its engine lived to say so."""

    at: Instant
    points: tuple[RecoveryPointId, ...]


class RunsForgotten(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A disk lost what said that later runs than these were opened; epoch 0: any at all."""

    at: Instant
    runs: tuple[RunTag, ...]


class FaultInjected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The simulator made something go wrong; `what` is the fault in the scenario's words."""

    at: Instant
    kind: str
    """The happening's kind; `call-disturbed/PORT` for a call that fails, hangs or is late."""

    subject: str
    """What it concerns: a machine, a volume, a node, or a kind of object; empty for all."""

    what: str


ClusterEvent = (
    MachinePlaced
    | MachineSaved
    | MachinePaused
    | MigrationStarted
    | MigrationEnded
    | CoordinatorChanged
    | RedirectionChanged
    | NodeChanged
    | GuestFroze
    | GuestSnapshotTaken
    | GuestThawed
    | HostSnapshotTaken
    | SnapshotReleased
    | MapSwitched
    | MapDropped
    | MapMerged
    | ReferencePointCreated
    | ReferencePointDropped
    | PointBecameVisible
    | PointsBecameInvisible
    | RunsForgotten
    | FaultInjected
)
