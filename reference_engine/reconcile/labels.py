"""What a point may claim. A label is a claim that must be proved."""

import msgspec

from reference_engine.model.errors import ApplicationConsistencyRequiredError, NoCommonCutError
from reference_engine.model.identity import MachineId
from reference_engine.model.recovery_point import Consistency


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A point's consistency, and why it is no better."""

    consistency: Consistency
    downgrade: str


def choose_label(
    machine: MachineId,
    /,
    *,
    at_rest: bool,
    cause: str,
    cuts: int,
    saved: bool,
    application_required: bool,
) -> Label:
    """Return what the image may claim.

    `at_rest`: the guest's own snapshot exists and the image was put back to it; `cause` says why
    not. `cuts`: how many instants the host needed to cut all disks. `saved`: the machine stood
    still all the while, its memory saved.

    Raises:
        ApplicationConsistencyRequiredError: the policy wants more than there is.
        NoCommonCutError: neither the guest nor the host has one instant for all disks.
    """
    if at_rest:
        return Label(consistency=Consistency.APPLICATION, downgrade="")
    if application_required:
        raise ApplicationConsistencyRequiredError(machine, cause)
    if saved:
        return Label(consistency=Consistency.SAVED, downgrade=cause)
    if cuts > 1:
        raise NoCommonCutError(machine)
    return Label(consistency=Consistency.CRASH, downgrade=cause)
