"""Steps S2 to S6: everything until both snapshots exist and the guest goes on."""

from collections.abc import Awaitable, Callable, Iterable

import msgspec
from msgspec.structs import replace

from reference_engine.jobs.eligibility import Method, MethodKind
from reference_engine.jobs.owner import confirm_unchanged, confirm_unmoved
from reference_engine.jobs.space import confirm_room
from reference_engine.jobs.surroundings import Policy, Ports, VolumeLedger
from reference_engine.model.errors import (
    CoordinatorMoveRefusedError,
    MachineChangedError,
    OperationFailedError,
    VolumeBusyError,
)
from reference_engine.model.identity import DiskId, NodeName, RunTag, SnapshotId, VolumeName
from reference_engine.model.machine import BackEnd, GuestKind, Machine, Placement, VolumeState
from reference_engine.model.units import Instant
from reference_engine.ports.change_tracking import TrackerState
from reference_engine.ports.consistency import GuestSnapshot
from reference_engine.reconcile.freeze import FreezeDriver
from reference_engine.sync.route import RouteKind, choose_route
from reference_engine.trace.engine import FreezeAnswered, RouteChosen, SnapshotTaken
from reference_engine.tracking.lineage import Contribution, SwitchMoment, contributions


class SourceSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Where one disk of the run can be read."""

    snapshot: SnapshotId
    through: NodeName


class Switched(msgspec.Struct, frozen=True, kw_only=True):
    """One disk's trackers as the run found them, and those whose maps it asked for."""

    trackers: tuple[TrackerState, ...]
    by: tuple[Contribution, ...]


class Snapshots(msgspec.Struct, frozen=True, kw_only=True):
    """Both snapshots of a run."""

    sources: dict[DiskId, SourceSnapshot]
    cuts: int
    """At how many instants the host cut the disks."""

    host_instant: Instant
    guest: GuestSnapshot | None
    cause: str
    """Why there is no guest snapshot."""

    saved: bool = False
    """Whether the machine stood still, its memory saved."""


class VolumeHold(msgspec.Struct, frozen=True, kw_only=True):
    """How a volume was written when the run prepared it; it has to stay so through the cut."""

    volume: VolumeName
    coordinator: NodeName
    redirections: int | None
    """None where the run does not rely on redirected writes."""

    room_known: bool = False
    """Whether anybody says how much room is left on it."""


Redirect = Callable[[VolumeName], Awaitable[VolumeHold]]
"""Sends a volume's writes through its coordinator until the run's snapshots exist."""


async def await_settled(ports: Ports, policy: Policy, volume: VolumeName, /) -> VolumeState:
    """Return the volume's state once its coordinator is not changing.

    Raises:
        VolumeBusyError: it takes longer than the policy's limit; come back later.
    """
    began = ports.runtime.now()
    state = await ports.cluster.volume(volume)
    while not state.settled:
        if ports.runtime.now() - began >= policy.settle_limit:
            raise VolumeBusyError(volume, "its coordinator is changing")
        await ports.runtime.sleep(policy.poll)
        state = await ports.cluster.volume(volume)
    return state


async def prepare_volumes(
    ports: Ports,
    policy: Policy,
    ledger: VolumeLedger,
    machine: Machine,
    placement: Placement,
    /,
    *,
    run: RunTag,
    redirect: Redirect,
) -> tuple[VolumeHold, ...]:
    """Have each volume coordinated, or redirected, as the run needs.

    Runs decide on a volume one after the other: a move that another run began between the look and
    the cut would take the volume from under the snapshot.
    """
    holds: list[VolumeHold] = []
    for volume in sorted({disk.volume for disk in machine.disks}):
        while not ledger.claim(volume):
            await ports.runtime.sleep(policy.poll)
        try:
            hold = await _prepare(
                ports,
                policy,
                ledger,
                volume,
                machine.back_end,
                owner=placement.owner,
                run=run,
                redirect=redirect,
            )
        finally:
            ledger.unclaim(volume)
        holds.append(hold)
    return tuple(holds)


async def _prepare(
    ports: Ports,
    policy: Policy,
    ledger: VolumeLedger,
    volume: VolumeName,
    back_end: BackEnd,
    /,
    *,
    owner: NodeName,
    run: RunTag,
    redirect: Redirect,
) -> VolumeHold:
    state = await await_settled(ports, policy, volume)
    confirm_room(state, policy)
    route = choose_route(
        state,
        owner,
        back_end=back_end,
        now=ports.runtime.now(),
        last_move=ledger.last_move(volume),
        in_use=ledger.in_use(volume) - 1,
        hysteresis=policy.coordinator_hysteresis,
    )
    kind, reason = route.kind, route.reason
    if kind is RouteKind.MOVE:
        try:
            await ports.cluster.move_coordinator(volume, target=owner)
            ledger.note_move(volume, ports.runtime.now())
        except (CoordinatorMoveRefusedError, OperationFailedError) as refusal:
            kind, reason = RouteKind.REDIRECTED, str(refusal)
    if kind is RouteKind.REDIRECTED:
        # A direct write inside the hold would tear the snapshot (CSV v1).
        hold = await redirect(volume)
    else:
        now = await ports.cluster.volume(volume)
        hold = VolumeHold(volume=volume, coordinator=now.coordinator, redirections=None)
    ports.tracer(
        RouteChosen(at=ports.runtime.now(), run=run, volume=volume, route=kind.value, reason=reason)
    )
    return replace(hold, room_known=state.free is not None)


async def restore_preference(
    ports: Ports, policy: Policy, ledger: VolumeLedger, volume: VolumeName, /
) -> None:
    """Have the node coordinate the volume that should, if we moved it and it has come to rest.

    A preference, not a promise: what does not work now is tried again after the next run.

    Raises:
        TransientError, RefusedError: it could not be moved now.
    """
    moved = ledger.last_move(volume)
    rested = moved is not None and ports.runtime.now() - moved >= policy.coordinator_hysteresis
    if not rested or ledger.in_use(volume) > 0 or not ledger.claim(volume):
        return
    try:
        state = await ports.cluster.volume(volume)
        if state.coordinator != state.preferred:
            await ports.cluster.move_coordinator(volume, target=state.preferred)
        ledger.forget_move(volume)
    finally:
        ledger.unclaim(volume)


async def confirm_held(ports: Ports, machine: Machine, holds: Iterable[VolumeHold], /) -> None:
    """Return if every volume was written as it was prepared, without a break.

    Raises:
        MachineChangedError: writes may have passed the hold; start over.
    """
    for hold in holds:
        now = await ports.cluster.volume(hold.volume)
        if now.coordinator != hold.coordinator:
            raise MachineChangedError(machine.id, f"{now.coordinator} coordinates {hold.volume}")
        if hold.redirections is None:
            continue
        if not now.redirected or now.redirections != hold.redirections:
            raise MachineChangedError(machine.id, f"{hold.volume} was written past the snapshot")


async def switch_trackers(
    ports: Ports, machine: Machine, placement: Placement, /, *, run: RunTag
) -> dict[DiskId, Switched]:
    """Freeze or arm every map that belongs to the delta; return whose they are."""
    if machine.back_end in {BackEnd.CHECKPOINT, BackEnd.REFERENCE_POINT}:
        return {disk.id: Switched(trackers=(), by=()) for disk in machine.disks}
    planned: dict[DiskId, Switched] = {}
    for disk in machine.disks:
        trackers = await ports.tracking.trackers(disk.id)
        planned[disk.id] = Switched(trackers=trackers, by=contributions(trackers, placement.owner))
        for contribution in planned[disk.id].by:
            if contribution.moment is SwitchMoment.NOW:
                await ports.tracking.switch(contribution.node, disk.id, run=run)
            else:
                await ports.tracking.arm(contribution.node, disk.id, run=run)
    return planned


def goes_on_by_itself(machine: Machine, /) -> bool:
    """Return whether the guest writes again right after its own snapshot, and keeps pre-images."""
    return machine.guest is GuestKind.VSS and machine.back_end is BackEnd.HOST_SNAPSHOT


async def freeze_guest(
    ports: Ports, driver: FreezeDriver, method: Method, /, *, run: RunTag
) -> tuple[GuestSnapshot | None, str]:
    """Take the guest's snapshot, or say why there is none."""
    guest: GuestSnapshot | None = None
    cause = method.cause
    if method.kind is MethodKind.ONLINE:
        guest, cause = await driver.freeze()
    ports.tracer(
        FreezeAnswered(
            at=ports.runtime.now(),
            run=run,
            guest_snapshot=None if guest is None else guest.id,
            cause=cause,
        )
    )
    return guest, cause


async def cut_disks(
    ports: Ports,
    machine: Machine,
    placement: Placement,
    /,
    *,
    run: RunTag,
    guest: GuestSnapshot | None,
    cause: str,
    holds: tuple[VolumeHold, ...],
    redirect: Redirect,
) -> Snapshots:
    """Have the host cut the disks, with or without the guest's snapshot."""
    if machine.back_end is BackEnd.HOST_SNAPSHOT:
        return await _host_snapshots(
            ports,
            machine,
            placement,
            run=run,
            guest=guest,
            cause=cause,
            holds=holds,
            redirect=redirect,
        )
    try:
        checkpoint = await ports.host.take_checkpoint(
            placement.owner, run=run, at_rest=None if guest is None else guest.id
        )
    except OperationFailedError as failure:
        left = await ports.host.leftovers(machine.id)
        if guest is None or any(made == run for _, made in left.snapshots):
            raise  # it exists and only its answer was lost: another one would lie on top of it
        # The guest could not be held: what can be had now is one cut, without its consent.
        guest, cause = None, str(failure)
        checkpoint = await ports.host.take_checkpoint(placement.owner, run=run, at_rest=None)
    _say_cut(ports, run, checkpoint.id, tuple(disk.id for disk in machine.disks))
    if machine.back_end is not BackEnd.DISK_FILE:
        await confirm_unchanged(ports, placement, machine)
    source = SourceSnapshot(snapshot=checkpoint.id, through=placement.owner)
    return Snapshots(
        sources={disk.id: source for disk in machine.disks},
        cuts=1,
        host_instant=checkpoint.clock,
        guest=guest,
        cause=cause,
    )


async def _host_snapshots(
    ports: Ports,
    machine: Machine,
    placement: Placement,
    *,
    run: RunTag,
    guest: GuestSnapshot | None,
    cause: str,
    holds: tuple[VolumeHold, ...],
    redirect: Redirect,
) -> Snapshots:
    held = {hold.volume: hold for hold in holds}
    by_node: dict[NodeName, list[DiskId]] = {}
    for disk in machine.disks:
        state = await ports.cluster.volume(disk.volume)
        kept = state.redirected and held[disk.volume].redirections == state.redirections
        node = placement.owner if state.one_host else state.coordinator
        if node != placement.owner and not kept:
            # It was moved or written directly since the route was chosen: that would tear the cut.
            held[disk.volume] = await redirect(disk.volume)
        by_node.setdefault(node, []).append(disk.id)
    sources: dict[DiskId, SourceSnapshot] = {}
    instants: list[Instant] = []
    for node, disks in sorted(by_node.items()):
        taken = await ports.host.take_snapshot(node, run=run, disks=tuple(disks))
        _say_cut(ports, run, taken.id, tuple(disks))
        instants.append(taken.clock)
        sources |= dict.fromkeys(disks, SourceSnapshot(snapshot=taken.id, through=node))
    await confirm_unmoved(ports, placement)
    await confirm_held(ports, machine, held.values())
    await confirm_unchanged(ports, placement, machine)
    return Snapshots(
        sources=sources,
        cuts=len(by_node),
        host_instant=instants[0],
        guest=guest,
        cause=cause,
    )


def _say_cut(ports: Ports, run: RunTag, snapshot: SnapshotId, disks: tuple[DiskId, ...]) -> None:
    ports.tracer(SnapshotTaken(at=ports.runtime.now(), run=run, snapshot=snapshot, disks=disks))
