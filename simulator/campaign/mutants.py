"""Planted engine bugs: patches that the harness puts on the engine, to see whether it notices.

A mutant replaces names in engine modules for the length of a run. The engine has no flags for it:
what is shipped is what is tested. A mutant that nothing kills is a hole in the world or in the
oracle.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from reference_engine.jobs import backup, clearing, copying, schedule, snapshotting
from reference_engine.model.errors import NotOwnerError, TrackerUnusableError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.recovery_point import Consistency, RecoveryPoint
from reference_engine.reconcile.freeze import FreezeDriver, FreezeState
from reference_engine.reconcile.labels import Label, choose_label
from reference_engine.reconcile.overlay import NOTHING, Overlay, lay_over
from reference_engine.repository.pack import PackWriter
from reference_engine.repository.write_session import WriteSession
from reference_engine.sync.pipeline import needed
from reference_engine.sync.route import Route, RouteKind, choose_route
from reference_engine.tracking import change_map, trust
from reference_engine.tracking.lineage import Contribution, SwitchMoment, contributions

Patch = tuple[object, str, Any]
"""The owner of a name, the name, and what to put there."""


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


def _skew_not_carried() -> list[Patch]:
    def delta(*, tracked: ExtentSet, carried: ExtentSet, skew: ExtentSet, size: Any) -> ExtentSet:
        del carried
        return (tracked | skew).clipped(size)

    return [(change_map, "delta", delta)]


def _current_owner_only() -> list[Patch]:
    def owner_alone(_: object, owner: Any, /) -> tuple[Contribution, ...]:
        return (Contribution(node=owner, moment=SwitchMoment.IN_HOLD),)

    return [(snapshotting, "contributions", owner_alone)]


def _switched_before_hold() -> list[Patch]:
    original = contributions

    def all_now(trackers: Any, owner: Any, /) -> tuple[Contribution, ...]:
        planned = original(trackers, owner)
        return tuple(replace(each, moment=SwitchMoment.NOW) for each in planned)

    return [(snapshotting, "contributions", all_now)]


def _map_dropped_on_abort() -> list[Patch]:
    async def settle_map(ports: Any, node: Any, disk: Any, /, *, run: Any) -> str:
        await ports.tracking.drop(node, disk, run=run)
        return "map"

    return [(clearing, "settle_map", settle_map)]


def _map_dropped_before_commit() -> list[Patch]:
    original = backup.BackupRun._commit  # noqa: SLF001 - a planted bug

    async def commit(self: Any, session: Any) -> None:
        left = await self._ports.host.leftovers(self._machine_id)
        for node, disk, run in left.frozen_maps:
            await self._ports.tracking.drop(node, disk, run=run)
        await original(self, session)

    return [(backup.BackupRun, "_commit", commit)]


def _commit_before_blocks() -> list[Patch]:
    flush, commit = PackWriter.flush, WriteSession.commit

    async def no_flush(_: Any) -> None:
        return None

    async def commit_then_flush(self: Any) -> None:
        await commit(self)
        await flush(self._packs)

    return [(PackWriter, "flush", no_flush), (WriteSession, "commit", commit_then_flush)]


def _thaw_forgotten() -> list[Patch]:
    thaw = FreezeDriver.thaw

    async def forgetful(self: FreezeDriver) -> None:
        if self.state is not FreezeState.UNKNOWN:
            await thaw(self)

    async def nothing(*_: object, **__: object) -> None:
        return None

    return [
        (FreezeDriver, "thaw", forgetful),
        (FreezeDriver, "outlast_late_answer", nothing),
        (clearing, "thaw_wherever", nothing),
    ]


def _late_answer_not_outlasted() -> list[Patch]:
    async def nothing(*_: object, **__: object) -> None:
        return None

    return [(FreezeDriver, "outlast_late_answer", nothing)]


def _describing(change: Callable[[RecoveryPoint], RecoveryPoint]) -> list[Patch]:
    original = backup.BackupRun._describe  # noqa: SLF001 - a planted bug

    def describe(self: Any, *args: Any, **kwargs: Any) -> RecoveryPoint:
        return change(original(self, *args, **kwargs))

    return [(backup.BackupRun, "_describe", describe)]


def _instants_swapped() -> list[Patch]:
    def swapped(point: RecoveryPoint) -> RecoveryPoint:
        if point.guest_instant is None:
            return point
        return replace(
            point,
            instant=point.host_instant,
            guest_instant=point.host_instant,
            host_instant=point.guest_instant,
        )

    return _describing(swapped)


def _host_time_on_label() -> list[Patch]:
    return _describing(lambda point: replace(point, instant=point.host_instant))


def _label_not_downgraded() -> list[Patch]:
    def flatter(*_: object, **__: object) -> Label:
        return Label(consistency=Consistency.APPLICATION, downgrade="")

    return [(backup, "choose_label", flatter)]


def _torn_cut_accepted() -> list[Patch]:
    original = choose_label

    def always_one_cut(machine: Any, /, **kwargs: Any) -> Label:
        return original(machine, **{**kwargs, "cuts": 1})

    return [(backup, "choose_label", always_one_cut)]


def _last_block_skipped() -> list[Patch]:
    original = needed

    def shortened(transfer: Any, /, *, block: Any, size: Any, **kwargs: Any) -> ExtentSet:
        whole = original(transfer, block=block, size=size, **kwargs)
        return whole.clipped(size // block * block)

    return [(copying, "needed", shortened)]


def _partly_changed_block_cut() -> list[Patch]:
    original = change_map.delta

    def delta(*, size: Any, **kwargs: Any) -> ExtentSet:
        grown = original(size=size, **kwargs)
        return ExtentSet.of([(start, end - 4096) for start, end in grown.bounds.tolist()])

    return [(change_map, "delta", delta)]


def _stale_owner() -> list[Patch]:
    thaw = FreezeDriver.thaw

    async def believe(*_: object, **__: object) -> None:
        return None

    async def thaw_there(self: FreezeDriver) -> None:
        with suppress(NotOwnerError):  # the node's own word is not heard either
            await thaw(self)

    return [(snapshotting, "confirm_unmoved", believe), (FreezeDriver, "thaw", thaw_there)]


def _diff_area_ignored() -> list[Patch]:
    return [(copying, "lay_over", lambda _: NOTHING)]


def _mask_ignored() -> list[Patch]:
    original = lay_over

    def unmasked(kept: Any, /) -> Overlay:
        return replace(original(kept), mask=EMPTY)

    return [(copying, "lay_over", unmasked)]


def _mask_not_carried() -> list[Patch]:
    def skew(self: Overlay) -> ExtentSet:
        return self.pre_images | self.recovered

    return [(Overlay, "skew", property(skew))]


def _recovery_not_carried() -> list[Patch]:
    return [(copying, "inside_snapshot", lambda _: NOTHING)]


def _lost_map_taken_as_empty() -> list[Patch]:
    original = copying._tracked  # noqa: SLF001 - a planted bug

    async def tracked(*args: Any, **kwargs: Any) -> Any:
        try:
            return await original(*args, **kwargs)
        except TrackerUnusableError:
            return EMPTY, ()

    return [(copying, "_tracked", tracked)]


def _silent_node_ignored() -> list[Patch]:
    original = trust.choose_transfer

    def choose_transfer(*args: Any, trackers: Any, **kwargs: Any) -> Any:
        return original(
            *args, trackers=tuple(each for each in trackers if each.reachable), **kwargs
        )

    return [(trust, "choose_transfer", choose_transfer)]


def _direct_writes_in_hold() -> list[Patch]:
    original = choose_route

    def never_redirected(*args: Any, **kwargs: Any) -> Route:
        route = original(*args, **kwargs)
        if route.kind is RouteKind.REDIRECTED:
            return replace(route, kind=RouteKind.DIRECT)
        return route

    return [
        (snapshotting, "choose_route", never_redirected),
        (snapshotting, "CoordinatorMoveRefusedError", ZeroDivisionError),
    ]


def _reference_point_dropped() -> list[Patch]:
    original = clearing.drop_reference_points

    async def drop(ports: Any, machine: Any, left: Any, /, *, keep: Any) -> list[str]:
        del keep
        return await original(ports, machine, left, keep=None)

    return [(backup, "drop_reference_points", drop), (clearing, "drop_reference_points", drop)]


def _leftovers_not_cleared() -> list[Patch]:
    async def nothing(*_: object, **__: object) -> None:
        return None

    return [(backup, "clear_leftovers", nothing), (schedule, "clear_leftovers", nothing)]


def _windows_shifted() -> list[Patch]:
    original = Overlay.applied

    def applied(self: Overlay, window: ExtentSet, raw: bytes, /) -> bytes:
        return original(self, window, raw) if len(window) == 1 else raw

    return [(Overlay, "applied", applied)]


MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        name="skew-not-carried",
        what="the next delta leaves out R, what the last point had put back",
        patches=_skew_not_carried,
    ),
    Mutant(
        name="current-owner-only",
        what="only the node that runs the machine now is asked what changed",
        patches=_current_owner_only,
    ),
    Mutant(
        name="map-switched-before-hold",
        what="the owner's map is frozen before the snapshot, not inside its hold",
        patches=_switched_before_hold,
    ),
    Mutant(
        name="map-dropped-on-abort",
        what="an aborted run's frozen map is dropped, not merged back",
        patches=_map_dropped_on_abort,
    ),
    Mutant(
        name="map-dropped-before-commit",
        what="the frozen map is dropped before the point is committed",
        patches=_map_dropped_before_commit,
    ),
    Mutant(
        name="commit-before-blocks",
        what="the point becomes visible before its last blocks are stored",
        patches=_commit_before_blocks,
    ),
    Mutant(
        name="thaw-forgotten-on-timeout",
        what="a guest that did not answer its freeze is never thawed",
        patches=_thaw_forgotten,
    ),
    Mutant(
        name="late-answer-not-outlasted",
        what="a guest that freezes after the limit is thawed too early only",
        patches=_late_answer_not_outlasted,
    ),
    Mutant(
        name="tg-th-swapped",
        what="the point states Th as Tg and Tg as Th",
        patches=_instants_swapped,
    ),
    Mutant(
        name="host-time-on-label",
        what="the point claims the host's instant for the guest's image",
        patches=_host_time_on_label,
    ),
    Mutant(
        name="label-not-downgraded",
        what="a point without a guest snapshot is called application-consistent",
        patches=_label_not_downgraded,
    ),
    Mutant(
        name="torn-cut-accepted",
        what="disks that were cut at different instants pass as one crash-consistent image",
        patches=_torn_cut_accepted,
    ),
    Mutant(
        name="last-partial-block-skipped",
        what="the disk's last block is left out where it is not a whole one",
        patches=_last_block_skipped,
    ),
    Mutant(
        name="range-end-cut",
        what="the last 4 KiB of every changed range are left out",
        patches=_partly_changed_block_cut,
    ),
    Mutant(
        name="stale-owner-used",
        what="nobody looks whether the machine moved while it was snapshotted",
        patches=_stale_owner,
    ),
    Mutant(
        name="diff-area-ignored",
        what="the host's image is stored under the guest's label",
        patches=_diff_area_ignored,
    ),
    Mutant(
        name="mask-ignored",
        what="the guest's diff area is stored as if it were content",
        patches=_mask_ignored,
    ),
    Mutant(
        name="mask-not-carried",
        what="R leaves out the masked diff area",
        patches=_mask_not_carried,
    ),
    Mutant(
        name="recovery-not-carried",
        what="R leaves out what writers changed inside the checkpoint",
        patches=_recovery_not_carried,
    ),
    Mutant(
        name="lost-map-taken-as-empty",
        what="a tracker that lost its map is believed to say that nothing changed",
        patches=_lost_map_taken_as_empty,
    ),
    Mutant(
        name="silent-node-ignored",
        what="a tracker's node that does not answer is left out of the delta",
        patches=_silent_node_ignored,
    ),
    Mutant(
        name="direct-writes-in-hold",
        what="a volume is not redirected before the snapshot's hold",
        patches=_direct_writes_in_hold,
    ),
    Mutant(
        name="reference-point-dropped",
        what="the reference point that the newest point needs is dropped",
        patches=_reference_point_dropped,
    ),
    Mutant(
        name="leftovers-not-cleared",
        what="nobody clears up behind a dead run",
        patches=_leftovers_not_cleared,
    ),
    Mutant(
        name="overlay-skips-scattered-windows",
        what="pre-images are laid over whole windows only",
        patches=_windows_shifted,
    ),
)
