"""The cluster of a machine that is made of disk files: one node, one volume."""

from typing import Final

from reference_engine.adapters.files.disk_files import LOCAL, DiskFiles
from reference_engine.model.errors import CoordinatorMoveRefusedError
from reference_engine.model.identity import MachineId, NodeName, VolumeName
from reference_engine.model.machine import Placement, VolumeState
from reference_engine.model.units import GIB
from reference_engine.ports.cluster import Cluster

RATE: Final = GIB
"""Nobody chooses between routes here, so any rate will do."""


class FileCluster(Cluster):
    """Says that everything is here."""

    def __init__(self, files: DiskFiles, /) -> None:
        self._files = files

    async def locate(self, machine: MachineId, /) -> Placement:
        """Return this node.

        Raises:
            NotOwnerError: the machine is another one.
        """
        self._files.check_machine(machine)
        return Placement(machine=machine, owner=LOCAL, generation=1, settled=True)

    async def machines(self) -> tuple[MachineId, ...]:
        """Return the machine that is made of these files."""
        return (self._files.machine,)

    async def nodes(self) -> tuple[NodeName, ...]:
        """Return this node."""
        return (LOCAL,)

    async def volume(self, volume: VolumeName, /) -> VolumeState:
        """Return that this node coordinates the volume."""
        return VolumeState(
            volume=volume,
            coordinator=LOCAL,
            preferred=LOCAL,
            redirected=False,
            direct_rate=RATE,
            redirected_rate=RATE,
        )

    async def move_coordinator(self, volume: VolumeName, /, *, target: NodeName) -> None:
        """Stay here.

        Raises:
            CoordinatorMoveRefusedError: `target` is another node.
        """
        if target != LOCAL:
            raise CoordinatorMoveRefusedError(volume, target)

    async def enter_redirected(self, volume: VolumeName, /) -> None:
        """Change nothing: no other node writes."""

    async def leave_redirected(self, volume: VolumeName, /) -> None:
        """Change nothing."""
