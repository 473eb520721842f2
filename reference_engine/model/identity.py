"""Identities: who is who. Names are shown to people; identities are compared."""

from typing import NewType

import msgspec

NodeName = NewType("NodeName", str)
"""A host of the cluster, or `engine` for the machine that runs the engine."""

VolumeName = NewType("VolumeName", str)
"""A Cluster Shared Volume, or a local volume."""

MachineId = NewType("MachineId", str)
"""A virtual machine. Never reused, and it survives renames and moves."""

DiskId = NewType("DiskId", str)
"""A virtual disk. It travels with the file, whatever path or node holds it."""

Epoch = NewType("Epoch", int)
"""Which run of one machine this is: 1, 2, 3 ... as the repository's log numbered it."""

RecoveryPointId = NewType("RecoveryPointId", str)
SnapshotId = NewType("SnapshotId", str)
"""A host snapshot or a checkpoint."""

GuestSnapshotId = NewType("GuestSnapshotId", str)
ReferencePointId = NewType("ReferencePointId", str)
"""An instant from which Resilient Change Tracking can tell what changed."""


OrderId = NewType("OrderId", str)
"""One order to restore a machine. Everything that the restore leaves on a host carries it."""


class RunTag(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One run of one machine. Everything that the run leaves on a host carries this tag."""

    machine: MachineId
    epoch: Epoch

    def __str__(self) -> str:
        return f"{self.machine}#{self.epoch}"
