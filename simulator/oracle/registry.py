"""Every invariant that is judged, in the catalogue's order."""

from typing import Final

from simulator.oracle import (
    i01_points_keep,
    i02_application_image,
    i03_one_cut,
    i04_honest_label,
    i05_delta_covers,
    i06_skew_is_carried,
    i07_tracker_advance,
    i08_every_writer,
    i09_one_live_run,
    i10_atomic_commit,
    i11_nothing_left,
    i12_production_untouched,
    i13_any_target,
    i14_nothing_needed_goes,
    i15_clocks_order_nothing,
    i16_one_identity,
    i17_limits,
    i18_bounded_time,
    i19_repeatable,
    i20_loud_corruption,
    i21_every_slot_explained,
    i22_no_contagion,
    i23_application_opens,
)
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Invariant, Verdict

INVARIANTS: Final[tuple[Invariant, ...]] = tuple(
    module.INVARIANT
    for module in (
        i01_points_keep,
        i02_application_image,
        i03_one_cut,
        i04_honest_label,
        i05_delta_covers,
        i06_skew_is_carried,
        i07_tracker_advance,
        i08_every_writer,
        i09_one_live_run,
        i10_atomic_commit,
        i11_nothing_left,
        i12_production_untouched,
        i13_any_target,
        i14_nothing_needed_goes,
        i15_clocks_order_nothing,
        i16_one_identity,
        i17_limits,
        i18_bounded_time,
        i19_repeatable,
        i20_loud_corruption,
        i21_every_slot_explained,
        i22_no_contagion,
        i23_application_opens,
    )
)


def judge(evidence: Evidence, /) -> tuple[Verdict, ...]:
    """Return the verdict of every invariant."""
    return tuple(invariant.verdict(evidence) for invariant in INVARIANTS)
