"""One hypervisor host: machines, snapshots, checkpoints, reference points.

Every call names the node that should answer. What a run creates carries the run's tag, so that a
later incarnation of the engine can find it. Sources: Msvm_VirtualSystemSnapshotService,
Msvm_VirtualSystemReferencePointService, IVssBackupComponents.
"""

from typing import Protocol

import msgspec

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    GuestSnapshotId,
    MachineId,
    NodeName,
    ReferencePointId,
    RunTag,
    SnapshotId,
)
from reference_engine.model.machine import Machine
from reference_engine.model.units import Instant


class HostSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot set: all its disks were cut at the same instant, Th."""

    id: SnapshotId
    node: NodeName
    run: RunTag
    disks: tuple[DiskId, ...]
    clock: Instant
    """Th on the host's clock; for people only."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A production or standard checkpoint: the disks at one instant, readable until released."""

    id: SnapshotId
    node: NodeName
    run: RunTag
    clock: Instant
    guest_snapshot: GuestSnapshotId | None
    """Set where the guest came to rest for it; None for a crash-consistent one."""

    guest_clock: Instant | None


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of a snapshot under a path of its host, where it may be mounted and put back."""

    path: str
    shows: SnapshotId | None
    """None where the path leads to the production disk: it must not be mounted."""


class Leftovers(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of ours that a host still holds for one machine."""

    snapshots: tuple[tuple[SnapshotId, RunTag], ...]
    guest_snapshots: tuple[tuple[GuestSnapshotId, RunTag], ...]
    reference_points: tuple[tuple[ReferencePointId, RunTag], ...]
    frozen_maps: tuple[tuple[NodeName, DiskId, RunTag], ...]
    frozen_guest: RunTag | None
    """The run for which the guest stands still, if it does."""

    frozen_on: NodeName | None = None
    """The node that said so, if any did; the machine may have moved since."""

    saved_by: RunTag | None = None
    """The run for which the machine was saved, where it has not been resumed."""

    unheard: tuple[NodeName, ...] = ()
    """Nodes that are up and did not answer: what they hold of ours is in no other field."""


class Host(Protocol):
    """What a Hyper-V host can be asked for."""

    async def confirms(self, node: NodeName, machine: MachineId, /) -> bool:
        """Return whether the node itself says that the machine runs on it now."""

    async def describe(self, node: NodeName, machine: MachineId, /) -> Machine:
        """Return the machine's configuration.

        Raises:
            NotOwnerError: it runs elsewhere; locate it again.
        """

    async def take_snapshot(
        self, node: NodeName, /, *, run: RunTag, disks: tuple[DiskId, ...]
    ) -> HostSnapshot:
        """Cut all `disks` at one instant Th and switch their armed trackers in the same hold.

        `node` coordinates the disks' volumes. Source: IVssBackupComponents::DoSnapshotSet.
        """

    async def take_checkpoint(
        self, node: NodeName, /, *, run: RunTag, at_rest: GuestSnapshotId | None
    ) -> Checkpoint:
        """Cut every disk of the run's machine at one instant.

        With `at_rest`, the guest is held at that snapshot and the checkpoint is the guest's
        own instant, writers' auto-recovery included. Without, it is crash-consistent.

        Raises:
            NotOwnerError: the machine has moved; start over.
        """

    async def save(self, node: NodeName, /, *, run: RunTag) -> None:
        """Have the machine stand still with its memory saved, until `resume`.

        Raises:
            NotOwnerError: it runs elsewhere; start over.
            OperationFailedError: it could not be saved, or `resume` was called for this run.
        """

    async def resume(self, node: NodeName, /, *, run: RunTag) -> bool:
        """Have a machine that was saved up to this run go on, on this node; true also if it runs.

        Return whether it stood still until now.

        A node of the same cluster that did not save it takes its saved state over.

        Raises:
            OperationFailedError: the node lacks memory for it, or does not find it (any more); try
                another one.
        """

    async def expose(self, snapshot: SnapshotId, disk: DiskId, /) -> Exposure:
        """Return what the path shows under which the host offers this disk of the snapshot.

        Raises:
            SnapshotLostError: the snapshot is gone.
        """

    async def auto_recovered(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return what writers changed inside the checkpoint after it was cut (part of R)."""

    async def convert_to_reference_point(
        self, node: NodeName, /, *, checkpoint: SnapshotId, run: RunTag
    ) -> ReferencePointId:
        """Keep the checkpoint's instant as a reference point; the checkpoint itself stays."""

    async def drop_reference_point(self, machine: MachineId, point: ReferencePointId, /) -> None:
        """Forget a reference point of ours; true also where it is already gone."""

    async def release(self, snapshot: SnapshotId, /) -> None:
        """Delete a snapshot or checkpoint of ours; true also where it is already gone."""

    async def merged(self, machine: MachineId, /) -> bool:
        """Return whether no checkpoint's difference disk is still being merged."""

    async def leftovers(self, machine: MachineId, /) -> Leftovers:
        """Return what any run of ours left behind for this machine, on every node that answers."""
