"""From one run to its verdicts: proofs at each commit, restores at the end, the oracle's word."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from reference_engine.model.identity import DiskId, MachineId, RecoveryPointId
from reference_engine.model.machine import BackEnd, GuestKind
from reference_engine.model.recovery_point import Consistency, DiskRecord, RecoveryPoint
from reference_engine.model.units import HOUR, SECOND, ByteCount, Duration
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import MapDropped, PointBecameVisible
from simulator.campaign.night import Night, Watcher
from simulator.campaign.restoring import Restorer
from simulator.faults.reach import calm_from, suspects
from simulator.oracle.evidence import (
    ApplicationProof,
    Evidence,
    LaterRestore,
    Limits,
    PointProof,
    cut_of,
    replay,
)
from simulator.oracle.proof import ReadRestored
from simulator.world.applications.application import Opening
from simulator.world.applications.hosting import milestone_at
from simulator.world.applications.opening import opened
from simulator.world.content import DiskContent
from simulator.world.lifecycle import FOREIGN_EPOCH, foreign_harmed
from simulator.world.machine import SimMachine
from simulator.world.own_disks import is_own, own_disk
from simulator.world.stamps import StampImage

_SMALL_AREA: Final = 64
"""Cells of a diff area below which a busy guest may give its snapshot up any time."""


_HOST_CUTS: Final = Duration(5 * SECOND)
"""What a host takes for a cut, besides the skew: the hold itself, and the calls around it."""

_HOLD: Final = Duration(30 * SECOND)
"""How long the engine has a guest stand still for its host's snapshot."""


class Prover(Watcher):
    """Restores every point in the instant in which it becomes visible, and compares it."""

    def __init__(self) -> None:
        self.proofs: dict[RecoveryPointId, PointProof] = {}

    def see(self, fact: Fact, night: Night, /) -> None:
        """Prove a point that the repository lists since this instant."""
        if not isinstance(fact, PointBecameVisible):
            return
        point = fact.point
        expected = {
            record.disk: expected_image(night, point, record.disk) for record in point.disks
        }
        contents = {
            record.disk: content_at(night, point, record, expected[record.disk])
            for record in point.disks
        }
        self.proofs[point.id] = night.restorer.prove(
            point, contents, expected, lambda disks: _opened(night, point, disks)
        )


def _opened(
    night: Night, point: RecoveryPoint, disks: dict[DiskId, ReadRestored]
) -> ApplicationProof | None:
    """Return what the application in the guest says of the restored disks, if there is one."""
    machine = night.world.machines[point.machine.id]
    hosted = machine.application
    if hosted is None:
        return None
    named = [machine.disks[part.disk].id for part in hosted.layout.values()]
    missing = [str(disk) for disk in named if disk not in disks]
    cell = machine.disks[0].cell

    def read(part: str, number: int) -> bytes:
        place = hosted.layout[part]
        start = (place.first + number) * cell
        return bytes(disks[machine.disks[place.disk].id](start, start + cell))

    if missing:
        lack = tuple(f"the point lacks {disk}" for disk in missing)
        opening = Opening(clean=False, transactions=0, problems=lack)
    else:
        opening = opened(hosted.kind, read, cell)
    cut = cut_of(night.truth, point, point.disks[0])
    known = milestone_at(machine.milestones(), cut.stamp)
    return ApplicationProof(
        kind=hosted.kind, opening=opening, committed=known.committed, begun=known.begun
    )


def content_at(
    night: Night, point: RecoveryPoint, record: DiskRecord, image: StampImage, /
) -> DiskContent:
    """Return how the disk's stamps become bytes, as large as the disk was at the cut."""
    content = night.world.disk(record.disk).content
    stamp = cut_of(night.truth, point, record).stamp
    size = ByteCount(night.truth.size(record.disk, stamp))
    assert image.cells == -(-size // content.cell), (point.id, record.disk)
    return content if size == content.size else content.resized(size)


def expected_image(night: Night, point: RecoveryPoint, disk: DiskId, /) -> StampImage:
    """Return what the disk held at the instant that the point claims."""
    truth = night.truth
    if point.consistency is Consistency.APPLICATION and point.guest_snapshot is not None:
        return truth.guest_cuts[point.guest_snapshot].images[disk]
    record = point.disk(disk)
    assert record is not None, disk
    stamp = truth.host_cuts[record.snapshot].stamp
    return replay(truth, point.machine.id, disk, stamp)


def contents_of(night: Night, /) -> dict[DiskId, DiskContent]:
    """Return how each disk's stamps become bytes."""
    return {
        disk.id: disk.content for machine in night.world.machines.values() for disk in machine.disks
    }


def gather(
    night: Night,
    prover: Prover,
    /,
    *,
    restore_again: bool,
    restored: Callable[[int, int], None],
    second_digest: str | None,
    sources_unchanged: dict[str, bool],
) -> Evidence:
    """Return everything that the oracle needs of a finished run.

    `restored` is told how many points of how many were restored once more.
    """
    restorer = night.restorer
    visible = restorer.visible() if night.kept.objects else ()
    later: tuple[LaterRestore, ...] = ()
    if restore_again:
        later = tuple(_again(restorer, visible, restored))
        later += _onto_files(restorer, visible)
    else:
        later = tuple(_as_proven(prover, point) for point in visible)
    replicas = _replicas(night)
    machines = night.world.machines.values()
    return Evidence(
        facts=tuple(night.facts),
        truth=night.truth,
        contents=contents_of(night),
        proofs=prover.proofs,
        visible=visible,
        later=later,
        looks=(*night.orders.looks, *replicas),
        items_ordered=tuple(night.orders.items_ordered),
        items_taken=dict(night.orders.items_taken),
        own_volumes={
            DiskId(f"{machine.name}-disk{index}"): own_disk(disk.image).volumes
            for machine in night.scenario.machines
            for index, disk in enumerate(machine.disks)
            if disk.image is not None and is_own(disk.image)
        },
        lived={
            order: tuple(content.tobytes() for content in guest.contents)
            for order, guest in night.orders.guests.items()
        },
        misread=tuple(each for guest in night.orders.guests.values() for each in guest.wrong),
        replica=tuple(each.point for each in replicas),
        live={disk.id: disk.stamps.snapshot() for machine in machines for disk in machine.disks},
        frozen_maps=tuple(_frozen_maps(night)),
        frozen_guests=tuple(machine.id for machine in machines if machine.guest.at_rest),
        leftovers=tuple(_leftovers(night)),
        finished=night.unfinished,
        freeze_bound=Duration(night.scenario.freeze_bound),
        sources_unchanged=sources_unchanged,
        second_digest=second_digest,
        digest=night.digest.hexdigest(),
        limits=Limits(
            at_once=night.scenario.protection.runs_at_once,
            per_volume=night.scenario.protection.runs_per_volume,
            per_node=night.scenario.protection.runs_per_node,
        ),
        slots={
            plan.machine: tuple(plan.instant(slot) for slot in range(plan.count))
            for plan in night.slots()
        },
        damaged=night.damaged,
        healed=_healed(night, visible) if night.damaged else (),
        foreign_harmed=tuple(foreign_harmed(night.world)),
        redirected=tuple(v.name for v in night.world.volumes.values() if v.redirected),
        astray=tuple(
            volume.name
            for volume in night.world.volumes.values()
            if volume.moved_by_engine and volume.coordinator != volume.preferred
        ),
        calm_from=calm_from(night.happenings, tuple(night.facts), night.scenario),
        suspects=_suspects(night),
        lost=frozenset(night.lost),
        orders=dict(night.orders.given),
        keep_last=night.scenario.repository.keep_last,
        immutable_for=Duration(night.scenario.repository.immutable_for),
        scrubbed=restorer.scrub() if night.damaged else None,
        unprotected={machine.id: machine.unprotected for machine in machines},
        nodes=tuple(node for node in night.world.nodes if node not in night.world.outside),
        stay_saved=tuple(
            machine.id
            for machine in machines
            if machine.saved is not None and not night.world.full.issuperset(night.world.nodes)
        ),
        able=frozenset(machine.id for machine in machines if _able(night, machine)),
    )


def _healed(night: Night, visible: tuple[RecoveryPointId, ...]) -> tuple[LaterRestore, ...]:
    """Return what is restored where everything that was damaged is as it was."""
    restorer = Restorer(night.kept.healed())
    return tuple(
        replace(restorer.again(point), target="where nothing is damaged") for point in visible
    )


def _replicas(night: Night) -> tuple[LaterRestore, ...]:
    """Return what a second repository holds of each of its points."""
    if not any(name.startswith("log/") for name in night.replica.objects):
        return ()
    restorer = Restorer(night.replica)
    return tuple(
        replace(restorer.again(point), target="the second repository")
        for point in restorer.visible()
    )


def _suspects(night: Night) -> frozenset[MachineId] | None:
    """Return to whom something happened; what a machine is built with happens by itself."""
    named = suspects(night.happenings)
    tight = (
        machine.id
        for machine in night.world.machines.values()
        if _overflows(machine) or _may_fill(night, machine) or _outlasts_hold(night, machine)
    )
    return None if named is None else named.union(tight)


def _overflows(machine: SimMachine) -> bool:
    """Return whether a diff area is so small that any writing may fill it."""
    return any(len(disk.diff_area) < _SMALL_AREA for disk in machine.disks)


def _may_fill(night: Night, machine: SimMachine) -> bool:
    """Return whether the guest's own writing may fill a diff area while its host cuts.

    A burst is counted as the longest one with what is kept around it, on one disk: twice the mean.
    """
    law, areas = machine.profile, [disk for disk in machine.disks if len(disk.diff_area)]
    stands = night.scenario.skew.longest + _HOST_CUTS
    bursts = law.bursts_per_hour * stands / HOUR
    return any(
        bursts * (law.burst_cells + disk.cow_cells - 1) > len(disk.diff_area) for disk in areas
    )


def _outlasts_hold(night: Night, machine: SimMachine) -> bool:
    """Return whether a guest that stands still may have to be let go before its host has cut."""
    stands = machine.guest.kind is GuestKind.FSFREEZE
    volumes = len({disk.volume for disk in machine.disks})
    longest = volumes * (night.scenario.skew.longest + _HOST_CUTS)
    return stands and machine.back_end is BackEnd.HOST_SNAPSHOT and longest > _HOLD


def _able(night: Night, machine: SimMachine) -> bool:
    """Return whether the machine's topology and the policy allow a point."""
    speaks = machine.guest.kind is not GuestKind.NONE and not machine.obstacles
    cuts = {disk.volume for disk in machine.disks}
    protection = night.scenario.protection
    saves = protection.without_guest == "save" and machine.back_end is not BackEnd.REFERENCE_POINT
    # Only a guest that cannot be asked is saved: one that is asked and fails is not.
    one_cut = (
        len(cuts) == 1 or machine.back_end is not BackEnd.HOST_SNAPSHOT or (saves and not speaks)
    )
    if machine.deleted or machine.off or night.world.store_refused:
        return False
    if machine.unprotected and protection.physical_disks == "refuse":
        return False
    if _outlasts_hold(night, machine):
        return False
    return (speaks and not _overflows(machine)) or (
        one_cut and not night.scenario.protection.application_required
    )


def _again(
    restorer: Restorer, visible: tuple[RecoveryPointId, ...], restored: Callable[[int, int], None]
) -> Iterator[LaterRestore]:
    for done, point in enumerate(visible):
        restored(done, len(visible))
        yield restorer.again(point)


def _onto_files(
    restorer: Restorer, visible: tuple[RecoveryPointId, ...]
) -> tuple[LaterRestore, ...]:
    """Restore the newest point into files as well, the way that administrators will."""
    if not visible:
        return ()
    with tempfile.TemporaryDirectory(prefix="twinshot-") as place:
        return restorer.onto_files(visible[-1], Path(place))


def _as_proven(prover: Prover, point: RecoveryPointId) -> LaterRestore:
    """Without a second restore, only that the point is listed can be said again."""
    proof = prover.proofs.get(point)
    return LaterRestore(
        point=point,
        target="not restored again",
        fingerprints={} if proof is None else {disk.disk: disk.fingerprint for disk in proof.disks},
        unreadable="",
    )


def _frozen_maps(night: Night) -> list[str]:
    """Return maps that are frozen still; what went with its node's power is not."""
    world = night.world
    gone = {
        (fact.node, fact.disk, fact.run)
        for fact in night.facts
        if isinstance(fact, MapDropped) and fact.why == "node-crash"
    }
    return [
        f"{run} on {node} of {disk.id}"
        for machine in world.machines.values()
        for disk in machine.disks
        for node, kept in world.maps.known(disk.id)
        if world.heard(node)
        for run in kept.frozen
        if (node, disk.id, run) not in gone
    ]


def _leftovers(night: Night) -> list[str]:
    """Return snapshots that outlived their run; at rest there is none."""
    kept: list[str] = [
        f"snapshot {snapshot.id}"
        for snapshot in night.world.snapshots.values()
        if snapshot.exists and snapshot.id not in night.world.foreign
    ]
    kept += night.order_files
    for machine in night.world.machines.values():
        if machine.guest.shadow is not None:
            kept.append(f"guest snapshot of {MachineId(machine.id)}")
        ours = [point for point in machine.references.values() if point.run.epoch < FOREIGN_EPOCH]
        if len(ours) > 1:
            kept.append(f"{len(ours)} reference points of {machine.id}")
    return kept
