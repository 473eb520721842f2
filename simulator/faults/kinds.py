"""The vocabulary of what happens unasked: moves, crashes, silences, changes of disks."""

from typing import Annotated, Literal

from pydantic import Field

from simulator.faults.life_cycle import (
    DiskAdded,
    DiskReplaced,
    DiskResized,
    MachineCloned,
    MachineCreated,
    MachineDeleted,
    MachineImported,
    MachineRenamed,
    MachineStopped,
    MountGoesAstray,
    SharedDisksClaimed,
    SharedNothingMove,
    TrackerLies,
    UserCheckpoint,
    UserRevert,
)
from simulator.faults.moments import OfDisk, OfMachine, OfVolume, Timed
from simulator.faults.orders import (
    ItemsTaken,
    MachineRestored,
    MachineRunFromPoint,
    PointMounted,
    ReplicaConnected,
)
from simulator.faults.quantities import Size, TimeSpan
from simulator.faults.table import Strict


class LiveMigration(OfMachine):
    """A machine moves to another node while it runs, or, where it `fails`, stays after all."""

    kind: Literal["live-migration"]
    target: str
    pre_copy: TimeSpan = Field(default=10_000_000, ge=0)
    blackout: TimeSpan = Field(default=500_000, ge=0)
    fails: bool = False


class QuickMigration(OfMachine):
    """A machine is saved, moved and resumed: it stands still for the `downtime`."""

    kind: Literal["quick-migration"]
    target: str
    downtime: TimeSpan = Field(default=20_000_000, gt=0)


class StorageMigration(OfDisk):
    """A disk's file moves to another volume while the machine runs."""

    kind: Literal["storage-migration"]
    volume: str
    lasts: TimeSpan = Field(default=30_000_000, ge=0)


class NodeDrain(Timed):
    """An administrator drains a node: its machines live-migrate away, one after the other."""

    kind: Literal["node-drain"]
    node: str


class AgentAppears(Timed):
    """Somebody installs the agent, and the filter driver with it, on a host outside."""

    kind: Literal["agent-appears"]
    node: str


class VolumeFills(OfVolume):
    """Something else takes room on a volume for a while."""

    kind: Literal["volume-fills"]
    amount: Size = Field(gt=0)
    lasts: TimeSpan = Field(default=1_800_000_000, gt=0)


class NodeFull(Timed):
    """A node has no memory left for another machine, for a while."""

    kind: Literal["node-full"]
    node: str
    lasts: TimeSpan = Field(default=600_000_000, gt=0)


class PlacementStale(OfMachine):
    """The cluster names a wrong node as the machine's owner for a while."""

    kind: Literal["placement-stale"]
    node: str
    lasts: TimeSpan = Field(default=120_000_000, gt=0)


class CoordinatorMove(OfVolume):
    """A balancer or an administrator moves a volume's coordinator."""

    kind: Literal["coordinator-move"]
    target: str


class VolumePaused(OfVolume):
    """A volume pauses after an I/O error and resumes: until then nothing is read or written."""

    kind: Literal["volume-paused"]
    lasts: TimeSpan = Field(default=45_000_000, gt=0)


class VolumeSlow(OfVolume):
    """A volume keeps only a share of its speed for a while."""

    kind: Literal["volume-slow"]
    percent: int = Field(default=8, ge=1, le=100)
    lasts: TimeSpan = Field(default=300_000_000, gt=0)


class RedirectionDropped(OfVolume):
    """A volume falls back to direct writes although somebody asked for redirected ones."""

    kind: Literal["redirection-dropped"]


class ForeignSnapshot(OfVolume):
    """A second backup product has a snapshot in progress: the host takes no other one."""

    kind: Literal["foreign-snapshot"]
    lasts: TimeSpan = Field(default=120_000_000, gt=0)


class ForeignCheckpoint(OfMachine):
    """A checkpoint and a reference point that are not ours appear, and have to stay."""

    kind: Literal["foreign-checkpoint"]


class NodeCrash(Timed):
    """A node loses power; its machines restart elsewhere. `owner-of` a machine, or a name."""

    kind: Literal["node-crash"]
    node: str
    """A node's name, or `owner-of:MACHINE`: whichever node runs the machine then."""

    down_for: TimeSpan = Field(default=600_000_000, gt=0)


class NodeLost(Timed):
    """A node burns down: it never comes back, and the machines on its own volumes are gone."""

    kind: Literal["node-lost"]
    node: str


class Partition(Timed):
    """The network between two sides fails: calls do not arrive, and answers are lost.

    `node-engine`: the engine cannot reach the node. `node-cluster`: the node leaves the cluster,
    which starts its machines elsewhere and may lose its quorum. `engine-cluster`: the cluster's
    service does not answer the engine. `engine-repository`: the repository does not.
    """

    kind: Literal["partition"]
    cut: Literal["node-engine", "node-cluster", "engine-cluster", "engine-repository"]
    node: str | None = None
    """A node's name, or `owner-of:MACHINE`; only where the cut concerns a node."""

    lasts: TimeSpan = Field(default=120_000_000, gt=0)


class Outage(Timed):
    """A service fails from this moment on: it answers every call at once with an error.

    `guest`: the machine's integration service, whose end lets a frozen guest go on; `tracker`: its
    change tracking; `repository`: all of it.
    """

    kind: Literal["outage"]
    service: Literal["guest", "tracker", "repository"]
    machine: str | None = None
    """Whose service; the repository is everybody's."""

    lasts: TimeSpan = Field(default=120_000_000, gt=0)


class EngineCrash(Timed):
    """The engine's own machine loses power, and comes back with nothing in memory."""

    kind: Literal["engine-crash"]
    down_for: TimeSpan = Field(default=60_000_000, gt=0)


class EngineTwin(Timed):
    """A second engine takes over although the first one lives on, `cut_off` for a while."""

    kind: Literal["engine-twin"]
    cut_off: TimeSpan = Field(default=0, ge=0)
    """How long the first engine's calls hang; then it goes on as if nothing had happened."""

    ends_after: TimeSpan = Field(default=1_200_000_000, gt=0)
    """When somebody switches the first engine off."""


class GuestWrites(OfMachine):
    """The guest writes a cell that it writes at no other time: a lost change stays visible."""

    kind: Literal["guest-writes"]


class GuestSilence(Strict):
    """The guest does not answer a freeze in time; `late` says how long after the call it acts."""

    kind: Literal["guest-silence"]
    machine: str
    occurrence: int = Field(default=1, ge=1)
    late: TimeSpan | None = None


class GuestThawed(OfMachine):
    """Somebody in the guest lets it go on: a watchdog, an administrator with `fsfreeze -u`."""

    kind: Literal["guest-thawed"]


class WriterFailure(Strict):
    """A writer in the guest fails at the freeze, and says which one it is."""

    kind: Literal["writer-failure"]
    machine: str
    writer: str
    occurrence: int = Field(default=1, ge=1)
    times: int = Field(default=1, ge=1, le=100)


class CallDisturbed(Strict):
    """A call, or `times` calls in a row, fail, lose their answers, are late, or hang."""

    kind: Literal["call-disturbed"]
    subject: str
    operation: str
    occurrence: int = Field(default=1, ge=1)
    times: int = Field(default=1, ge=1, le=1000)
    answer: Literal["fail", "lose", "hang", "delay"]
    delay: TimeSpan = Field(default=0, ge=0)


class ObjectDamaged(Timed):
    """The repository's newest object of a kind rots: it is lost, or its bytes change.

    Of `maps` and `manifests`, of which everything is stored twice, both copies do: those of the
    newest point's manifest. Of `points`, the newest manifest as well, only one does.
    """

    kind: Literal["object-damaged"]
    objects: Literal["packs", "points", "maps", "manifests"]
    damage: Literal["lost", "flipped"] = "lost"


class RepositoryPowerCut(Timed):
    """The engine's machine, with the repository's disk, loses power, and the disk had lied.

    The newest objects, which were called durable, are gone; the oldest of them may be torn.
    """

    kind: Literal["repository-power-cut"]
    loses: int = Field(ge=1, le=100)
    torn: bool = False
    down_for: TimeSpan = Field(default=60_000_000, gt=0)


class TrackerLost(OfMachine):
    """A machine's trackers lose what they knew: a driver reload, a damaged RCT."""

    kind: Literal["tracker-lost"]


class TrackerOverReports(OfMachine):
    """A machine's trackers say that everything was written."""

    kind: Literal["tracker-over-reports"]


class ReferencePointsRemoved(OfMachine):
    """A second backup product removes our reference points, or resets the filter's maps."""

    kind: Literal["reference-points-removed"]


class ClockJump(Timed):
    """The clock of a node, or of a machine's guest, is set `by` forwards or backwards."""

    kind: Literal["clock-jump"]
    clock: str
    by: TimeSpan


Happening = Annotated[
    LiveMigration
    | QuickMigration
    | StorageMigration
    | NodeDrain
    | NodeFull
    | AgentAppears
    | VolumeFills
    | SharedNothingMove
    | SharedDisksClaimed
    | MountGoesAstray
    | DiskResized
    | MachineCreated
    | MachineCloned
    | MachineImported
    | TrackerLies
    | PlacementStale
    | CoordinatorMove
    | VolumePaused
    | VolumeSlow
    | RedirectionDropped
    | ForeignSnapshot
    | ForeignCheckpoint
    | NodeCrash
    | NodeLost
    | Partition
    | Outage
    | EngineCrash
    | EngineTwin
    | GuestWrites
    | GuestSilence
    | GuestThawed
    | WriterFailure
    | CallDisturbed
    | ObjectDamaged
    | RepositoryPowerCut
    | TrackerLost
    | TrackerOverReports
    | ReferencePointsRemoved
    | ClockJump
    | DiskReplaced
    | DiskAdded
    | UserCheckpoint
    | UserRevert
    | MachineRenamed
    | MachineStopped
    | MachineDeleted
    | MachineRestored
    | PointMounted
    | ItemsTaken
    | ReplicaConnected
    | MachineRunFromPoint,
    Field(discriminator="kind"),
]
