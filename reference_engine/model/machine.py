"""A virtual machine as a host describes it to the engine."""

import enum

import msgspec

from reference_engine.model.identity import DiskId, MachineId, NodeName, VolumeName
from reference_engine.model.units import ByteCount


class BackEnd(enum.StrEnum):
    """How a host takes the snapshot that is read. Source: Microsoft, "Hyper-V backup" history."""

    HOST_SNAPSHOT = "E1"
    """2008 to 2012: a host VSS snapshot after the guest's, reverted to the guest's instant."""

    CHECKPOINT = "E2"
    """2012 R2: a checkpoint at the guest's instant, and nothing that tells what changed."""

    REFERENCE_POINT = "E3"
    """2016 and later: a production checkpoint, Resilient Change Tracking in the disk file."""

    DISK_FILE = "file"
    """No hypervisor: a disk file that nobody writes while it is read."""


class GuestKind(enum.StrEnum):
    """What inside the guest can bring applications to rest."""

    VSS = "vss"
    """Windows writers: frozen for the instant of the guest's own snapshot, which lives on."""

    FSFREEZE = "fsfreeze"
    """Linux: file systems stay frozen until they are told to thaw."""

    NONE = "none"
    """Nothing: only crash-consistent points."""


class VirtualDisk(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of a machine. `size` is in bytes, a multiple of 512."""

    id: DiskId
    size: ByteCount
    volume: VolumeName
    lineage: str = ""
    """Differs once the content was changed past every tracker: detached and changed elsewhere,
    reverted, or cut off as the disk became smaller. Empty where nothing can tell. Source: MS-VHDX,
    DataWriteGuid."""


class NetworkAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine is connected. Source: Msvm_SyntheticEthernetPortSettingData."""

    switch: str
    """The virtual switch of its host, by name; empty: connected to none."""

    address: str
    """The MAC address, twelve hexadecimal digits."""


class Machine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run has to protect: the machine's configuration as read at the run's start."""

    id: MachineId
    name: str
    guest: GuestKind
    back_end: BackEnd
    disks: tuple[VirtualDisk, ...]
    obstacles: tuple[str, ...] = ()
    """Why the host would not bring the guest to rest while it runs: a FAT volume, a dynamic disk,
    no SCSI controller. Source: the Hyper-V VSS writer's conditions, its event 10103."""

    unprotected: tuple[str, ...] = ()
    """What the machine reads and no snapshot of its host reaches: physical disks, disks that
    another machine of a guest cluster owns."""

    adapters: tuple[NetworkAdapter, ...] = ()
    owners: tuple[MachineId, ...] | None = None
    """Of a set of shared disks: the machines of the guest cluster that claim to own it now. None:
    it is no such set. Source: VHD Set, MSCluster_Resource.OwnerNode in the guest."""

    def disk(self, disk: DiskId, /) -> VirtualDisk:
        """Return the disk with this identity, which the machine has."""
        return next(found for found in self.disks if found.id == disk)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cluster says that a machine is. A claim: the node itself has the last word."""

    machine: MachineId
    owner: NodeName
    generation: int
    """Differs after every move or restart: it tells a move there and back from no move."""

    settled: bool
    """False while it migrates, starts or fails over."""

    others: tuple[NodeName, ...] = ()
    """Further hosts that have a machine of this identity: a copy was imported with it."""


class VolumeState(msgspec.Struct, frozen=True, kw_only=True):
    """Which node coordinates a Cluster Shared Volume, and how the others reach it."""

    volume: VolumeName
    coordinator: NodeName
    preferred: NodeName
    """The node that should coordinate it when nobody has a reason against it."""

    settled: bool = True
    """False while its coordinator is changing: no snapshot can be taken of it."""

    redirections: int = 0
    """How often the volume fell back to direct writes or changed its coordinator: it tells a
    redirection that lasted from one that was lost and asked for again."""

    free: ByteCount | None = None
    """How much room is left; None where nobody says."""

    one_host: bool = False
    """True where the storage itself takes the snapshots, for the machines of one host at a time
    and through that host. Source: VSS hardware providers."""

    redirected: bool
    """True while every write goes through the coordinator (CSV v1 during a snapshot)."""

    direct_rate: ByteCount
    """Bytes a second that a direct reader can expect."""

    redirected_rate: ByteCount
    """Bytes a second that a reader through the coordinator can expect."""
