"""Every planted bug is noticed, and is gone afterwards."""

from functools import cache
from typing import Final

import pytest

from simulator.campaign.mutants import MUTANTS, Mutant, planted
from simulator.campaign.sweep.seeds import swarm_subject
from simulator.campaign.trial import Subject, Trial, run_trial, subjects_of
from simulator.scenario.library import library, scenario_files
from simulator.scenario.reading import read_scenario

ITEMS: Final = "d80_odd_file_systems"
KILLERS: Final[dict[str, tuple[str | int, str]]] = {
    "skew-not-carried": ("d03_skew_carry_over", "I6"),
    "current-owner-only": ("d19_migrate_between_backups", "I8"),
    "map-switched-before-hold": (9, "I5"),
    "map-dropped-on-abort": ("d20_migrate_between_snapshots", "I7"),
    "map-dropped-before-commit": ("d01_baseline_skew", "I7"),
    "commit-before-blocks": ("d01_baseline_skew", "I10"),
    "thaw-forgotten-on-timeout": ("d07_late_freeze_ack", "I18"),
    "late-answer-not-outlasted": ("d07_late_freeze_ack_after_the_last_run", "I11"),
    "tg-th-swapped": ("d01_baseline_skew", "I4"),
    "host-time-on-label": ("d01_baseline_skew", "I4"),
    "label-not-downgraded": ("d04_two_volumes", "I4"),
    "torn-cut-accepted": ("d04_two_volumes", "I3"),
    "last-partial-block-skipped": ("d01_baseline_skew", "I5"),
    "range-end-cut": ("d01_baseline_skew", "I5"),
    "stale-owner-used": ("d20_migrate_between_snapshots", "I8"),
    "diff-area-ignored": ("d01_baseline_skew", "I2"),
    "mask-ignored": ("d01_baseline_skew", "I2"),
    "mask-not-carried": ("d01_baseline_skew", "I6"),
    "recovery-not-carried": (1, "I6"),
    "lost-map-taken-as-empty": ("d46_rct_lost", "I8"),
    "silent-node-ignored": ("d30_tracker_node_offline", "I8"),
    "direct-writes-in-hold": ("sqlite_wal", "I3"),
    "reference-point-dropped": ("d02_zero_skew_control", "I7"),
    "leftovers-not-cleared": ("d20_migrate_between_snapshots", "I7"),
    "overlay-skips-scattered-windows": ("d01_baseline_skew", "I2"),
    "newer-leftovers-taken": ("d54_foreign_checkpoint[found]", "I11"),
    "lineage-ignored": ("d60_disk_swapped", "I8"),
    "deaf-node-believed": ("d31_there_and_back", "I8"),
    "machine-change-ignored": ("d60_disk_swapped_before_the_cut", "I8"),
    "lost-redirection-ignored": ("d35_direct_writes_in_hold[in-the-hold]", "I3"),
    "early-thaw-ignored": ("d08_guest_thawed_too_early", "I2"),
    "merge-not-awaited": ("d50_merge_pending", "I17"),
    "volumes-never-go-home": ("d40_coordinator_tug_of_war", "I11"),
    "limits-ignored": ("d39_two_backups_same_volume", "I17"),
    "cleaning-blocks-runs": ("d86_stale_tracker_blocks_nothing", "expect:x slot 4"),
    "overflow-hidden": ("d09_diff_area_overflows", "I2"),
    "commit-not-fenced": ("d44_split_brain[s02]", "I9"),
    "redirection-kept": ("d40_coordinator_tug_of_war", "I11"),
    "missed-slots-unsaid": ("d75_long_outage", "I21"),
    "cause-unsaid": ("d05_guest_vss_timeout", "I21"),
    "read-error-ignored": ("d34_coordinator_crash", "I2"),
    "snapshot-kept": ("d01_baseline_skew", "I11"),
    "downgrade-unsaid": ("d05_guest_vss_timeout", "I4"),
    "trims-missed": (14, "I2"),
    "no-second-attempt": ("d34_coordinator_crash", "expect:x slot 2"),
    "never-incremental": ("d01_baseline_skew", "expect:x slot 2"),
    "thaw-skipped-on-failure": (2, "I11"),
    "obstacles-ignored": ("d11_mixed_guest_volumes_saved", "expect:x"),
    "saved-machine-forgotten": ("d12_saved_state", "I18"),
    "only-first-node-resumes": ("d13_saved_state_resume_fails", "I18"),
    "exposure-not-checked": ("d18_fix_must_not_touch_production", "I12"),
    "room-not-watched": ("d42_volume_runs_full_reference_points[slow]", "I18"),
    "resize-not-noticed": ("d59_disk_resize[grows]", "expect:x slot 2"),
    "first-claimant-believed": ("d57_duplicate_identity_reference_points[between-runs]", "I16"),
    "protected-twice": ("d61_auto_protect_race", "expect:new~2 slot 1"),
    "lies-overlooked": ("d47_every_block_sampled", "expect:x slot 4"),
    "overlays-trusted-by-comparison": ("compared_behind_a_lie", "I2"),
    "doubt-unsaid": ("d47_tracker_lies", "I20"),
    "tracker-ahead-believed": ("d68_lost_flush[loses-3-s14]", "I5"),
    "wall-clock-believed": ("d71_time_shift_against_immutability[ahead]", "I14"),
    "retention-shortened-for-room": ("d66_repository_full", "I14"),
    "full-repository-given-up": ("d66_repository_full", "expect:x"),
    "point-not-leased": ("d79_mounted_point_outlives_its_rules[until-unmounted]", "I1"),
    "resumed-file-trusted": ("d78_restore_dies_midway[engine-dies-at-write-2]", "I13"),
    "replaced-unasked": ("d77_restore_while_original_runs[replace-unconfirmed]", "I12"),
    "addresses-kept": ("d76_restore_to_another_host[same-switches]", "I16"),
    "replica-newest-first": ("d84_laptop_offline[cut-twice]", "I10"),
    "overlay-map-in-memory": ("d81_instant_recovery[host-dies]", "I13"),
    "overlay-filled-over": ("d81_instant_recovery[undisturbed]", "I13"),
    "any-owners-accepted": ("d45_shared_disks[two]", "expect:set slot 2"),
    "order-files-left": ("d78_restore_dies_midway[host-stays-dead]", "I11"),
    "first-look-put-off": ("discovered_and_frozen_for_a_lost_engine", "I18"),
    "found-machines-stay-frozen": ("discovered_and_frozen_without_a_repository", "I18"),
    "last-look-left-out": ("left_on_a_machine_found_behind_the_end", "I11"),
    "silence-until-the-end": ("cluster_silent_until_the_end", "I11"),
    "last-look-not-repeated": ("cluster_silent_behind_the_end", "I11"),
    "found-machines-left-alone": ("found_before_the_engine_died", "I11"),
    "silence-empties-the-census": ("cluster_silent_while_machines_are_looked_for", "expect:vm1"),
    "copy-taken-unasked": ("imported_where_the_stale_view_points", "I2"),
    "identity-by-disk-names": ("imported_where_the_stale_view_points", "I2"),
    "one-node-asked-for-identity": ("imported_beside_a_third_node", "I2"),
    "thaw-without-limit": ("thaw_without_an_answer", "I18"),
    "thaw-said-once": ("thaws_that_fail", "I18"),
    "thaw-where-named": ("frozen_where_the_cluster_does_not_say", "I18"),
    "any-answer-thaws": ("frozen_while_its_copy_answers", "I18"),
    "failed-thaw-passes": ("no_thaw_for_a_while", "I18"),
    "held-machine-not-looked-at-again": ("no_thaw_for_a_while", "I18"),
    "start-waits-for-repository": ("frozen_while_the_repository_is_away", "I18"),
    "thaw-behind-repository": ("repository_silent_as_an_engine_takes_over", "I18"),
    "silent-repository-looked-past-once": ("late_freeze_while_the_repository_is_silent", "I18"),
    "last-run-not-asked": ("late_freeze_of_a_lost_engine", "I18"),
    "late-freeze-not-outlasted": ("late_freeze_of_a_lost_engine", "I18"),
    "late-freeze-thawed-once": ("late_freeze_of_an_interrupted_run", "I18"),
    "point-ends-late-freezes": ("late_freeze_of_a_lost_engine", "I18"),
    "interrupted-run-froze-nothing": ("late_freeze_of_an_interrupted_run", "I18"),
    "first-run-froze-nothing": ("late_freeze_of_a_first_run", "I18"),
    "late-freeze-timed-by-wall-clock": ("late_freeze_behind_a_clock_set_forward", "I18"),
    "last-look-too-early": ("late_cut_of_a_dead_engine", "I11"),
    "moved-guest-left-to-the-clearing": ("frozen_guest_moved_behind_late_leftovers", "I18"),
    "witness-not-asked": ("frozen_behind_a_silent_cluster", "I18"),
    "thaw-behind-a-late-cluster": ("whereabouts_never_told_to_a_late_thaw", "I18"),
    "saved-machine-not-looked-at": ("resumed_before_the_cut", "I4"),
    "doubt-ends-at-a-comparison": ("wrong_point_before_a_comparison", "I20"),
    "lost-points-asked-for": ("lie_found_behind_a_rotten_manifest", "I18"),
    "expired-points-asked-for": ("lie_found_behind_expired_points", "I18"),
    "saved-machine-keeps-its-snapshots": ("snapshot_of_a_machine_that_stays_saved", "I11"),
    "lost-manifest-ends-the-clearing": ("reference_point_behind_a_damaged_point", "I11"),
    "damaged-directory-empty": (f"{ITEMS}[from-the-newest]", "I13"),
    "unwritten-bytes-shown": (f"{ITEMS}[while-the-machine-moves]", "I13"),
    "streams-mixed-up": (f"{ITEMS}[while-the-machine-moves]", "I13"),
    "holes-forgotten": (f"{ITEMS}[engine-dies-meanwhile]", "I13"),
    "reparse-points-read": (f"{ITEMS}[while-the-machine-moves]", "I13"),
    "logical-partitions-overlooked": (f"{ITEMS}[engine-dies-meanwhile]", "I13"),
    "second-names-without-streams": (f"{ITEMS}[while-the-machine-moves]", "I13"),
    "stripes-in-a-row": (f"{ITEMS}[from-the-newest]", "I13"),
    "gone-machine-not-cleared": ("left_on_a_deleted_machine_that_was_found", "I7"),
}
"""For each mutant the quickest of its killers, a scenario or a swarm's seed, and what it breaks."""

FILES: Final = {file.stem: file for file in scenario_files((library(),))}
KNOWN: Final = {mutant.name: mutant for mutant in MUTANTS}


class UnforeseenError(Exception):
    """What a run may end with when the engine is wrong."""


@cache
def subject(killer: str | int) -> Subject:
    """Return the trial that a scenario's title or a seed stands for."""
    if isinstance(killer, int):
        return swarm_subject(killer)
    name = killer.partition("[")[0]
    trials = subjects_of(
        read_scenario(FILES[name]), name=name, path=FILES[name], seed=None, images={}
    )
    [found] = [trial for trial in trials if trial.title == killer]
    return found


def broken(killer: str | int) -> set[str]:
    """Return the invariants that a run breaks, with the engine as it is now."""
    trial: Trial = run_trial(subject(killer), restore_again=False)
    return {verdict.invariant for verdict in trial.verdicts if verdict.holds is False}


def names(mutant: Mutant) -> list[object]:
    """Return what the names that a mutant replaces stand for now."""
    return [vars(owner)[name] for owner, name, _ in mutant.patches()]


def test_every_mutant_has_a_killer() -> None:
    """A mutant comes with the scenario or the seed that shows it."""
    assert KILLERS.keys() == KNOWN.keys()


@pytest.mark.parametrize("name", KILLERS)
def test_a_mutant_is_killed(name: str) -> None:
    """The bug breaks the promise that it was planted against."""
    killer, invariant = KILLERS[name]

    with planted(KNOWN[name]):
        found = broken(killer)

    assert invariant in found


@pytest.mark.parametrize("killer", sorted({killer for killer, _ in KILLERS.values()}, key=str))
def test_the_engine_is_itself_again(killer: str | int) -> None:
    """What killed a mutant finds nothing wrong once the mutant is gone."""
    kills = [name for name, (by, _) in KILLERS.items() if by == killer]
    with planted(KNOWN[kills[0]]):
        broken(killer)

    assert broken(killer) == set()


@pytest.mark.parametrize("name", KNOWN)
def test_a_mutant_leaves_no_trace(name: str) -> None:
    """Every replaced name is what it was, also when the run ended in an error."""
    mutant = KNOWN[name]
    before = names(mutant)

    during: list[object] = []

    def run_into_an_error() -> None:
        with planted(mutant):
            during.extend(names(mutant))
            raise UnforeseenError

    with pytest.raises(UnforeseenError):
        run_into_an_error()

    assert all(now is not then for now, then in zip(during, before, strict=True))
    assert all(now is then for now, then in zip(names(mutant), before, strict=True))
