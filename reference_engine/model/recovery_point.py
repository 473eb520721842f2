"""A recovery point: what it claims, and the provenance that makes the claim checkable."""

import enum

import msgspec

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    GuestSnapshotId,
    MachineId,
    RecoveryPointId,
    ReferencePointId,
    RunTag,
    SnapshotId,
)
from reference_engine.model.machine import Machine
from reference_engine.model.units import ByteCount, Duration, Instant


class Consistency(enum.StrEnum):
    """What a point claims about the instant that it shows."""

    APPLICATION = "application"
    """The guest's own snapshot at Tg, bit for bit outside the stated mask."""

    SAVED = "saved-state"
    """All disks while the machine stood still with its memory saved: what it went on from."""

    CRASH = "crash"
    """One cut through the write order of all disks, as after a power failure."""


class TransferKind(enum.StrEnum):
    """How the blocks of one disk came to be known."""

    FULL = "full"
    INCREMENTAL = "incremental"
    COMPARE = "compare"


class TransferReason(enum.StrEnum):
    """Why a disk was not, or could be, copied incrementally."""

    FIRST = "first-point"
    TRACKED = "tracked"
    NO_TRACKER = "no-tracker"
    TRACKER_LOST = "tracker-lost"
    TRACKER_AHEAD = "tracker-ahead-of-base"
    TRACKER_LIED = "tracker-lied"
    TRACKER_UNREACHABLE = "tracker-node-unreachable"
    DISK_REPLACED = "disk-replaced"
    DISK_RESIZED = "disk-resized"
    BACK_END_CHANGED = "back-end-changed"


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """The decision for one disk, with its reason."""

    kind: TransferKind
    reason: TransferReason


class DiskRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one disk of a point is, and how it came about."""

    disk: DiskId
    size: ByteCount
    transfer: Transfer
    snapshot: SnapshotId
    sources: tuple[str, ...]
    """The trackers that spoke: node names (E1) or a reference point (E3)."""

    skew: ExtentSet
    """R: the bytes in which this image differs from the live disk at the tracker switch."""

    mask: ExtentSet
    """Bytes that hold no content at the point's instant (the guest's diff area); they are zero."""

    bytes_read: ByteCount
    bytes_sent: ByteCount
    """Bytes new to the repository, before compression."""

    digest: str
    """Root digest over the whole disk's content, hexadecimal."""

    sampled: int = 0
    """How many blocks that the trackers call unchanged were compared with the base."""

    population: int = 0
    """Out of how many."""

    doubted: tuple[RecoveryPointId, ...] = ()
    """Earlier points that rest on the word of a tracker that was found to lie."""


class RecoveryPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One restorable instant of one machine, with its provenance."""

    id: RecoveryPointId
    machine: Machine
    run: RunTag
    base: RecoveryPointId | None
    consistency: Consistency
    downgrade: str
    """Why the point is not application-consistent; empty when it is."""

    instant: Instant
    """The clock reading that belongs to the data: the guest's at Tg, or the host's at Th."""

    guest_instant: Instant | None
    host_instant: Instant
    guest_snapshot: GuestSnapshotId | None
    tracker: ReferencePointId | None
    """The reference point from which the next run may ask for changes (E3)."""

    disks: tuple[DiskRecord, ...]
    downtime: Duration | None = None
    """For how long the machine was saved for it; None where it ran all the time."""

    engine_instant: Instant | None = None
    """What the engine's own clock showed shortly before the commit."""

    @property
    def made(self) -> Instant:
        """When the point counts as made: by the later clock of the two, so that it is no older."""
        return max(self.host_instant, self.engine_instant or self.host_instant)

    @property
    def machine_id(self) -> MachineId:
        """The machine's identity."""
        return self.machine.id

    def disk(self, disk: DiskId, /) -> DiskRecord | None:
        """Return the record of this disk, or None where the point has no such disk."""
        return next((record for record in self.disks if record.disk == disk), None)
