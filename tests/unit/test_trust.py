"""An incremental copy is a privilege: it is granted only where nothing speaks against it."""

import msgspec
import pytest

from reference_engine.model.extents import EMPTY
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    MachineId,
    NodeName,
    RecoveryPointId,
    ReferencePointId,
    RunTag,
    SnapshotId,
    VolumeName,
)
from reference_engine.model.machine import BackEnd, GuestKind, Machine, VirtualDisk
from reference_engine.model.recovery_point import (
    Consistency,
    DiskRecord,
    RecoveryPoint,
    Transfer,
    TransferKind,
    TransferReason,
)
from reference_engine.model.units import MIB, ByteCount, Instant
from reference_engine.ports.change_tracking import TrackerState
from reference_engine.tracking.trust import after_lost_tracker, choose_transfer

DISK, NEW_DISK = DiskId("x-disk0"), DiskId("x-disk1")
FULL = Transfer(kind=TransferKind.FULL, reason=TransferReason.FIRST)
INCREMENTAL = Transfer(kind=TransferKind.INCREMENTAL, reason=TransferReason.TRACKED)


def machine_of(back_end: BackEnd, *, size: int = MIB) -> Machine:
    """Return a machine with a disk of this size, and another one that is newer."""
    return Machine(
        id=MachineId("x"),
        name="x",
        guest=GuestKind.VSS,
        back_end=back_end,
        disks=tuple(
            VirtualDisk(id=disk, size=ByteCount(size), volume=VolumeName("V1"))
            for disk in (DISK, NEW_DISK)
        ),
    )


def base_of(back_end: BackEnd) -> RecoveryPoint:
    """Return an earlier point of the machine, from before it had its newer disk."""
    record = DiskRecord(
        disk=DISK,
        size=MIB,
        transfer=FULL,
        snapshot=SnapshotId("x-snapshot-1"),
        sources=(),
        skew=EMPTY,
        mask=EMPTY,
        bytes_read=MIB,
        bytes_sent=MIB,
        digest="",
    )
    return RecoveryPoint(
        id=RecoveryPointId("base"),
        machine=machine_of(back_end),
        run=RunTag(machine=MachineId("x"), epoch=Epoch(1)),
        base=None,
        consistency=Consistency.CRASH,
        downgrade="",
        instant=Instant(0),
        guest_instant=None,
        host_instant=Instant(0),
        guest_snapshot=None,
        tracker=ReferencePointId("x-reference-1") if back_end is BackEnd.REFERENCE_POINT else None,
        disks=(record,),
    )


def tracker(name: str, *, reachable: bool = True, intact: bool = True) -> TrackerState:
    """Return a node's word on the disk."""
    return TrackerState(node=NodeName(name), reachable=reachable, intact=intact)


def transfer_of(
    back_end: BackEnd,
    *trackers: TrackerState,
    base: RecoveryPoint | None = None,
    size: int = MIB,
    disk: DiskId = DISK,
) -> Transfer:
    """Return the decision for one disk; the base is one of the same back end unless told."""
    return choose_transfer(
        machine_of(back_end, size=size),
        disk,
        base=base_of(back_end) if base is None else base,
        trackers=trackers,
    )


@pytest.mark.parametrize("back_end", BackEnd)
def test_the_first_point_is_a_full_copy(back_end: BackEnd) -> None:
    """Without a base there is nothing to be incremental to, whatever the trackers say."""
    chosen = choose_transfer(machine_of(back_end), DISK, base=None, trackers=(tracker("A"),))

    assert chosen == FULL


def test_a_disk_that_the_base_lacks_is_copied_in_full() -> None:
    """A disk added since the base has its own first time."""
    assert transfer_of(BackEnd.HOST_SNAPSHOT, tracker("A"), disk=NEW_DISK) == FULL


def test_sound_trackers_earn_an_incremental_copy() -> None:
    """Every node that wrote answers and knows every write."""
    assert transfer_of(BackEnd.HOST_SNAPSHOT, tracker("A"), tracker("B")) == INCREMENTAL
    assert transfer_of(BackEnd.REFERENCE_POINT) == INCREMENTAL


@pytest.mark.parametrize(
    ("doubtful", "reason"),
    [
        (tracker("B", intact=False), TransferReason.TRACKER_LOST),
        (tracker("B", reachable=False), TransferReason.TRACKER_UNREACHABLE),
        (tracker("B", reachable=False, intact=False), TransferReason.TRACKER_UNREACHABLE),
    ],
)
def test_one_doubtful_tracker_is_enough(doubtful: TrackerState, reason: TransferReason) -> None:
    """A delta is a union: without one of its parts, or with a part unknown, all is compared."""
    compared = Transfer(kind=TransferKind.COMPARE, reason=reason)

    assert transfer_of(BackEnd.HOST_SNAPSHOT, tracker("A"), doubtful) == compared
    assert transfer_of(BackEnd.HOST_SNAPSHOT, doubtful, tracker("A")) == compared


@pytest.mark.parametrize("back_end", BackEnd)
@pytest.mark.parametrize("size", [MIB - 512, MIB + 512])
def test_a_resized_disk_is_compared(back_end: BackEnd, size: int) -> None:
    """No tracker says what lies where the disk has grown or shrunk."""
    compared = Transfer(kind=TransferKind.COMPARE, reason=TransferReason.DISK_RESIZED)

    assert transfer_of(back_end, tracker("A"), size=size) == compared


def test_a_disk_file_is_compared() -> None:
    """Nobody tracks who writes a file."""
    compared = Transfer(kind=TransferKind.COMPARE, reason=TransferReason.NO_TRACKER)

    assert transfer_of(BackEnd.DISK_FILE) == compared


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (BackEnd.HOST_SNAPSHOT, BackEnd.REFERENCE_POINT),
        (BackEnd.REFERENCE_POINT, BackEnd.HOST_SNAPSHOT),
    ],
)
def test_another_kind_of_host_has_not_tracked_the_base(before: BackEnd, now: BackEnd) -> None:
    """After an upgrade of the hosts the new tracker began later than the base."""
    compared = Transfer(kind=TransferKind.COMPARE, reason=TransferReason.BACK_END_CHANGED)

    assert transfer_of(now, tracker("A"), base=base_of(before)) == compared


def test_a_base_without_a_reference_point_is_compared_with() -> None:
    """Nobody can ask what changed since an instant that was not kept."""
    base = msgspec.structs.replace(base_of(BackEnd.REFERENCE_POINT), tracker=None)
    compared = Transfer(kind=TransferKind.COMPARE, reason=TransferReason.NO_TRACKER)

    assert transfer_of(BackEnd.REFERENCE_POINT, base=base) == compared


def test_trust_can_be_lost_but_not_won() -> None:
    """A tracker that cannot answer after all turns an incremental copy into a comparison."""
    lost = Transfer(kind=TransferKind.COMPARE, reason=TransferReason.TRACKER_LOST)
    resized = Transfer(kind=TransferKind.COMPARE, reason=TransferReason.DISK_RESIZED)

    assert after_lost_tracker(INCREMENTAL) == lost
    assert after_lost_tracker(FULL) == FULL
    assert after_lost_tracker(resized) == resized
