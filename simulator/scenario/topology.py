"""What a cluster of a scenario is made of: its nodes, its volumes, and the machines on them."""

from typing import Literal

from pydantic import Field

from simulator.faults.quantities import Size, TimeSpan
from simulator.faults.table import Strict
from simulator.scenario.orders import Image
from simulator.world.applications.application import Kind


class Node(Strict):
    """A host. Its clock is `clock_offset` wrong and drifts."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    clock_offset: TimeSpan = 0
    clock_drift_ppm: int = Field(default=0, ge=-1000, le=1000)
    back_end: Literal["E1", "E2", "E3"] | None = None
    """What this node's version can do, where it is not what the scenario says of all."""

    member: bool = True
    """False: a host outside of the cluster, without an agent until one appears."""

    switches: tuple[str, ...] = ()
    folder: str = Field(default="C:\\VMs", max_length=300)
    """Where it keeps the files of machines that are restored onto it."""


class Volume(Strict):
    """A Cluster Shared Volume."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    coordinator: str
    direct_mib_s: int = Field(default=200, ge=1)
    redirected_mib_s: int = Field(default=60, ge=1)
    pinned: bool = False
    local: bool = False
    """A disk of its coordinator's own: nobody else reaches it, machines on it do not fail over."""
    room: Size | None = Field(default=None, ge=0)
    """What is left on it for snapshots; without end where nothing is said."""

    snapshots: Literal["software", "storage"] = "software"
    """Whether its coordinator takes snapshots, or its storage, for one host's machines at once."""


class Disk(Strict):
    """A virtual disk; `image` puts a real disk image into it, which is never written."""

    volume: str
    size: Size | None = Field(default=None, gt=0)
    used_percent: int = Field(default=50, ge=0, le=100)
    image: Image | None = None
    diff_area: Size | None = Field(default=None, gt=0)
    """How much the guest's diff area on this disk may hold; enough where nothing is said."""


Obstacle = Literal["fat-volume", "dynamic-disk", "diff-area-elsewhere", "no-scsi-controller"]


class WriteProfile(Strict):
    """How a guest writes; shares in percent of its bursts."""

    bursts_per_hour: int = Field(default=120, ge=0, le=100_000)
    burst_cells: int = Field(default=4, ge=1, le=64)
    hot_percent: int = Field(default=40, ge=0, le=100)
    sequential_percent: int = Field(default=20, ge=0, le=100)
    rewrite_percent: int = Field(default=10, ge=0, le=100)
    trim_percent: int = Field(default=3, ge=0, le=100)


class VirtualMachine(Strict):
    """A machine to protect."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    node: str
    guest: Literal["vss", "fsfreeze", "none"] = "vss"
    obstacles: tuple[Obstacle, ...] = ()
    """Why its host would not bring its guest to rest while it runs."""

    physical_disks: int = Field(default=0, ge=0, le=16)
    """Disks of a host's storage that it reads directly, and that no snapshot reaches."""

    shared_by: tuple[str, ...] | None = None
    """It is a set of disks that a guest cluster shares, and these of its machines claim it."""

    switch: str | None = None
    """The virtual switch that it is connected to."""

    disks: list[Disk] = Field(min_length=1, max_length=16)
    writes: WriteProfile = WriteProfile()
    application: Kind | None = None
    """A program in the guest with data of its own: log on the first disk, tables on the second."""

    transactions_per_hour: int = Field(default=120, ge=1, le=3600)
    guest_clock_offset: TimeSpan = 0
    guest_clock_drift_ppm: int = Field(default=0, ge=-10_000, le=10_000)
