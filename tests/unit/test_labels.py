"""A point claims what was proved, or there is no point."""

import pytest

from reference_engine.model.errors import ApplicationConsistencyRequiredError, NoCommonCutError
from reference_engine.model.identity import MachineId
from reference_engine.model.recovery_point import Consistency
from reference_engine.reconcile.labels import Label, choose_label

VM = MachineId("sql01")


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("cuts", [1, 2])
def test_a_guest_at_rest_makes_an_application_consistent_point(
    required: bool,  # noqa: FBT001 - a parameter of the case
    cuts: int,
) -> None:
    """The image is put back to the guest's one instant, however often the host had to cut."""
    label = choose_label(
        VM, at_rest=True, cause="", cuts=cuts, saved=False, application_required=required
    )

    assert label == Label(consistency=Consistency.APPLICATION, downgrade="")


def test_one_cut_without_the_guest_is_crash_consistent_and_says_why() -> None:
    """A downgrade carries its cause word for word."""
    cause = "the guest did not freeze: no answer within 20 s"

    label = choose_label(
        VM, at_rest=False, cause=cause, cuts=1, saved=False, application_required=False
    )

    assert label == Label(consistency=Consistency.CRASH, downgrade=cause)


def test_several_cuts_without_the_guest_are_no_image() -> None:
    """Disks of different instants claim nothing; another attempt may do better."""
    with pytest.raises(NoCommonCutError, match=r"sql01.*one instant"):
        choose_label(
            VM, at_rest=False, cause="it refused", cuts=2, saved=False, application_required=False
        )


@pytest.mark.parametrize("cuts", [1, 2])
def test_a_policy_can_forbid_less(cuts: int) -> None:
    """Where applications are required, a crash-consistent point is none, and the cause is told."""
    with pytest.raises(ApplicationConsistencyRequiredError, match=r"sql01 must be.*it refused"):
        choose_label(
            VM, at_rest=False, cause="it refused", cuts=cuts, saved=False, application_required=True
        )


@pytest.mark.parametrize("cuts", [1, 2])
def test_a_saved_machine_has_one_instant_however_often_it_is_cut(cuts: int) -> None:
    """A machine that stands still is the same at every cut; the label says how, and why."""
    label = choose_label(
        VM, at_rest=False, cause="no service", cuts=cuts, saved=True, application_required=False
    )

    assert (label.consistency, label.downgrade) == (Consistency.SAVED, "no service")
