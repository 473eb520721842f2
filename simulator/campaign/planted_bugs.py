"""The planted bugs themselves: for each, which names of the engine it replaces, and by what."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from reference_engine.jobs import backup, clearing, copying, schedule, snapshotting
from reference_engine.jobs.describing import describe_point
from reference_engine.jobs.snapshotting import VolumeHold
from reference_engine.jobs.volume_use import VolumeUse
from reference_engine.model.errors import NotOwnerError, TrackerUnusableError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import VolumeName
from reference_engine.model.recovery_point import Consistency, RecoveryPoint
from reference_engine.ports.disk_io import Content
from reference_engine.reconcile.freeze import FreezeDriver, FreezeState
from reference_engine.reconcile.labels import Label, choose_label
from reference_engine.reconcile.overlay import NOTHING, Overlay, lay_over
from reference_engine.repository.pack import PackWriter
from reference_engine.repository.write_session import WriteSession
from reference_engine.sync.pipeline import needed
from reference_engine.tracking import change_map, trust
from reference_engine.tracking.lineage import Contribution, SwitchMoment, contributions

Patch = tuple[object, str, Any]
"""The owner of a name, the name, and what to put there."""


def skew_not_carried() -> list[Patch]:
    """The next delta leaves out R, what the last point had put back."""

    def delta(*, tracked: ExtentSet, carried: ExtentSet, skew: ExtentSet, size: Any) -> ExtentSet:
        del carried
        return (tracked | skew).clipped(size)

    return [(change_map, "delta", delta)]


def current_owner_only() -> list[Patch]:
    """Only the node that runs the machine now is asked what changed."""

    def owner_alone(_: object, owner: Any, /) -> tuple[Contribution, ...]:
        return (Contribution(node=owner, moment=SwitchMoment.IN_HOLD),)

    return [(snapshotting, "contributions", owner_alone)]


def switched_before_hold() -> list[Patch]:
    """The owner's map is frozen before the snapshot, not inside its hold."""
    original = contributions

    def all_now(trackers: Any, owner: Any, /) -> tuple[Contribution, ...]:
        planned = original(trackers, owner)
        return tuple(replace(each, moment=SwitchMoment.NOW) for each in planned)

    return [(snapshotting, "contributions", all_now)]


def map_dropped_on_abort() -> list[Patch]:
    """An aborted run's frozen map is dropped, not merged back."""

    async def settle_map(ports: Any, node: Any, disk: Any, /, *, run: Any) -> str:
        await ports.tracking.drop(node, disk, run=run)
        return "map"

    return [(clearing, "settle_map", settle_map)]


def map_dropped_before_commit() -> list[Patch]:
    """The frozen map is dropped before the point is committed."""
    original = backup.BackupRun._commit  # noqa: SLF001 - a planted bug

    async def commit(self: Any, session: Any) -> None:
        left = await self._ports.host.leftovers(self._machine_id)
        for node, disk, run in left.frozen_maps:
            await self._ports.tracking.drop(node, disk, run=run)
        await original(self, session)

    return [(backup.BackupRun, "_commit", commit)]


def commit_before_blocks() -> list[Patch]:
    """The point becomes visible before its last blocks are stored."""
    flush, commit = PackWriter.flush, WriteSession.commit

    async def no_flush(_: Any) -> None:
        return None

    async def commit_then_flush(self: Any) -> None:
        await commit(self)
        await flush(self._packs)

    return [(PackWriter, "flush", no_flush), (WriteSession, "commit", commit_then_flush)]


def thaw_forgotten() -> list[Patch]:
    """A guest that did not answer its freeze is never thawed."""
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


def late_answer_not_outlasted() -> list[Patch]:
    """A guest that freezes after the limit is thawed too early only."""

    async def nothing(*_: object, **__: object) -> None:
        return None

    return [(FreezeDriver, "outlast_late_answer", nothing)]


def describing(change: Callable[[RecoveryPoint], RecoveryPoint]) -> list[Patch]:
    """Have every point described with a change."""

    def describe(*args: Any, **kwargs: Any) -> RecoveryPoint:
        return change(describe_point(*args, **kwargs))

    return [(backup, "describe_point", describe)]


def instants_swapped() -> list[Patch]:
    """The point states Th as Tg and Tg as Th."""

    def swapped(point: RecoveryPoint) -> RecoveryPoint:
        if point.guest_instant is None:
            return point
        return replace(
            point,
            instant=point.host_instant,
            guest_instant=point.host_instant,
            host_instant=point.guest_instant,
        )

    return describing(swapped)


def host_time_on_label() -> list[Patch]:
    """The point claims the host's instant for the guest's image."""
    return describing(lambda point: replace(point, instant=point.host_instant))


def label_not_downgraded() -> list[Patch]:
    """A point without a guest snapshot is called application-consistent."""

    def flatter(*_: object, **__: object) -> Label:
        return Label(consistency=Consistency.APPLICATION, downgrade="")

    return [(backup, "choose_label", flatter)]


def torn_cut_accepted() -> list[Patch]:
    """Disks that were cut at different instants pass as one crash-consistent image."""
    original = choose_label

    def always_one_cut(machine: Any, /, **kwargs: Any) -> Label:
        return original(machine, **{**kwargs, "cuts": 1})

    return [(backup, "choose_label", always_one_cut)]


def last_block_skipped() -> list[Patch]:
    """The disk's last block is left out where it is not a whole one."""
    original = needed

    def shortened(transfer: Any, /, *, block: Any, size: Any, **kwargs: Any) -> ExtentSet:
        whole = original(transfer, block=block, size=size, **kwargs)
        return whole.clipped(size // block * block)

    return [(copying, "needed", shortened)]


def partly_changed_block_cut() -> list[Patch]:
    """The last 4 KiB of every changed range are left out."""
    original = change_map.delta

    def delta(*, size: Any, **kwargs: Any) -> ExtentSet:
        grown = original(size=size, **kwargs)
        return ExtentSet.of([(start, end - 4096) for start, end in grown.bounds.tolist()])

    return [(change_map, "delta", delta)]


def stale_owner() -> list[Patch]:
    """Nobody looks whether the machine moved while it was snapshotted."""
    thaw = FreezeDriver.thaw

    async def believe(*_: object, **__: object) -> None:
        return None

    async def thaw_there(self: FreezeDriver) -> None:
        with suppress(NotOwnerError):  # the node's own word is not heard either
            await thaw(self)

    return [
        (snapshotting, "confirm_unmoved", believe),
        # That the disks are what they were is asked of the owner, who would say that he is none.
        (snapshotting, "confirm_unchanged", believe),
        (FreezeDriver, "thaw", thaw_there),
    ]


def diff_area_ignored() -> list[Patch]:
    """The host's image is stored under the guest's label."""
    return [(copying, "lay_over", lambda _: NOTHING)]


def mask_ignored() -> list[Patch]:
    """The guest's diff area is stored as if it were content."""
    original = lay_over

    def unmasked(kept: Any, /) -> Overlay:
        return replace(original(kept), mask=EMPTY)

    return [(copying, "lay_over", unmasked)]


def mask_not_carried() -> list[Patch]:
    """R leaves out the masked diff area."""

    def skew(self: Overlay) -> ExtentSet:
        return self.pre_images | self.recovered

    return [(Overlay, "skew", property(skew))]


def recovery_not_carried() -> list[Patch]:
    """R leaves out what writers changed inside the checkpoint."""
    return [(copying, "inside_snapshot", lambda _: NOTHING)]


def lost_map_taken_as_empty() -> list[Patch]:
    """A tracker that lost its map is believed to say that nothing changed."""
    original = copying._tracked  # noqa: SLF001 - a planted bug

    async def tracked(*args: Any, **kwargs: Any) -> Any:
        try:
            return await original(*args, **kwargs)
        except TrackerUnusableError:
            return EMPTY, ()

    return [(copying, "_tracked", tracked)]


def silent_node_ignored() -> list[Patch]:
    """A tracker's node that does not answer is left out of the delta."""
    original = trust.choose_transfer

    def choose_transfer(*args: Any, trackers: Any, **kwargs: Any) -> Any:
        return original(
            *args, trackers=tuple(each for each in trackers if each.reachable), **kwargs
        )

    return [(trust, "choose_transfer", choose_transfer)]


def direct_writes_in_hold() -> list[Patch]:
    """A volume is not redirected before the snapshot's hold."""

    async def direct(self: Any, volume: VolumeName, /) -> VolumeHold:
        now = await self._ports.cluster.volume(volume)
        return VolumeHold(volume=volume, coordinator=now.coordinator, redirections=None)

    return [(VolumeUse, "redirect", direct)]


def reference_point_dropped() -> list[Patch]:
    """The reference point that the newest point needs is dropped."""
    original = clearing.drop_reference_points

    async def drop(ports: Any, machine: Any, left: Any, /, *, keep: Any, upto: Any) -> list[str]:
        del keep
        return await original(ports, machine, left, keep=None, upto=upto)

    return [(backup, "drop_reference_points", drop), (clearing, "drop_reference_points", drop)]


def leftovers_not_cleared() -> list[Patch]:
    """Nobody clears up behind a dead run."""

    async def nothing(*_: object, **__: object) -> None:
        return None

    return [(backup, "clear_leftovers", nothing), (schedule, "clear_behind", nothing)]


def windows_shifted() -> list[Patch]:
    """Pre-images are laid over whole windows only."""
    original = Overlay.applied

    def applied(self: Overlay, window: ExtentSet, raw: Content, /) -> Content:
        return original(self, window, raw) if len(window) == 1 else raw

    return [(Overlay, "applied", applied)]
