"""The guest of a machine that is made of disk files: there is none."""

from reference_engine.model.errors import OperationFailedError
from reference_engine.model.extents import EMPTY
from reference_engine.model.identity import DiskId, MachineId, NodeName, RunTag
from reference_engine.model.units import ByteCount
from reference_engine.ports.consistency import Consistency, GuestSnapshot, PreImages


class NoGuest(Consistency):
    """Nobody to bring to rest."""

    async def freeze(self, node: NodeName, /, *, run: RunTag) -> GuestSnapshot:
        """Refuse.

        Raises:
            OperationFailedError: always.
        """
        del node
        raise OperationFailedError(f"freezing {run.machine}", "a disk file has no guest")

    async def thaw(self, node: NodeName, /, *, run: RunTag) -> bool:
        """Change nothing: nothing ever stood still."""
        del node, run
        return False

    async def pre_images(self, machine: MachineId, disk: DiskId, /, *, run: RunTag) -> PreImages:
        """Return nothing: no guest wrote anything."""
        del machine, disk, run
        return PreImages(extents=EMPTY, content=b"", diff_area=EMPTY, piece=ByteCount(512))

    async def delete_snapshot(self, machine: MachineId, /, *, run: RunTag) -> None:
        """Change nothing."""
