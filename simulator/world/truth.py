"""What the oracle may know: every write, and every disk at every instant that mattered."""

import msgspec

from reference_engine.model.identity import (
    DiskId,
    GuestSnapshotId,
    MachineId,
    NodeName,
    OrderId,
    RunTag,
    SnapshotId,
)
from reference_engine.model.machine import Machine
from reference_engine.model.units import Instant
from simulator.world.stamps import TRIMMED, Cells, StampImage, Stamps


class WriteBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Writes of one disk in write order; each cell is named once."""

    disk: DiskId
    node: NodeName
    """The node through which they went."""

    cells: Cells
    stamps: Stamps


def first_stamp(batch: WriteBatch, /) -> int:
    """Return the number of the batch's first write."""
    return int(batch.stamps[0]) & (TRIMMED - 1)


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The disks of a machine as somebody cut them."""

    run: RunTag
    at: Instant
    clock: Instant
    """What the clock of the machine that cut them showed."""

    stamp: int
    """The machine's newest write at that instant."""

    images: dict[DiskId, StampImage]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A disk's size from `stamp` of its machine's order on, until the next one.

    A resize has a stamp of its own, so that a cut is before it or behind it.
    """

    stamp: int
    size: int
    cells: int


class Milestone(msgspec.Struct, frozen=True, kw_only=True):
    """How far a machine's application had come with one of its machine's writes."""

    stamp: int
    committed: int
    """The last transaction that nothing can undo any more."""

    begun: int
    """The last transaction of which anything was written."""


class Landing(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that was made of restored disks, as its host took it over."""

    order: OrderId
    machine: Machine
    contents: tuple[bytes, ...]
    """Of its disks, in order, in that instant."""

    replaced: bool
    """Whether a machine of the same identity had to go for it."""


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one simulation. Append-only; the world writes it, only the oracle reads it."""

    writes: dict[MachineId, list[WriteBatch]]
    guest_cuts: dict[GuestSnapshotId, Cut]
    host_cuts: dict[SnapshotId, Cut]
    switched: dict[tuple[RunTag, DiskId], StampImage]
    """The live disk at the instant at which this run's tracker was switched."""

    diff_areas: dict[tuple[RunTag, DiskId], Cells]
    """Where the guest's diff area lay on the disk when the host cut it."""

    depths: list[tuple[RunTag, int]]
    """How many difference disks a machine had when a run took its checkpoint."""

    milestones: dict[MachineId, list[Milestone]]
    """How far each application came, in write order."""

    initial: dict[DiskId, StampImage]
    sizes: dict[DiskId, int]
    """At first."""

    lied: dict[DiskId, list[tuple[int, int]]]
    """The writes, by their first and last stamp, that no tracker noted."""

    of_twins: list[SnapshotId]
    """Snapshots of machines that only claim to be one that is protected."""

    shapes: dict[DiskId, list[Shape]]
    """Every later size of a disk."""

    landings: list[Landing]
    """Every machine that came back from the repository."""

    def size(self, disk: DiskId, stamp: int, /) -> int:
        """Return the disk's size at this stamp of its machine."""
        later = [shape.size for shape in self.shapes.get(disk, []) if shape.stamp <= stamp]
        return later[-1] if later else self.sizes[disk]


def empty_truth() -> Truth:
    """Return a record in which nothing has happened."""
    return Truth(
        writes={},
        guest_cuts={},
        host_cuts={},
        switched={},
        diff_areas={},
        depths=[],
        milestones={},
        initial={},
        sizes={},
        lied={},
        of_twins=[],
        shapes={},
        landings=[],
    )
