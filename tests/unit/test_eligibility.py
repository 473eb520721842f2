"""What is done to a machine is decided before anything is done to it."""

import pytest
from msgspec.structs import replace

from reference_engine.jobs.claimants import continues
from reference_engine.jobs.eligibility import MethodKind, choose_method
from reference_engine.jobs.surroundings import Policy, WithoutGuest
from reference_engine.model.errors import NotEligibleError, NotProtectableError
from reference_engine.model.identity import DiskId, Epoch, MachineId, RecoveryPointId, RunTag
from reference_engine.model.identity import VolumeName as Volume
from reference_engine.model.machine import BackEnd, GuestKind, Machine, VirtualDisk
from reference_engine.model.recovery_point import Consistency, RecoveryPoint
from reference_engine.model.units import MIB, Instant

DISK = VirtualDisk(id=DiskId("d"), size=MIB, volume=Volume("V1"), lineage="d/0")
READY = Machine(
    id=MachineId("x"),
    name="x",
    guest=GuestKind.VSS,
    back_end=BackEnd.HOST_SNAPSHOT,
    disks=(DISK,),
)
BLOCKED = replace(READY, obstacles=("the guest has a FAT32 volume",))
SAVE = Policy(without_guest=WithoutGuest.SAVE)
POINT = RecoveryPoint(
    id=RecoveryPointId("p"),
    machine=READY,
    run=RunTag(machine=READY.id, epoch=Epoch(1)),
    base=None,
    consistency=Consistency.CRASH,
    downgrade="no guest",
    instant=Instant(0),
    guest_instant=None,
    host_instant=Instant(0),
    guest_snapshot=None,
    tracker=None,
    disks=(),
)


@pytest.mark.parametrize("policy", [Policy(), SAVE, Policy(application_required=True)])
def test_a_guest_that_can_come_to_rest_is_asked_to(policy: Policy) -> None:
    """Whatever the policy says of others, a machine without obstacles is cut online."""
    assert choose_method(READY, policy).kind is MethodKind.ONLINE


@pytest.mark.parametrize("machine", [BLOCKED, replace(READY, guest=GuestKind.NONE)])
def test_the_policy_chooses_between_downtime_and_a_crash_image(machine: Machine) -> None:
    """A machine whose guest cannot be asked is cut as it runs, or saved; the cause is told."""
    assert choose_method(machine, Policy()).kind is MethodKind.AS_IT_RUNS
    assert choose_method(machine, SAVE).kind is MethodKind.SAVED_STATE
    assert "guest has" in choose_method(machine, SAVE).cause


def test_a_newer_host_saves_no_machine_for_a_snapshot() -> None:
    """Hosts with reference points have no saved-state method."""
    newer = replace(BLOCKED, back_end=BackEnd.REFERENCE_POINT)

    assert choose_method(newer, SAVE).kind is MethodKind.AS_IT_RUNS


def test_what_the_policy_rules_out_is_refused_beforehand() -> None:
    """The refusal names the obstacle, or the disks that no snapshot reaches."""
    with pytest.raises(NotEligibleError, match="FAT32"):
        choose_method(BLOCKED, Policy(application_required=True))
    with pytest.raises(NotProtectableError, match="physical disk 2"):
        choose_method(
            replace(READY, unprotected=("physical disk 2",)), Policy(physical_disks_allowed=False)
        )


@pytest.mark.parametrize(
    ("disks", "goes_on"),
    [
        ((DISK,), True),
        ((DISK, replace(DISK, id=DiskId("added"))), True),
        ((replace(DISK, lineage="d/1000"),), False),
        ((replace(DISK, id=DiskId("other")),), False),
        ((), False),
    ],
)
def test_a_machine_goes_on_with_a_point_by_its_disks(
    disks: tuple[VirtualDisk, ...],
    goes_on: bool,  # noqa: FBT001 - a parameter of the case
) -> None:
    """Neither name nor identity tell a copy from its original; the disks' lineage does."""
    assert continues(replace(READY, disks=disks), POINT) is goes_on
