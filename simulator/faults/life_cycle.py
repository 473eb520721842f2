"""The vocabulary of a machine's life: its disks, checkpoints and names, its beginning and end."""

from typing import Literal

from pydantic import Field

from simulator.faults.moments import OfDisk, OfMachine, Timed
from simulator.faults.quantities import Size, TimeSpan


class DiskReplaced(OfDisk):
    """A disk is detached, changed elsewhere and attached again; no tracker sees the changes."""

    kind: Literal["disk-replaced"]
    percent: int = Field(default=5, ge=1, le=100)


class DiskResized(OfDisk):
    """A disk grows, or shrinks to no less than it was at first, and its file system with it."""

    kind: Literal["disk-resized"]
    size: Size = Field(gt=0)


class SharedNothingMove(OfMachine):
    """A machine moves with its disks to another host's own volume, perhaps out of the cluster."""

    kind: Literal["shared-nothing-move"]
    target: str
    volume: str
    lasts: TimeSpan = Field(default=60_000_000, ge=0)


class MountGoesAstray(OfMachine):
    """A host resolves the path of a snapshot to the disk that the guest writes, for a while."""

    kind: Literal["mount-goes-astray"]
    lasts: TimeSpan = Field(default=600_000_000, gt=0)


class DiskAdded(OfMachine):
    """A disk is added to a running machine."""

    kind: Literal["disk-added"]
    volume: str
    size: Size = Field(gt=0)


class UserCheckpoint(OfMachine):
    """An administrator takes a checkpoint, to which a later `user-revert` goes back."""

    kind: Literal["user-checkpoint"]


class UserRevert(OfMachine):
    """An administrator goes back to the last checkpoint; no tracker sees what that changes."""

    kind: Literal["user-revert"]


class MachineRenamed(OfMachine):
    """A machine gets another name; it stays who it is."""

    kind: Literal["machine-renamed"]
    name: str


class MachineStopped(OfMachine):
    """A machine is shut down, and started again later."""

    kind: Literal["machine-stopped"]
    lasts: TimeSpan = Field(default=600_000_000, gt=0)


class MachineDeleted(OfMachine):
    """A machine is deleted, with its files."""

    kind: Literal["machine-deleted"]


class MachineCreated(Timed):
    """A new machine appears on a node, its one disk on a volume."""

    kind: Literal["machine-created"]
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    node: str
    volume: str
    size: Size = Field(default=1 << 20, gt=0)


class MachineCloned(OfMachine):
    """A copy of a machine, with an identity of its own, appears on a node."""

    kind: Literal["machine-cloned"]
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    node: str


class MachineImported(OfMachine):
    """A copy of a machine with the same identity runs on another node for a while."""

    kind: Literal["machine-imported"]
    node: str
    volume: str
    lasts: TimeSpan = Field(default=3_600_000_000, gt=0)


class SharedDisksClaimed(OfMachine):
    """Machines of a guest cluster claim to own a set of shared disks; the first of them writes."""

    kind: Literal["shared-disks-claimed"]
    owners: tuple[str, ...]


class TrackerLies(OfMachine):
    """A machine's trackers miss a share of the writes from now on, and say nothing."""

    kind: Literal["tracker-lies"]
    per_mille: int = Field(default=1, ge=0, le=1000)
