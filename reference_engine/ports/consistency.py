"""The guest: come to rest, take its own snapshot, go on; and its diff area afterwards.

Source: the Hyper-V VSS integration service ([MS-VSSB], Msvm_VssComponent) and Linux's
`hv_vss_daemon` (fsfreeze).
"""

from typing import Protocol

import msgspec

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, GuestSnapshotId, MachineId, NodeName, RunTag
from reference_engine.model.units import ByteCount, Instant


class GuestSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The guest's own snapshot at Tg."""

    id: GuestSnapshotId
    run: RunTag
    clock: Instant
    """Tg on the guest's clock; for people only."""


class PreImages(msgspec.Struct, frozen=True, kw_only=True):
    """What the guest's copy-on-write kept of one disk between Tg and Th."""

    extents: ExtentSet
    """A: where the guest wrote after Tg, in whole copy-on-write pieces."""

    content: bytes
    """The bytes of `extents` as they were at Tg, one range after the other."""

    diff_area: ExtentSet
    """Where on this disk the guest keeps the copies: free space at Tg, so without content."""

    piece: ByteCount
    """The copy-on-write granularity."""


class Consistency(Protocol):
    """What a guest can be asked for, through the node on which it runs."""

    async def freeze(self, node: NodeName, /, *, run: RunTag) -> GuestSnapshot:
        """Bring the guest's applications to rest and take the guest's snapshot at Tg.

        A VSS guest goes on writing at once and keeps pre-images; an fsfreeze guest stays
        frozen until it is thawed.

        Raises:
            OperationFailedError: a writer refused, or there is no integration service.
            NotOwnerError: the machine has moved; start over.
        """

    async def thaw(self, node: NodeName, /, *, run: RunTag) -> bool:
        """Let the guest go on, whatever state it is in; return whether it had stood still.

        A guest that stands still for a newer run of the machine stays as it is.
        """

    async def pre_images(self, machine: MachineId, disk: DiskId, /, *, run: RunTag) -> PreImages:
        """Return what the guest's diff area, as cut by the host snapshot, holds of this disk.

        What is mounted is what `Host.expose` has shown, by its device: its path is not resolved
        again, since it may lead elsewhere by now.

        Raises:
            GuestSnapshotLostError: the diff area overflowed and the guest dropped its snapshot;
                the host's snapshot is whole.
            SnapshotLostError: the host's snapshot is gone as well.
        """

    async def delete_snapshot(self, machine: MachineId, /, *, run: RunTag) -> None:
        """Delete the guest snapshot of this run; true also where there is none."""
