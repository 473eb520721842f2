"""What a verdict may be founded on: the facts, the truth, and what restores returned."""

from bisect import bisect_right
from typing import Final

import msgspec
import numpy as np

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import (
    DiskId,
    MachineId,
    NodeName,
    OrderId,
    RecoveryPointId,
    VolumeName,
)
from reference_engine.model.recovery_point import (
    Consistency,
    DiskRecord,
    RecoveryPoint,
    TransferKind,
)
from reference_engine.model.restore_order import RestoreOrder
from reference_engine.model.units import ByteCount, Duration, Instant
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import PointBecameVisible, PointsBecameInvisible
from reference_engine.trace.engine import DeltaEnumerated
from simulator.faults.orders import ItemsTaken
from simulator.world.applications.application import Opening
from simulator.world.content import DiskContent
from simulator.world.own_disks import OwnVolume
from simulator.world.stamps import TRIMMED, Cells, StampDisk, StampImage, Stamps
from simulator.world.truth import Cut, Truth, first_stamp

_SMALL: Final = 1 << 20
"""Cells up to which an array of the whole disk is quicker than sorting its writes."""


class DiskProof(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of one point, restored and compared byte for byte with what it should be."""

    disk: DiskId
    compared: ByteCount
    wrong: ExtentSet
    """Bytes outside the mask that differ from the truth."""

    not_blank: ExtentSet
    """Bytes inside the mask that are not zero."""

    fingerprint: str
    """Digest of everything that the restore returned."""


class ApplicationProof(msgspec.Struct, frozen=True, kw_only=True):
    """What an application found in the restored image, and what it should find."""

    kind: str
    opening: Opening
    committed: int
    """The last transaction that was permanent at the point's instant."""

    begun: int
    """The last one of which anything had been written."""


class PointProof(msgspec.Struct, frozen=True, kw_only=True):
    """One point, restored in the instant in which it became visible."""

    point: RecoveryPoint
    disks: tuple[DiskProof, ...]
    unreadable: str
    """Why it could not be restored; empty when it could."""

    application: ApplicationProof | None = None
    """What the application in the guest says, if there is one."""


class LaterRestore(msgspec.Struct, frozen=True, kw_only=True):
    """The same point's fingerprints once everything was over, from another kind of target."""

    point: RecoveryPointId
    target: str
    fingerprints: dict[DiskId, str]
    unreadable: str


class TakenItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item as it was listed, and what came out of it."""

    path: str
    kind: str
    digest: str
    target: str
    streams: dict[str, str]
    refused: str
    """Why it was not taken out; empty if it was."""


class TakenVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of a point's disk, with all that was found in it."""

    disk: DiskId
    number: int
    items: tuple[TakenItem, ...]
    refused: str
    """Why nothing of it can be read; empty if something can."""


class TakenItems(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an order to take files out of a point."""

    point: RecoveryPointId
    volumes: tuple[TakenVolume, ...]
    unreadable: str
    """Why nothing could be read of the point; empty if it could."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many runs may go on at once."""

    at_once: int
    per_volume: int
    per_node: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one run that a verdict may use."""

    facts: tuple[Fact, ...]
    truth: Truth
    contents: dict[DiskId, DiskContent]
    proofs: dict[RecoveryPointId, PointProof]
    visible: tuple[RecoveryPointId, ...]
    """What the repository lists in the end."""

    later: tuple[LaterRestore, ...]
    looks: tuple[LaterRestore, ...]
    """What somebody read who looked into points; these may have expired since."""

    items_ordered: tuple[ItemsTaken, ...]
    """What was to be taken out of points."""

    items_taken: dict[str, TakenItems]
    """What came of it, by order."""

    own_volumes: dict[DiskId, tuple[OwnVolume, ...]]
    """What was put into the disks that the simulator brings along."""

    lived: dict[OrderId, tuple[bytes, ...]]
    """What machines that ran from points say that their disks hold in the end."""

    misread: tuple[str, ...]
    """What they read other than they had written."""

    replica: tuple[RecoveryPointId, ...]
    """What a second repository lists in the end, in its order."""

    live: dict[DiskId, StampImage]
    """The production disks in the end."""

    frozen_maps: tuple[str, ...]
    """Maps that are frozen still, on nodes that run."""

    frozen_guests: tuple[MachineId, ...]
    leftovers: tuple[str, ...]
    finished: str
    """Why the run did not come to its end; empty when it did."""

    freeze_bound: Duration
    sources_unchanged: dict[str, bool]
    """For each real disk image: whether its file is what it was."""

    second_digest: str | None
    """The trace digest of a repetition in another process; None: there was none."""

    digest: str
    limits: "Limits"
    slots: dict[MachineId, tuple[Instant, ...]]
    """When each machine was due."""

    damaged: bool
    """Whether the repository's own objects were damaged."""

    healed: tuple[LaterRestore, ...]
    """The visible points as they are where everything that was damaged is put back."""

    foreign_harmed: tuple[str, ...]
    """Another product's things that are gone."""

    redirected: tuple[VolumeName, ...]
    """Volumes that are redirected in the end."""

    astray: tuple[VolumeName, ...]
    """Volumes that the engine moved last, and not home."""

    calm_from: Instant
    """When the last disturbance was over, with everything that it had caused."""

    suspects: frozenset[MachineId] | None
    """The machines to which something happened; None: something happened to all."""

    orders: dict[OrderId, RestoreOrder]
    """What was to be restored onto hosts."""

    keep_last: int
    """How many points of each machine the rules keep."""

    immutable_for: Duration
    """How long no point may expire."""

    lost: frozenset[RecoveryPointId]
    """Points that a disk lost after it had called them durable."""

    scrubbed: frozenset[RecoveryPointId] | None
    """The points that a check of the whole repository calls damaged; None: nothing was checked."""

    unprotected: dict[MachineId, tuple[str, ...]]
    """What each machine reads and no snapshot reaches."""

    nodes: tuple[NodeName, ...]
    """Every node of the cluster."""

    stay_saved: tuple[MachineId, ...]
    """Machines that stand still in the end although a node could have resumed them."""

    able: frozenset[MachineId]
    """Machines of which a point can be made at all, as they are in the end."""

    def expired(self) -> frozenset[RecoveryPointId]:
        """Return the points that an engine removed, said or unsaid, or that a lying disk lost."""
        return self.lost.union(
            point
            for fact in self.facts
            if isinstance(fact, PointsBecameInvisible)
            for point in fact.points
        )

    def points(self) -> list[RecoveryPoint]:
        """Return every point that became visible, in that order."""
        return [fact.point for fact in self.facts if isinstance(fact, PointBecameVisible)]

    def deltas(self) -> dict[tuple[object, DiskId], DeltaEnumerated]:
        """Return what each run said it would read of each disk."""
        return {
            (fact.run, fact.disk): fact for fact in self.facts if isinstance(fact, DeltaEnumerated)
        }

    def cut_of(self, point: RecoveryPoint, record: DiskRecord, /) -> Cut:
        """Return the instant that a point claims for one of its disks."""
        return cut_of(self.truth, point, record)

    def true_image(self, point: RecoveryPoint, record: DiskRecord, /) -> StampImage:
        """Return what the disk held at the instant that the point claims."""
        if point.consistency is Consistency.APPLICATION and point.guest_snapshot is not None:
            return self.truth.guest_cuts[point.guest_snapshot].images[record.disk]
        return replay(self.truth, point.machine.id, record.disk, self.cut_of(point, record).stamp)

    def may_be_unreadable(self, point: RecoveryPoint, /) -> bool:
        """Return whether damage, or a lying tracker, can have made the point unreadable.

        Unreadable is what such a point may be; what it must never be is wrong without a word.
        """
        return self.damaged or self.rests_on_a_lie(point)

    def rests_on_a_lie(self, point: RecoveryPoint, /) -> bool:
        """Return whether a tracker that lied was believed for one of the point's disks."""
        return any(
            record.disk in self.truth.lied and record.transfer.kind is TransferKind.INCREMENTAL
            for record in point.disks
        )

    def hidden(self, disk: DiskId, image: StampImage, size: ByteCount, /) -> ExtentSet:
        """Return the bytes of `image` whose last write no tracker noted."""
        lied = self.truth.lied.get(disk)
        if not lied:
            return EMPTY
        every = np.arange(image.cells)
        stamps = image.read(every) & np.uint64(TRIMMED - 1)
        found = np.zeros(image.cells, bool)
        for first, last in lied:
            found |= (stamps >= np.uint64(first)) & (stamps <= np.uint64(last))
        return self.as_bytes(disk, every[found], size)

    def unexcused(self, point: RecoveryPoint, record: DiskRecord, wrong: ExtentSet, /) -> ExtentSet:
        """Return of the wrong bytes of a disk those that no lie of a tracker explains."""
        believed = record.transfer.kind is TransferKind.INCREMENTAL
        if not wrong or not believed or record.disk not in self.truth.lied:
            return wrong
        return wrong - self.hidden(record.disk, self.true_image(point, record), record.size)

    def as_bytes(self, disk: DiskId, cells: Cells, size: ByteCount, /) -> ExtentSet:
        """Return the bytes of cells of a disk that was of this size."""
        cell = self.contents[disk].cell
        return ExtentSet.of_pieces(cells[cells < -(-size // cell)], piece=cell, size=size)

    def diff_area(self, point: RecoveryPoint, disk: DiskId, /) -> ExtentSet:
        """Return where the guest's diff area really lay when the host cut this point's disk."""
        cells = self.truth.diff_areas.get((point.run, disk))
        record = point.disk(disk)
        if cells is None or record is None:
            return EMPTY
        return self.as_bytes(disk, np.sort(cells), record.size)


def cut_of(truth: Truth, point: RecoveryPoint, record: DiskRecord, /) -> Cut:
    """Return the instant that a point claims for one of its disks."""
    if point.consistency is Consistency.APPLICATION and point.guest_snapshot is not None:
        return truth.guest_cuts[point.guest_snapshot]
    return truth.host_cuts[record.snapshot]


def replay(truth: Truth, machine: MachineId, disk: DiskId, stamp: int, /) -> StampImage:
    """Return the disk after every write up to and with `stamp`, from the log alone."""
    start = truth.initial[disk]
    shapes = [shape for shape in truth.shapes.get(disk, []) if shape.stamp <= stamp]
    replayed = StampDisk(shapes[-1].cells if shapes else start.cells)
    if shapes:
        first = start.written()
        first = first[first < min(shape.cells for shape in shapes)]
        replayed.write(first, start.read(first))
    else:
        replayed.pages = dict(start.pages)
    cells: list[Cells] = []
    stamps: list[Stamps] = []
    # The log is in write order, so everything behind the first later batch is later, too.
    log = truth.writes[machine]
    end = bisect_right(log, stamp, key=first_stamp)
    for batch in log[:end]:
        if batch.disk == disk:
            cells.append(batch.cells)
            stamps.append(batch.stamps)
    if cells:
        every, marked = np.concatenate(cells), np.concatenate(stamps)
        order = marked & np.uint64(TRIMMED - 1)
        kept = order <= np.uint64(stamp)
        for shape in shapes:  # what lay behind the end when the disk was cut off is gone
            kept &= (every < shape.cells) | (order > np.uint64(shape.stamp))
        # Of many writes to one cell the last one counts.
        every, marked = every[kept], marked[kept]
        count = int(every.max(initial=-1)) + 1
        if count <= _SMALL:
            latest = np.zeros(count, np.uint64)
            latest[every] = marked  # numpy keeps the last of several values for one place
            written = np.flatnonzero(latest)
            replayed.write(written, latest[written])
        else:
            written, first = np.unique(every[::-1], return_index=True)
            replayed.write(written, marked[::-1][first])
    return replayed.snapshot()
