"""Planted engine bugs: patches that the harness puts on the engine, to see whether it notices.

A mutant replaces names in engine modules for the length of a run. The engine has no flags for it:
what is shipped is what is tested. A mutant that nothing kills is a hole in the world or in the
oracle.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import msgspec

from simulator.campaign import planted_bugs as bugs
from simulator.campaign import planted_doubts as doubts
from simulator.campaign import planted_faults as faults
from simulator.campaign import planted_gaps as gaps
from simulator.campaign import planted_items as items
from simulator.campaign import planted_restores as restores
from simulator.campaign import planted_takeovers as takeovers
from simulator.campaign.naming import named
from simulator.campaign.planted_bugs import Patch


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """One planted bug."""

    name: str
    what: str
    """What the engine now does wrong."""

    patches: Callable[[], list[Patch]]


@contextmanager
def planted(mutant: Mutant, /) -> Iterator[None]:
    """Have the bug in the engine while the block runs."""
    patches = mutant.patches()
    kept = [(owner, name, vars(owner)[name]) for owner, name, _ in patches]
    for owner, name, replacement in patches:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original in kept:
            setattr(owner, name, original)


def _sentence(patches: Callable[[], list[Patch]], /) -> str:
    """Return what a bug's own words say of it, as the other bugs are told of."""
    said = (patches.__doc__ or "").rstrip(".")
    return said[:1].lower() + said[1:]


MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        name="skew-not-carried",
        what="the next delta leaves out R, what the last point had put back",
        patches=bugs.skew_not_carried,
    ),
    Mutant(
        name="current-owner-only",
        what="only the node that runs the machine now is asked what changed",
        patches=bugs.current_owner_only,
    ),
    Mutant(
        name="map-switched-before-hold",
        what="the owner's map is frozen before the snapshot, not inside its hold",
        patches=bugs.switched_before_hold,
    ),
    Mutant(
        name="map-dropped-on-abort",
        what="an aborted run's frozen map is dropped, not merged back",
        patches=bugs.map_dropped_on_abort,
    ),
    Mutant(
        name="map-dropped-before-commit",
        what="the frozen map is dropped before the point is committed",
        patches=bugs.map_dropped_before_commit,
    ),
    Mutant(
        name="commit-before-blocks",
        what="the point becomes visible before its last blocks are stored",
        patches=bugs.commit_before_blocks,
    ),
    Mutant(
        name="thaw-forgotten-on-timeout",
        what="a guest that did not answer its freeze is never thawed",
        patches=bugs.thaw_forgotten,
    ),
    Mutant(
        name="late-answer-not-outlasted",
        what="a guest that freezes after the limit is thawed too early only",
        patches=bugs.late_answer_not_outlasted,
    ),
    Mutant(
        name="tg-th-swapped",
        what="the point states Th as Tg and Tg as Th",
        patches=bugs.instants_swapped,
    ),
    Mutant(
        name="host-time-on-label",
        what="the point claims the host's instant for the guest's image",
        patches=bugs.host_time_on_label,
    ),
    Mutant(
        name="label-not-downgraded",
        what="a point without a guest snapshot is called application-consistent",
        patches=bugs.label_not_downgraded,
    ),
    Mutant(
        name="torn-cut-accepted",
        what="disks that were cut at different instants pass as one crash-consistent image",
        patches=bugs.torn_cut_accepted,
    ),
    Mutant(
        name="last-partial-block-skipped",
        what="the disk's last block is left out where it is not a whole one",
        patches=bugs.last_block_skipped,
    ),
    Mutant(
        name="range-end-cut",
        what="the last 4 KiB of every changed range are left out",
        patches=bugs.partly_changed_block_cut,
    ),
    Mutant(
        name="stale-owner-used",
        what="nobody looks whether the machine moved while it was snapshotted",
        patches=bugs.stale_owner,
    ),
    Mutant(
        name="diff-area-ignored",
        what="the host's image is stored under the guest's label",
        patches=bugs.diff_area_ignored,
    ),
    Mutant(
        name="mask-ignored",
        what="the guest's diff area is stored as if it were content",
        patches=bugs.mask_ignored,
    ),
    Mutant(
        name="mask-not-carried",
        what="R leaves out the masked diff area",
        patches=bugs.mask_not_carried,
    ),
    Mutant(
        name="recovery-not-carried",
        what="R leaves out what writers changed inside the checkpoint",
        patches=bugs.recovery_not_carried,
    ),
    Mutant(
        name="lost-map-taken-as-empty",
        what="a tracker that lost its map is believed to say that nothing changed",
        patches=bugs.lost_map_taken_as_empty,
    ),
    Mutant(
        name="silent-node-ignored",
        what="a tracker's node that does not answer is left out of the delta",
        patches=bugs.silent_node_ignored,
    ),
    Mutant(
        name="direct-writes-in-hold",
        what="a volume is not redirected before the snapshot's hold",
        patches=bugs.direct_writes_in_hold,
    ),
    Mutant(
        name="reference-point-dropped",
        what="the reference point that the newest point needs is dropped",
        patches=bugs.reference_point_dropped,
    ),
    Mutant(
        name="leftovers-not-cleared",
        what="nobody clears up behind a dead run",
        patches=bugs.leftovers_not_cleared,
    ),
    Mutant(
        name="overlay-skips-scattered-windows",
        what="pre-images are laid over whole windows only",
        patches=bugs.windows_shifted,
    ),
    Mutant(
        name="newer-leftovers-taken",
        what="what newer runs or other products have on a host is taken away",
        patches=faults.newer_leftovers_taken,
    ),
    Mutant(
        name="lineage-ignored",
        what="a disk that was changed past its trackers is copied incrementally",
        patches=faults.lineage_ignored,
    ),
    Mutant(
        name="deaf-node-believed",
        what="a node without a change map is believed to have written nothing",
        patches=faults.version_ignored,
    ),
    Mutant(
        name="machine-change-ignored",
        what="nobody looks whether disks changed while they were snapshotted",
        patches=faults.change_ignored,
    ),
    Mutant(
        name="lost-redirection-ignored",
        what="nobody looks whether a volume stayed redirected until the cut",
        patches=faults.lost_redirection_ignored,
    ),
    Mutant(
        name="early-thaw-ignored",
        what="nobody looks whether the guest stood still until the cut",
        patches=faults.early_thaw_ignored,
    ),
    Mutant(
        name="merge-not-awaited",
        what="a checkpoint is taken while the last one still merges",
        patches=faults.merge_not_awaited,
    ),
    Mutant(
        name="volumes-never-go-home",
        what="a volume that was moved is not given back",
        patches=faults.volumes_never_go_home,
    ),
    Mutant(
        name="limits-ignored",
        what="runs on a node or a volume are not counted",
        patches=faults.limits_ignored,
    ),
    Mutant(
        name="cleaning-blocks-runs",
        what="what cannot be removed keeps the next run from starting",
        patches=faults.cleaning_blocks_runs,
    ),
    Mutant(
        name="overflow-hidden",
        what="a guest snapshot that was given up counts as one without later writes",
        patches=faults.overflow_hidden,
    ),
    Mutant(
        name="commit-not-fenced",
        what="a superseded run commits all the same",
        patches=faults.commit_not_fenced,
    ),
    Mutant(
        name="redirection-kept",
        what="a volume stays redirected after the snapshot",
        patches=faults.redirection_kept,
    ),
    Mutant(
        name="missed-slots-unsaid",
        what="missed slots are passed over in silence",
        patches=faults.missed_slots_unsaid,
    ),
    Mutant(
        name="cause-unsaid",
        what="a job that did not go well does not say why",
        patches=faults.cause_unsaid,
    ),
    Mutant(
        name="read-error-ignored",
        what="what cannot be read is stored as zeros",
        patches=faults.read_error_ignored,
    ),
    Mutant(
        name="snapshot-kept",
        what="snapshots are never released",
        patches=faults.snapshot_kept,
    ),
    Mutant(
        name="downgrade-unsaid",
        what="a crash-consistent point does not say why",
        patches=faults.downgrade_unsaid,
    ),
    Mutant(
        name="trims-missed",
        what="an increment leaves out what the guest trimmed",
        patches=faults.trims_missed,
    ),
    Mutant(
        name="no-second-attempt",
        what="what fails once is given up",
        patches=faults.no_second_attempt,
    ),
    Mutant(
        name="never-incremental",
        what="every run compares the whole disk",
        patches=faults.never_incremental,
    ),
    Mutant(
        name="thaw-skipped-on-failure",
        what="a guest is not thawed where its host snapshot failed",
        patches=faults.thaw_skipped_on_failure,
    ),
    Mutant(
        name="obstacles-ignored",
        what="a guest is frozen although its host has said that it cannot be",
        patches=gaps.obstacles_ignored,
    ),
    Mutant(
        name="saved-machine-forgotten",
        what="a machine that was saved for its snapshot is not resumed",
        patches=gaps.saved_machine_forgotten,
    ),
    Mutant(
        name="only-first-node-resumes",
        what="a saved machine is resumed on its own node or not at all",
        patches=gaps.only_first_node_resumes,
    ),
    Mutant(
        name="exposure-not-checked",
        what="what a host exposes as a snapshot is mounted without a look",
        patches=gaps.exposure_not_checked,
    ),
    Mutant(
        name="room-not-watched",
        what="a snapshot is kept although its volume fills",
        patches=gaps.room_not_watched,
    ),
    Mutant(
        name="resize-not-noticed",
        what="a disk of another size is copied incrementally",
        patches=gaps.resize_not_noticed,
    ),
    Mutant(
        name="first-claimant-believed",
        what="the machine that the cluster names first is believed to be the right one",
        patches=gaps.first_claimant_believed,
    ),
    Mutant(
        name="protected-twice",
        what="a machine that is seen again is protected once more",
        patches=gaps.names_taken_for_identities,
    ),
    Mutant(
        name="lies-overlooked",
        what="a sample that differs from the base is passed over",
        patches=gaps.lies_overlooked,
    ),
    Mutant(
        name="overlays-trusted-by-comparison",
        what="a comparison takes a block for present whose pieces were laid on a tracker's word",
        patches=gaps.overlays_trusted_by_comparison,
    ),
    Mutant(
        name="doubt-unsaid",
        what="the points that rest on a lying tracker are not named",
        patches=gaps.doubt_unsaid,
    ),
    Mutant(
        name="tracker-ahead-believed",
        what="a map that began with a lost point is taken for the base's",
        patches=gaps.tracker_ahead_believed,
    ),
    Mutant(
        name="wall-clock-believed",
        what="the engine's wall clock alone says how old a point is",
        patches=gaps.wall_clock_believed,
    ),
    Mutant(
        name="retention-shortened-for-room",
        what="points that the rules keep go when the repository is full",
        patches=gaps.retention_shortened_for_room,
    ),
    Mutant(
        name="full-repository-given-up",
        what="a run that finds no room in the repository is not tried again",
        patches=gaps.full_repository_given_up,
    ),
    *(Mutant(name=name, what=what, patches=patches) for name, what, patches in restores.PLANTED),
    *(
        Mutant(name=name, what=_sentence(patches), patches=patches)
        for name, patches in (*takeovers.PLANTED, *doubts.PLANTED, *items.PLANTED)
    ),
)


def mutant_named(name: str, /) -> Mutant:
    """Return the mutant of this name.

    Raises:
        InputRefusedError: there is none.
    """
    return named(name, MUTANTS, kind="mutant")


def with_mutant(name: str | None, /) -> AbstractContextManager[None]:
    """Return a block for whose time this bug is in the engine; None: no bug."""
    return nullcontext() if name is None else planted(mutant_named(name))
