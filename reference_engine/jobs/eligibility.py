"""Step S1: by which method a machine can be snapshotted, decided before anything is done to it.

Source: the Hyper-V VSS writer chooses between "child partition snapshot" and "saved state" by
conditions that a requestor can read beforehand; it cannot force either.
"""

import enum

import msgspec

from reference_engine.jobs.surroundings import Policy, WithoutGuest
from reference_engine.model.errors import NotEligibleError, NotProtectableError, SharedOwnerError
from reference_engine.model.machine import BackEnd, GuestKind, Machine


class MethodKind(enum.Enum):
    """What is done to the machine while its disks are cut."""

    ONLINE = "online"
    """Its guest comes to rest, or fails to."""

    SAVED_STATE = "saved state"
    """It stands still, its memory saved."""

    AS_IT_RUNS = "as it runs"
    """Nothing: the point is crash-consistent from the start."""


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """The decision for one machine, and why it is no better."""

    kind: MethodKind
    cause: str


def choose_method(machine: Machine, policy: Policy, /) -> Method:
    """Return the best method that the machine's host and the policy allow.

    Raises:
        NotProtectableError: the machine has disks that no snapshot reaches; nothing was done yet.
        SharedOwnerError: shared disks are owned by nobody, or by several; nothing was done yet.
        NotEligibleError: the policy wants the guest at rest, which the host rules out.
    """
    if machine.unprotected and not policy.physical_disks_allowed:
        raise NotProtectableError(machine.id, ", ".join(machine.unprotected))
    if machine.owners is not None and len(machine.owners) != 1:
        raise SharedOwnerError(machine.id, ", ".join(machine.owners))
    cause = "; ".join(machine.obstacles)
    if cause and policy.application_required:
        raise NotEligibleError(machine.id, cause)
    if not cause and machine.guest is not GuestKind.NONE:
        return Method(kind=MethodKind.ONLINE, cause="")
    cause = cause or "the guest has no integration service"
    by_host = machine.back_end in {BackEnd.HOST_SNAPSHOT, BackEnd.CHECKPOINT}
    if by_host and policy.without_guest is WithoutGuest.SAVE and not policy.application_required:
        return Method(kind=MethodKind.SAVED_STATE, cause=cause)
    return Method(kind=MethodKind.AS_IT_RUNS, cause=cause)
