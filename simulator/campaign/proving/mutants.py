"""The safety rules of the repository, each with the mutant that lacks it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from simulator.campaign.mutants import Mutant, planted
from simulator.campaign.naming import named
from simulator.campaign.proving import removed_care_rules as care
from simulator.campaign.proving import removed_domain_rules as domains
from simulator.campaign.proving import removed_key_rules as keys
from simulator.campaign.proving import removed_reclaim_rules as reclaim
from simulator.campaign.proving import removed_repack_rules as repack
from simulator.campaign.proving import removed_rules as rules

REPOSITORY_MUTANTS: Final[tuple[Mutant, ...]] = tuple(
    Mutant(name=name, what=(patches.__doc__ or "").rstrip("."), patches=patches)
    for name, patches in (
        ("no-file-flush", rules.no_file_flush),
        ("no-name-flush", rules.no_name_flush),
        ("no-parent-flush", rules.no_parent_flush),
        ("visible-directory-trusted", rules.visible_directory_trusted),
        ("visible-object-trusted", rules.visible_object_trusted),
        ("visible-entry-trusted", rules.visible_entry_trusted),
        ("named-before-flush", rules.named_before_flush),
        ("written-in-place", rules.written_in_place),
        ("flush-repeated", rules.flush_repeated),
        ("short-write-accepted", rules.short_write_accepted),
        ("name-taken-over", rules.name_taken_over),
        ("failed-read-is-absence", rules.failed_read_is_absence),
        ("commit-before-packs", rules.commit_before_packs),
        ("commit-before-maps", rules.commit_before_maps),
        ("commit-before-manifest", rules.commit_before_manifest),
        ("index-before-packs", rules.index_before_packs),
        ("listed-packs-discarded", rules.listed_packs_discarded),
        ("number-taken-unseen", rules.number_taken_unseen),
        ("lost-answer-is-success", rules.lost_answer_is_success),
        ("superseded-run-commits", rules.superseded_run_commits),
        ("abandoned-after-commit", rules.abandoned_after_commit),
        ("deleted-at-once", reclaim.deleted_at_once),
        ("deleted-before-sweep", reclaim.deleted_before_sweep),
        ("sweep-not-remarked", reclaim.sweep_not_remarked),
        ("sweep-not-durable", reclaim.sweep_not_durable),
        ("decided-once", reclaim.decided_once),
        ("open-runs-not-spared", reclaim.open_runs_not_spared),
        ("open-runs-not-awaited", reclaim.open_runs_not_awaited),
        ("commit-not-checked", reclaim.commit_not_checked),
        ("awaited-by-nobody", reclaim.awaited_by_nobody),
        ("condemned-blocks-found", reclaim.condemned_blocks_found),
        ("closed-run-commits", reclaim.closed_run_commits),
        ("unreadable-point-ignored", reclaim.unreadable_point_ignored),
        ("failed-listing-is-short", reclaim.failed_listing_is_short),
        ("moved-before-packs", repack.moved_before_packs),
        ("moved-before-maps", repack.moved_before_maps),
        ("old-packs-deleted-first", repack.old_packs_deleted_first),
        ("repack-not-rechecked", repack.repack_not_rechecked),
        ("overlaid-pieces-forgotten", repack.overlaid_pieces_forgotten),
        ("hidden-pieces-shown", repack.hidden_pieces_shown),
        ("moved-base-trusted", repack.moved_base_trusted),
        ("repack-not-spared", repack.repack_not_spared),
        ("repack-without-run", repack.repack_without_run),
        ("moves-undone-after-commit", care.moves_undone_after_commit),
        ("found-blocks-not-checked", care.found_blocks_not_checked),
        ("copy-before-entry", care.copy_before_entry),
        ("runs-unsealed", care.runs_unsealed),
        ("groups-closed-when-full", care.groups_closed_when_full),
        ("damage-kept-late", care.damage_kept_late),
        ("old-slot-first", keys.old_slot_first),
        ("slots-deleted-before-rotation", keys.slots_deleted_before_rotation),
        ("rotation-before-slot", keys.rotation_before_slot),
        ("removed-slots-left", keys.removed_slots_left),
        ("domain-before-key", domains.domain_before_key),
        ("domain-key-deleted-first", domains.domain_key_deleted_first),
        ("domain-key-copy-left", domains.domain_key_copy_left),
        ("domain-key-left-to-reclaim", domains.domain_key_left_to_reclaim),
        ("domain-points-one-by-one", domains.domain_points_one_by_one),
        ("unclaimed-domain-keys-left", domains.unclaimed_domain_keys_left),
    )
)

WITH_CACHE: Final = ("runs-unsealed",)
"""Rules of the local cache, which seeds meet only where processes keep one."""

SHOWN_BY_KILLS: Final = {
    "groups-closed-when-full": "backup-with-parity",
    "damage-kept-late": "repair-log",
    "old-slot-first": "key-rotate",
    "slots-deleted-before-rotation": "key-rotate-master",
    "rotation-before-slot": "key-rotate-master",
    "removed-slots-left": "key-remove",
    "domain-before-key": "domain-add",
    "domain-key-deleted-first": "domain-shred",
    "domain-key-copy-left": "domain-shred",
    "domain-key-left-to-reclaim": "domain-shred",
    "domain-points-one-by-one": "domain-shred",
    "unclaimed-domain-keys-left": "domain-add",
}
"""Rules of what no seed does, each with the operation whose kills show that it is missing."""

EQUIVALENT: Final = {
    "open-runs-not-awaited": "a run looks before its commit whether what it uses was swept, and "
    "copies it while it is there or starts over; waiting only spares it the work",
    "commit-not-checked": "what an open run may use is not swept before the run has ended or was "
    "closed, and a closed run cannot commit; both gone is the mutant awaited-by-nobody",
    "failed-listing-is-short": "nothing is deleted because it is not listed: what points use is "
    "read from their manifests, and a listing only says what else there is",
}
"""Rules whose loss loses no point, because another rule guards the same; with the reason."""


def repository_mutant(name: str, /) -> Mutant:
    """Return the mutant of this name.

    Raises:
        InputRefusedError: there is none.
    """
    return named(name, REPOSITORY_MUTANTS, kind="mutant")


def removed(name: str | None, /) -> AbstractContextManager[None]:
    """Return a block for whose time this rule is missing; None: none is."""
    return nullcontext() if name is None else planted(repository_mutant(name))
