"""The host of a machine that is made of disk files."""

from reference_engine.adapters.files.disk_files import LOCAL, DiskFiles
from reference_engine.model.errors import NotOwnerError, OperationFailedError
from reference_engine.model.extents import EMPTY, ExtentSet
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
from reference_engine.ports.host import Checkpoint, Exposure, Host, HostSnapshot, Leftovers


class FileHost(Host):
    """Opens files where a hypervisor would take a checkpoint."""

    def __init__(self, files: DiskFiles, /) -> None:
        self._files = files

    async def confirms(self, node: NodeName, machine: MachineId, /) -> bool:
        """Return whether the machine is made of these files.

        Raises:
            SourceChangedError: a file changed since its checkpoint was taken.
        """
        await self._files.confirm()
        return node == LOCAL and machine == self._files.machine

    async def describe(self, node: NodeName, machine: MachineId, /) -> Machine:
        """Return the machine, its disks sized as the images state.

        Raises:
            NotOwnerError: the machine or the node is another one.
            InputRefusedError: a file is missing, or is no disk.
            CorruptionError: a file is a damaged disk image.
        """
        self._check(node, machine)
        return await self._files.describe()

    async def take_snapshot(
        self, node: NodeName, /, *, run: RunTag, disks: tuple[DiskId, ...]
    ) -> HostSnapshot:
        """Open `disks`; they are one instant as long as nobody writes them.

        Raises:
            SourceChangedError: a file was replaced while it was being opened.
        """
        self._check(node, run.machine)
        snapshot = await self._files.open(disks, run=run)
        clock = self._files.clock(snapshot)
        return HostSnapshot(id=snapshot, node=node, run=run, disks=disks, clock=clock)

    async def take_checkpoint(
        self, node: NodeName, /, *, run: RunTag, at_rest: GuestSnapshotId | None
    ) -> Checkpoint:
        """Open every disk of the machine; they are one instant as long as nobody writes them.

        Raises:
            SourceChangedError: a file was replaced while it was being opened.
        """
        assert at_rest is None, at_rest
        self._check(node, run.machine)
        snapshot = await self._files.open(self._files.disks, run=run)
        return Checkpoint(
            id=snapshot,
            node=node,
            run=run,
            clock=self._files.clock(snapshot),
            guest_snapshot=None,
            guest_clock=None,
        )

    async def save(self, node: NodeName, /, *, run: RunTag) -> None:
        """Refuse: a file does not run.

        Raises:
            OperationFailedError: always.
        """
        del node
        raise OperationFailedError(f"saving {run.machine}", "disk files do not run")

    async def resume(self, node: NodeName, /, *, run: RunTag) -> bool:
        """Change nothing: nothing was ever saved."""
        del node, run
        return False

    async def expose(self, snapshot: SnapshotId, disk: DiskId, /) -> Exposure:
        """Return the file itself, which is only ever read."""
        return Exposure(path=str(disk), shows=snapshot)

    async def auto_recovered(self, snapshot: SnapshotId, disk: DiskId, /) -> ExtentSet:
        """Return nothing: there are no writers that could recover."""
        del snapshot, disk
        return EMPTY

    async def convert_to_reference_point(
        self, node: NodeName, /, *, checkpoint: SnapshotId, run: RunTag
    ) -> ReferencePointId:
        """Refuse: nothing tracks changes of a file.

        Raises:
            OperationFailedError: always.
        """
        del node, run
        raise OperationFailedError(f"keeping {checkpoint} as a reference point", "no tracking")

    async def drop_reference_point(self, machine: MachineId, point: ReferencePointId, /) -> None:
        """Change nothing: there are no reference points."""

    async def release(self, snapshot: SnapshotId, /) -> None:
        """Close the files; true also where they are closed already.

        Raises:
            SourceChangedError: what was read since `confirms` is no one image.
        """
        await self._files.close(snapshot)

    async def merged(self, machine: MachineId, /) -> bool:
        """Return True: nothing is ever merged."""
        del machine
        return True

    async def leftovers(self, machine: MachineId, /) -> Leftovers:
        """Return the checkpoints that are open; what a dead run had open, its death closed."""
        self._files.check_machine(machine)
        return Leftovers(
            snapshots=self._files.open_checkpoints,
            guest_snapshots=(),
            reference_points=(),
            frozen_maps=(),
            frozen_guest=None,
        )

    def _check(self, node: NodeName, machine: MachineId) -> None:
        self._files.check_machine(machine)
        if node != LOCAL:
            raise NotOwnerError(machine, node)
