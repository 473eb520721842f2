"""Facts that the engine states about its own runs."""

import msgspec

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    GuestSnapshotId,
    MachineId,
    NodeName,
    OrderId,
    RecoveryPointId,
    RunTag,
    SnapshotId,
    VolumeName,
)
from reference_engine.model.machine import Machine
from reference_engine.model.outcome import Outcome, Step
from reference_engine.model.recovery_point import Consistency, RecoveryPoint, Transfer
from reference_engine.model.restore_order import RestoreOrder
from reference_engine.model.units import ByteCount, Instant


class RunOpened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A run got its epoch; older runs of the machine can no longer commit."""

    at: Instant
    run: RunTag
    base: RecoveryPointId | None


class StepEntered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The run began this step."""

    at: Instant
    run: RunTag
    step: Step


class StepLeft(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The run finished this step without an error."""

    at: Instant
    run: RunTag
    step: Step


class OwnerResolved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The node that runs the machine confirmed it."""

    at: Instant
    run: RunTag
    node: NodeName


class RouteChosen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How the run reads one volume: `direct`, `move` (coordinator moved here), `redirected`."""

    at: Instant
    run: RunTag
    volume: VolumeName
    route: str
    reason: str


class FreezeAnswered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The guest froze (`guest_snapshot` set), or did not (`cause` set)."""

    at: Instant
    run: RunTag
    guest_snapshot: GuestSnapshotId | None
    cause: str


class MachineStaysSaved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An alarm: the machine was saved for this run, and no node could resume it."""

    at: Instant
    run: RunTag
    cause: str


class SnapshotTaken(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The host cut these disks at one instant."""

    at: Instant
    run: RunTag
    snapshot: SnapshotId
    disks: tuple[DiskId, ...]


class SkewRecorded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What of one disk was put back to the guest's instant, and what has no content."""

    at: Instant
    run: RunTag
    disk: DiskId
    skew: ExtentSet
    mask: ExtentSet


class DeltaEnumerated(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What of one disk will be read, why, and on whose word."""

    at: Instant
    run: RunTag
    disk: DiskId
    base: RecoveryPointId | None
    transfer: Transfer
    extents: ExtentSet
    sources: tuple[str, ...]


class BlocksSampled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`sampled` of `population` untracked blocks were compared; `wrong` differ from the base."""

    at: Instant
    run: RunTag
    disk: DiskId
    sampled: int
    population: int
    wrong: int


class DiskCopied(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One disk's blocks are in the repository; `sent` holds those that were new to it."""

    at: Instant
    run: RunTag
    disk: DiskId
    bytes_read: ByteCount
    bytes_sent: ByteCount
    sent: ExtentSet


class PointCommitted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The point is visible, whole, and can be restored."""

    at: Instant
    run: RunTag
    point: RecoveryPoint


class RunEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One attempt is over; `cause` says why where the outcome is not OK."""

    at: Instant
    run: RunTag
    outcome: Outcome
    cause: str
    point: RecoveryPointId | None
    consistency: Consistency | None


class JobEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """All attempts of one slot of the schedule are over."""

    at: Instant
    machine: MachineId
    slot: int
    outcome: Outcome
    attempts: int
    cause: str


class MachineDiscovered(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The machine is new in the cluster, and protected from now on."""

    at: Instant
    machine: MachineId


class MachineQuarantined(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An alarm: these hosts have a machine of this identity that is not the one protected."""

    at: Instant
    machine: MachineId
    nodes: tuple[NodeName, ...]


class PointsExpired(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No rule keeps these points: they exist no more."""

    at: Instant
    points: tuple[RecoveryPointId, ...]


class SpaceReclaimed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """So many objects that no point needs were deleted."""

    at: Instant
    objects: int


class UpkeepDeferred(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Nothing, or not everything, could be expired or deleted now."""

    at: Instant
    cause: str


class RunsFenced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From now on no run before this epoch can commit; no run of this epoch will."""

    at: Instant
    run: RunTag


class RestoreBegan(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An order is carried out: this point's disks are written into files of a host."""

    at: Instant
    order: RestoreOrder
    point: RecoveryPointId


class DiskRestored(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One disk of the point is in its file, read back and compared."""

    at: Instant
    order: OrderId
    disk: DiskId
    bytes_written: ByteCount
    resumed: bool
    """Whether an earlier attempt had left a part of it."""


class RestoreEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An order is done, or came to nothing; `rewritten` names what is not as it was captured."""

    at: Instant
    order: OrderId
    outcome: Outcome
    cause: str
    machine: Machine | None
    rewritten: tuple[str, ...]


class PointReplicated(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The point is in the second repository as well."""

    at: Instant
    machine: MachineId
    point: RecoveryPointId


class ReplicationEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The second repository has every point, or cannot be reached any more."""

    at: Instant
    outcome: Outcome
    points: int
    cause: str


class SlotsMissed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """These slots, from the first up to the last, were over before they could be run."""

    at: Instant
    machine: MachineId
    first: int
    last: int
    cause: str


class VolumesTaken(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The run counts towards the limits of a node and of these volumes from now on."""

    at: Instant
    run: RunTag
    node: NodeName
    volumes: tuple[VolumeName, ...]


class VolumesReleased(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The run no longer counts towards any limit."""

    at: Instant
    run: RunTag


class LeftoversCleared(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What dead runs had left on the hosts is gone; each entry says what was found."""

    at: Instant
    machine: MachineId
    found: tuple[str, ...]


EngineEvent = (
    RunOpened
    | StepEntered
    | StepLeft
    | OwnerResolved
    | RouteChosen
    | FreezeAnswered
    | MachineStaysSaved
    | SnapshotTaken
    | SkewRecorded
    | DeltaEnumerated
    | BlocksSampled
    | DiskCopied
    | PointCommitted
    | RunEnded
    | JobEnded
    | LeftoversCleared
    | MachineDiscovered
    | MachineQuarantined
    | PointsExpired
    | SpaceReclaimed
    | UpkeepDeferred
    | RunsFenced
    | SlotsMissed
    | PointReplicated
    | ReplicationEnded
    | RestoreBegan
    | DiskRestored
    | RestoreEnded
    | VolumesTaken
    | VolumesReleased
)
