"""Deceptions of the oracle: evidence in which one thing is told otherwise than it was."""

from collections.abc import Callable
from typing import Final

import numpy as np

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    GuestSnapshotId,
    MachineId,
    ReferencePointId,
    RunTag,
    VolumeName,
)
from reference_engine.model.outcome import Outcome
from reference_engine.model.recovery_point import Consistency, RecoveryPoint
from reference_engine.model.units import HOUR, Instant
from reference_engine.trace.cluster import (
    FaultInjected,
    GuestFroze,
    GuestThawed,
    MapDropped,
    MapMerged,
    PointsBecameInvisible,
    ReferencePointDropped,
)
from reference_engine.trace.engine import JobEnded, RunEnded, RunsFenced, SlotsMissed
from simulator.oracle.evidence import Evidence, Limits
from tests.strategies.altered_evidence import (
    difference,
    incremental,
    last_of,
    proofs_of,
    read_less,
    replace,
    with_disk,
    with_facts,
    with_later,
    with_opening,
    with_point,
    with_proof,
)
from tests.strategies.simulated_clusters import X


def spoil_later_restore(evidence: Evidence) -> Evidence:
    """A restore in the end returns other bytes than at the commit."""
    first = evidence.later[0]
    prints = dict.fromkeys(first.fingerprints, "other bytes")
    return with_later(evidence, replace(first, fingerprints=prints))


def forget_point(evidence: Evidence) -> Evidence:
    """A committed point is neither listed nor restored in the end."""
    return replace(evidence, later=evidence.later[1:])


def hide_point(evidence: Evidence) -> Evidence:
    """A committed point is not listed any more."""
    return replace(evidence, visible=evidence.visible[1:])


def spoil_application_image(evidence: Evidence) -> Evidence:
    """One byte of an application-consistent disk is not the guest's."""
    proof = proofs_of(evidence, Consistency.APPLICATION)[0]
    return with_proof(evidence, with_disk(proof, wrong=ExtentSet.of([(7, 8)])))


def fill_mask(evidence: Evidence) -> Evidence:
    """What was masked is not zero."""
    proof = proofs_of(evidence, Consistency.APPLICATION)[0]
    return with_proof(evidence, with_disk(proof, not_blank=ExtentSet.of([(0, 512)])))


def mask_too_much(evidence: Evidence) -> Evidence:
    """A mask covers bytes that were never the guest's diff area."""

    def change(point: RecoveryPoint) -> RecoveryPoint:
        masked = replace(point.disks[0], mask=ExtentSet.of([(0, 4096)]))
        return replace(point, disks=(masked, *point.disks[1:]))

    return with_point(evidence, last_of(evidence, Consistency.APPLICATION).id, change)


def spoil_crash_image(evidence: Evidence) -> Evidence:
    """One byte of a crash-consistent disk does not belong to the cut."""
    proof = proofs_of(evidence, Consistency.CRASH)[0]
    return with_proof(evidence, with_disk(proof, wrong=ExtentSet.of([(7, 8)])))


def tear_cut(evidence: Evidence) -> Evidence:
    """Two disks of a crash-consistent point come from two instants."""
    point = last_of(evidence, Consistency.CRASH)
    cut = evidence.truth.host_cuts[point.disks[0].snapshot]
    later = replace(point.disks[1], snapshot=type(point.disks[1].snapshot)("another"))
    cuts = {**evidence.truth.host_cuts, later.snapshot: replace(cut, stamp=cut.stamp + 1)}
    torn = replace(evidence, truth=replace(evidence.truth, host_cuts=cuts))
    return with_point(torn, point.id, lambda p: replace(p, disks=(p.disks[0], later)))


def overclaim(evidence: Evidence) -> Evidence:
    """A point names the snapshot of another run as the guest's."""
    points = [p for p in evidence.points() if p.consistency is Consistency.APPLICATION]
    cut = evidence.truth.guest_cuts[points[-1].guest_snapshot or GuestSnapshotId("")]
    cuts = evidence.truth.guest_cuts | {
        points[-1].guest_snapshot or GuestSnapshotId(""): replace(cut, run=points[0].run)
    }
    return replace(evidence, truth=replace(evidence.truth, guest_cuts=cuts))


def misdate(evidence: Evidence) -> Evidence:
    """A point shows another instant than its data has."""
    point = last_of(evidence, Consistency.APPLICATION)
    return with_point(evidence, point.id, lambda p: replace(p, instant=Instant(p.instant + 1)))


def misdate_crash(evidence: Evidence) -> Evidence:
    """A crash-consistent point shows another instant than its data has."""
    point = last_of(evidence, Consistency.CRASH)
    return with_point(evidence, point.id, lambda p: replace(p, instant=Instant(p.instant + 1)))


def misstate_host_clock(evidence: Evidence) -> Evidence:
    """A point states another host instant than the host's clock showed."""
    point = last_of(evidence, Consistency.APPLICATION)
    return with_point(evidence, point.id, lambda p: replace(p, host_instant=Instant(-1)))


def keep_quiet(evidence: Evidence) -> Evidence:
    """A crash-consistent point does not say why."""
    point = last_of(evidence, Consistency.CRASH)
    return with_point(evidence, point.id, lambda p: replace(p, downgrade=""))


def leave_disk_out(evidence: Evidence) -> Evidence:
    """A point lacks a disk of its machine."""
    point = last_of(evidence, Consistency.CRASH)
    return with_point(evidence, point.id, lambda p: replace(p, disks=p.disks[:1]))


def miss_change(evidence: Evidence) -> Evidence:
    """An incremental run leaves bytes out that changed since its base."""
    point = incremental(evidence)
    differs, skew = difference(evidence, point)
    only_changed = differs - skew
    assert only_changed
    return read_less(evidence, point, only_changed)


def miss_skew(evidence: Evidence) -> Evidence:
    """An incremental run leaves out what its base had put back, and nothing else."""
    point = incremental(evidence)
    _, skew = difference(evidence, point)
    assert skew
    return read_less(evidence, point, skew)


def lose_base(evidence: Evidence) -> Evidence:
    """An incremental point names no base."""
    point = last_of(evidence, Consistency.CRASH)
    return with_point(evidence, point.id, lambda p: replace(p, base=None))


def drop_map_early(evidence: Evidence) -> Evidence:
    """A map is dropped before its run has committed."""
    dropped = next(fact for fact in evidence.facts if isinstance(fact, MapDropped))
    return replace(evidence, facts=(dropped, *evidence.facts))


def merge_after_commit(evidence: Evidence) -> Evidence:
    """A map is merged back although its run committed."""
    dropped = next(fact for fact in evidence.facts if isinstance(fact, MapDropped))
    merged = MapMerged(at=dropped.at, node=dropped.node, disk=dropped.disk, run=dropped.run)
    return replace(evidence, facts=(*evidence.facts, merged))


def drop_needed_reference(evidence: Evidence) -> Evidence:
    """The reference point that the newest point needs is dropped."""
    newest = evidence.points()[-1]
    assert newest.tracker is not None
    dropped = ReferencePointDropped(
        at=Instant(0), machine=newest.machine.id, point=newest.tracker, run=newest.run
    )
    return replace(evidence, facts=(*evidence.facts, dropped))


def leave_map_frozen(evidence: Evidence) -> Evidence:
    """A map stays frozen for ever."""
    return replace(evidence, frozen_maps=("x#1 on A of x-disk0",))


def ask_nobody(evidence: Evidence) -> Evidence:
    """The newest delta has nobody's word."""

    def change(point: RecoveryPoint) -> RecoveryPoint:
        silent = tuple(replace(record, sources=()) for record in point.disks)
        return replace(point, disks=silent)

    return with_point(evidence, last_of(evidence, Consistency.APPLICATION).id, change)


def ask_for_another_instant(evidence: Evidence) -> Evidence:
    """A delta was tracked from a reference point that is not its base's."""

    def change(point: RecoveryPoint) -> RecoveryPoint:
        other = ReferencePointId("x-reference-99")
        return replace(
            point, disks=tuple(replace(record, sources=(other,)) for record in point.disks)
        )

    return with_point(evidence, last_of(evidence, Consistency.APPLICATION).id, change)


def publish_half(evidence: Evidence) -> Evidence:
    """A crash-consistent point becomes visible before it can be restored."""
    proof = proofs_of(evidence, Consistency.CRASH)[0]
    return with_proof(evidence, replace(proof, unreadable="a pack is missing"))


def lose_pack(evidence: Evidence) -> Evidence:
    """A point that is listed in the end cannot be restored any more."""
    lost = replace(evidence.later[0], unreadable="a pack is missing", fingerprints={})
    return with_later(evidence, lost)


def expire_newest(evidence: Evidence) -> Evidence:
    """The newest point of a machine expires, although its next run builds on it."""
    expired = PointsBecameInvisible(at=evidence.facts[-1].at, points=(evidence.visible[-1],))
    return replace(evidence, facts=(*evidence.facts, expired))


def write_production(evidence: Evidence) -> Evidence:
    """A production disk holds what its guest never wrote."""
    disk = DiskId("x-disk0")
    changed = evidence.live[disk].overlaid(np.array([3]), np.array([2**50], np.uint64))
    return replace(evidence, live={**evidence.live, disk: changed})


def write_source(evidence: Evidence) -> Evidence:
    """A real image file is not what it was."""
    return replace(evidence, sources_unchanged={"a.vhdx": False})


def restore_differently(evidence: Evidence) -> Evidence:
    """Another target gets other bytes than the first one; neither was proved at the commit."""
    first = evidence.later[0]
    prints = dict.fromkeys(first.fingerprints, "other bytes")
    proofs = {k: v for k, v in evidence.proofs.items() if k != first.point}
    other = replace(first, target="raw file", fingerprints=prints)
    return replace(evidence, proofs=proofs, later=(*evidence.later, other))


def never_finish(evidence: Evidence) -> Evidence:
    """The night does not come to its end."""
    return replace(evidence, finished="main waits for ever")


def thaw_late(evidence: Evidence) -> Evidence:
    """A guest is frozen longer than it may be."""
    froze = GuestFroze(at=Instant(0), machine=X, run=evidence.points()[0].run)
    thawed = GuestThawed(at=Instant(HOUR), machine=X, why="limit")
    return replace(evidence, facts=(froze, thawed, *evidence.facts))


def never_thaw(evidence: Evidence) -> Evidence:
    """A guest is frozen in the end."""
    return replace(evidence, frozen_guests=(MachineId("x"),))


def never_end_run(evidence: Evidence) -> Evidence:
    """A run is opened and not heard of again."""
    return with_facts(evidence, lambda fact: None if isinstance(fact, RunEnded) else fact)


def leave_snapshot(evidence: Evidence) -> Evidence:
    """A snapshot outlives its run."""
    return replace(evidence, leftovers=("snapshot x-snapshot-1",))


def take_another_course(evidence: Evidence) -> Evidence:
    """A repetition of the run has another digest."""
    return replace(evidence, second_digest="another")


def commit_superseded(evidence: Evidence) -> Evidence:
    """A newer run was opened before an older one committed."""
    newest = max(point.run.epoch for point in evidence.points())
    run = RunTag(machine=X, epoch=Epoch(newest + 1))
    return replace(evidence, facts=(RunsFenced(at=Instant(0), run=run), *evidence.facts))


def leave_redirected(evidence: Evidence) -> Evidence:
    """A volume stays redirected for ever."""
    return replace(evidence, redirected=(VolumeName("V1"),))


def harm_foreign(evidence: Evidence) -> Evidence:
    """Another product's checkpoint is gone."""
    return replace(evidence, foreign_harmed=("x-foreign-0 of x",))


def order_by_clock(evidence: Evidence) -> Evidence:
    """After a clock was set back the points are listed in another order."""
    jump = FaultInjected(at=Instant(0), kind="clock-jump", subject="A", what="clock=A")
    return replace(evidence, facts=(jump, *evidence.facts), visible=evidence.visible[::-1])


def read_another_snapshot(evidence: Evidence) -> Evidence:
    """A disk of a point was read from the snapshot of another run."""
    first, last = evidence.points()[0], evidence.points()[-1]
    snapshot = last.disks[0].snapshot
    cut = replace(evidence.truth.host_cuts[snapshot], run=first.run)
    cuts = {**evidence.truth.host_cuts, snapshot: cut}
    return replace(evidence, truth=replace(evidence.truth, host_cuts=cuts))


def exceed_limit(evidence: Evidence) -> Evidence:
    """More runs go on at once than may."""
    return replace(evidence, limits=Limits(at_once=0, per_volume=4, per_node=4))


def pile_up(evidence: Evidence) -> Evidence:
    """A checkpoint is taken on top of two others."""
    depths = [(evidence.points()[0].run, 2)]
    return replace(evidence, truth=replace(evidence.truth, depths=depths))


def restore_damage(evidence: Evidence) -> Evidence:
    """A point that was damaged is restored with other bytes, without a word."""
    return replace(spoil_later_restore(evidence), damaged=True)


def blame_damage(evidence: Evidence) -> Evidence:
    """A point cannot be read where something was damaged, nor would it be if nothing were."""
    [first, *_] = evidence.later
    broken = replace(first, unreadable="its digest is wrong")
    return replace(evidence, damaged=True, healed=(broken,))


def skip_slot(evidence: Evidence) -> Evidence:
    """A slot of the schedule is neither run nor missed."""
    return replace(evidence, slots={**evidence.slots, MachineId("z"): (Instant(0),)})


def give_up_slot(evidence: Evidence) -> Evidence:
    """A slot is given up before its time, for a machine that was there all along."""
    last = len(evidence.slots[X]) - 1
    missed = SlotsMissed(at=Instant(0), machine=X, first=last, last=last, cause="it is gone")
    return replace(evidence, facts=(missed, *evidence.facts))


def infect(evidence: Evidence) -> Evidence:
    """A machine fails although something happened to another one only."""
    ended = next(f for f in evidence.facts if isinstance(f, JobEnded) and f.machine == X)
    failed = replace(ended, outcome=Outcome.FAIL_CLEAN, cause="contagion")
    suspects = frozenset({MachineId("y")})
    return replace(evidence, facts=(failed, *evidence.facts), suspects=suspects)


def damage_ledger(evidence: Evidence) -> Evidence:
    """A ledger's balances do not sum to zero."""
    return with_opening(evidence, Consistency.CRASH, problems=("the balances are wrong",))


def lose_transaction(evidence: Evidence) -> Evidence:
    """A ledger lacks a transaction that was committed."""
    return with_opening(evidence, Consistency.CRASH, transactions=3)


def recover_at_rest(evidence: Evidence) -> Evidence:
    """A ledger was not closed, though the label says that it was at rest."""
    return with_opening(evidence, Consistency.APPLICATION, clean=False)


Deception = Callable[[Evidence], Evidence]


DECEPTIONS: Final[tuple[tuple[str, Deception, frozenset[str]], ...]] = (
    # What is no longer what it was (I1) also differs from what was committed (I13).
    ("E1", spoil_later_restore, frozenset({"I1", "I13", "I20"})),
    ("E1", forget_point, frozenset({"I1"})),
    ("E1", expire_newest, frozenset({"I14"})),
    ("E1", hide_point, frozenset({"I10"})),
    ("E1", spoil_application_image, frozenset({"I2"})),
    ("E1", fill_mask, frozenset({"I2"})),
    ("E1", mask_too_much, frozenset({"I2"})),
    ("E1", spoil_crash_image, frozenset({"I3"})),
    ("E1", tear_cut, frozenset({"I3"})),
    ("E1", overclaim, frozenset({"I4"})),
    ("E1", misdate, frozenset({"I4"})),
    ("E1", misdate_crash, frozenset({"I4"})),
    ("E1", misstate_host_clock, frozenset({"I4"})),
    ("E1", keep_quiet, frozenset({"I4"})),
    ("E1", leave_disk_out, frozenset({"I4"})),
    ("E1", miss_change, frozenset({"I5"})),
    ("E3", lose_base, frozenset({"I5"})),
    # What a base put back was written again since, so leaving it out misses a change too (I5).
    ("E1", miss_skew, frozenset({"I5", "I6"})),
    ("E1", drop_map_early, frozenset({"I7"})),
    ("E1", merge_after_commit, frozenset({"I7"})),
    ("E3", drop_needed_reference, frozenset({"I7"})),
    ("E1", leave_map_frozen, frozenset({"I7"})),
    ("E1", ask_nobody, frozenset({"I8"})),
    ("E3", ask_for_another_instant, frozenset({"I8"})),
    # A point that cannot be read is no image of anything either (I3), and does not last (I1).
    ("E1", publish_half, frozenset({"I3", "I10"})),
    ("E1", lose_pack, frozenset({"I1", "I10"})),
    ("E1", write_production, frozenset({"I12"})),
    ("E1", write_source, frozenset({"I12"})),
    ("E1", restore_differently, frozenset({"I13"})),
    ("E1", never_finish, frozenset({"I18"})),
    ("E1", thaw_late, frozenset({"I18"})),
    ("E1", never_thaw, frozenset({"I18"})),
    ("E1", never_end_run, frozenset({"I18"})),
    ("E1", leave_snapshot, frozenset({"I11"})),
    ("E1", commit_superseded, frozenset({"I9"})),
    ("E1", leave_redirected, frozenset({"I11"})),
    ("E1", harm_foreign, frozenset({"I11"})),
    ("E1", order_by_clock, frozenset({"I15"})),
    ("E1", read_another_snapshot, frozenset({"I16"})),
    ("E1", exceed_limit, frozenset({"I17"})),
    ("E3", pile_up, frozenset({"I17"})),
    ("E1", restore_damage, frozenset({"I1", "I13", "I20"})),
    ("E1", blame_damage, frozenset({"I20"})),
    ("E1", skip_slot, frozenset({"I21"})),
    ("E1", give_up_slot, frozenset({"I21"})),
    ("E1", infect, frozenset({"I22"})),
    ("E1", damage_ledger, frozenset({"I23"})),
    ("E1", lose_transaction, frozenset({"I23"})),
    ("E1", recover_at_rest, frozenset({"I23"})),
    ("E1", take_another_course, frozenset({"I19"})),
)
