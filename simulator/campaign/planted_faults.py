"""More planted bugs: of trust, of clearing, of limits and of what a run says about itself."""

from typing import Any

from msgspec.structs import replace

from reference_engine.jobs import backup, clearing, copying, schedule, snapshotting, volume_use
from reference_engine.jobs.backup import BackupRun
from reference_engine.jobs.surroundings import VolumeLedger
from reference_engine.jobs.volume_use import VolumeUse
from reference_engine.model.errors import (
    GuestSnapshotLostError,
    LeftoversRemainError,
    TransientError,
)
from reference_engine.model.identity import Epoch
from reference_engine.model.recovery_point import TransferKind, TransferReason
from reference_engine.reconcile.freeze import FreezeDriver
from reference_engine.reconcile.overlay import NOTHING
from reference_engine.repository.write_session import WriteSession
from reference_engine.sync.pipeline import copy_disk, needed
from reference_engine.tracking import trust
from simulator.campaign.planted_bugs import Patch, describing, lost_map_taken_as_empty


async def _nothing(*_: object, **__: object) -> None:
    return None


def newer_leftovers_taken() -> list[Patch]:
    """Leftovers of newer runs, and of other products, are taken for one's own."""
    original = clearing.clear_leftovers

    async def everything(ports: Any, machine: Any, /, *, upto: Any) -> None:
        del upto
        await original(ports, machine, upto=Epoch(1 << 62))

    return [(backup, "clear_leftovers", everything), (clearing, "clear_leftovers", everything)]


def lineage_ignored() -> list[Patch]:
    """A disk that was changed past its trackers is believed to be the same."""
    original = trust._another_disk  # noqa: SLF001 - a planted bug

    def same(*args: Any, **kwargs: Any) -> Any:
        doubt = original(*args, **kwargs)
        return None if doubt is TransferReason.DISK_REPLACED else doubt

    return [(trust, "_another_disk", same)]


def version_ignored() -> list[Patch]:
    """A tracker is believed about a time in which another version ran the machine."""
    original = trust.choose_transfer

    def intact(*args: Any, trackers: Any, **kwargs: Any) -> Any:
        return original(
            *args, trackers=tuple(replace(each, intact=True) for each in trackers), **kwargs
        )

    return [(trust, "choose_transfer", intact), *lost_map_taken_as_empty()]


def change_ignored() -> list[Patch]:
    """Nobody looks whether the machine's disks changed while it was snapshotted."""
    return [(snapshotting, "confirm_unchanged", _nothing)]


def lost_redirection_ignored() -> list[Patch]:
    """Nobody looks whether the volume stayed redirected until the cut."""
    return [(snapshotting, "confirm_held", _nothing)]


def early_thaw_ignored() -> list[Patch]:
    """Nobody looks whether the guest stood still until the host's snapshot."""
    original = FreezeDriver.thaw

    async def thaw(self: FreezeDriver) -> None:
        await original(self)
        self.held = True

    return [(FreezeDriver, "thaw", thaw)]


def merge_not_awaited() -> list[Patch]:
    """A checkpoint is taken while the last one is still merging."""
    return [(backup, "await_merge", _nothing)]


def volumes_never_go_home() -> list[Patch]:
    """A volume that was moved stays where it is, after a run and at the end of the schedule."""

    async def stay(*_: object) -> None:
        pass

    return [(volume_use, "restore_preference", stay), (schedule, "restore_preference", stay)]


def limits_ignored() -> list[Patch]:
    """Runs on a node or a volume are not counted."""
    return [(VolumeLedger, "has_room", lambda *_, **__: True)]


def cleaning_blocks_runs() -> list[Patch]:
    """What cannot be removed keeps the next run from starting."""

    class NeverRaisedError(LeftoversRemainError):
        """Nothing is one."""

    return [(backup, "LeftoversRemainError", NeverRaisedError)]


def overflow_hidden() -> list[Patch]:
    """A guest snapshot that was given up is taken as one that nothing was written after."""
    original = copying.reconcile

    async def hide(ports: Any, machine: Any, snapshots: Any, /, *, run: Any) -> Any:
        try:
            return await original(ports, machine, snapshots, run=run)
        except GuestSnapshotLostError:
            return {disk.id: NOTHING for disk in machine.disks}

    return [(backup, "reconcile", hide)]


def commit_not_fenced() -> list[Patch]:
    """A superseded run commits all the same."""

    def decide(self: Any, history: Any) -> Any:
        return None if history.has_committed(self._entry) else self._entry

    return [(WriteSession, "_decide", decide)]


def redirection_kept() -> list[Patch]:
    """A volume stays redirected after the snapshot."""
    return [(VolumeUse, "let_direct", _nothing), (schedule, "_bounded", _drop)]


async def _drop(_: object, __: object, work: Any) -> None:
    work.close()


def missed_slots_unsaid() -> list[Patch]:
    """Slots that were missed are passed over in silence."""
    return [(schedule, "_miss", lambda *_, **__: None)]


def cause_unsaid() -> list[Patch]:
    """A job that did not go well does not say why."""
    original = schedule._end  # noqa: SLF001 - a planted bug

    def silent(*args: Any, cause: str, **kwargs: Any) -> None:
        del cause
        original(*args, cause="", **kwargs)

    return [(schedule, "_end", silent)]


def read_error_ignored() -> list[Patch]:
    """What cannot be read is stored as zeros."""

    class Patient:
        def __init__(self, source: Any) -> None:
            self._source = source

        async def read(self, snapshot: Any, disk: Any, extents: Any, /, *, through: Any) -> bytes:
            try:
                content: bytes = await self._source.read(snapshot, disk, extents, through=through)
            except TransientError:
                return bytes(extents.total)
            return content

    original = copy_disk

    async def copied(*args: Any, source: Any, **kwargs: Any) -> Any:
        return await original(*args, source=Patient(source), **kwargs)  # type: ignore[arg-type] # it is only read from

    return [(copying, "copy_disk", copied)]


def snapshot_kept() -> list[Patch]:
    """Snapshots are not released."""

    async def kept(*_: object, **__: object) -> list[str]:
        return []

    return [(backup, "release_snapshots", kept), (clearing, "release_snapshots", kept)]


def downgrade_unsaid() -> list[Patch]:
    """A crash-consistent point does not say why it is no better."""
    return describing(lambda point: replace(point, downgrade=""))


def trims_missed() -> list[Patch]:
    """An increment leaves out what the guest trimmed."""
    original = needed

    def allocated_only(transfer: Any, /, *, delta: Any, allocated: Any, **kwargs: Any) -> Any:
        if transfer.kind is TransferKind.INCREMENTAL:
            delta = delta & allocated
        return original(transfer, delta=delta, allocated=allocated, **kwargs)

    return [(copying, "needed", allocated_only)]


def no_second_attempt() -> list[Patch]:
    """What fails once is given up."""
    original = schedule.run_job

    async def once(ports: Any, policy: Any, *args: Any, **kwargs: Any) -> Any:
        return await original(ports, replace(policy, attempts=1), *args, **kwargs)

    return [(schedule, "run_job", once)]


def never_incremental() -> list[Patch]:
    """Every run compares the whole disk."""
    original = trust.choose_transfer

    def compare(*args: Any, **kwargs: Any) -> Any:
        return trust.after_lost_tracker(original(*args, **kwargs))

    return [(trust, "choose_transfer", compare)]


def thaw_skipped_on_failure() -> list[Patch]:
    """A guest is not thawed where its host snapshot failed."""
    return [
        (backup.BackupRun, "_undo", _nothing),
        (clearing, "thaw_wherever", _nothing),
        (BackupRun, "_clear_up", _nothing),
    ]
