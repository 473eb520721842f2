"""The failover cluster: who owns which machine, who coordinates which volume."""

from typing import Protocol

from reference_engine.model.identity import MachineId, NodeName, VolumeName
from reference_engine.model.machine import Placement, VolumeState


class Cluster(Protocol):
    """The cluster's own view, which may lag behind its nodes. Source: FailoverClusters cmdlets."""

    async def locate(self, machine: MachineId, /) -> Placement:
        """Return where the cluster believes the machine to be."""

    async def machines(self) -> tuple[MachineId, ...]:
        """Return every machine that the cluster has now, by identity."""

    async def nodes(self) -> tuple[NodeName, ...]:
        """Return every node that is up, in the cluster's order."""

    async def volume(self, volume: VolumeName, /) -> VolumeState:
        """Return who coordinates a volume and how fast it can be read."""

    async def move_coordinator(self, volume: VolumeName, /, *, target: NodeName) -> None:
        """Make `target` the coordinator.

        Raises:
            CoordinatorMoveRefusedError: the volume is pinned; read it redirected.
        """

    async def enter_redirected(self, volume: VolumeName, /) -> None:
        """Send every write of the volume through its coordinator, until `leave_redirected`.

        Needed before a CSV v1 snapshot whose coordinator is not the writer: a direct write
        inside the hold would tear it.
        """

    async def leave_redirected(self, volume: VolumeName, /) -> None:
        """Let nodes write directly again; true also where they already do."""
