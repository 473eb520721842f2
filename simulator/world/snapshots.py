"""Host snapshots and checkpoints: what was cut, when, and what of it can still be read."""

from typing import Final

from reference_engine.model.errors import SnapshotLostError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, MachineId, NodeName, RunTag, SnapshotId
from reference_engine.model.units import ByteCount, Instant
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.stamps import Cells, StampImage, Stamps

_GONE_KNOWN: Final = 32
"""So many snapshots that are gone are still told from those that never were."""


def snapshot_id(machine: MachineId, number: int, /) -> SnapshotId:
    """Return what the cluster's n-th snapshot or checkpoint is called."""
    return SnapshotId(f"{machine}-snapshot-{number}")


def machine_of(snapshot: SnapshotId, /) -> MachineId:
    """Return of which machine a snapshot is, or was."""
    return MachineId(snapshot.rsplit("-", 2)[0])


class SimSnapshot:
    """One snapshot set or checkpoint of one machine's disks."""

    def __init__(
        self,
        snapshot: SnapshotId,
        /,
        *,
        machine: SimMachine,
        run: RunTag,
        node: NodeName,
        images: dict[DiskId, StampImage],
        clock: Instant,
        stamp: int,
        on_volume: bool,
    ) -> None:
        self.id, self.machine, self.run, self.node = snapshot, machine, run, node
        self.images, self.clock, self.stamp = images, clock, stamp
        self.on_volume = on_volume
        """A checkpoint's files survive the node that made it; a software snapshot does not."""

        self.sizes = {disk: machine.disk(disk).size for disk in images}
        self._contents = {disk: machine.disk(disk).content for disk in images}
        self.volumes = {disk: machine.disk(disk).volume for disk in images}
        """Where the disks lay at the cut; a file that moves on leaves its snapshot behind."""

        self.live = dict(images)
        """The live disks at the cut; writers' auto-recovery changes `images` only."""

        self.recovered: dict[DiskId, Cells] = {}
        self.pre_images: dict[DiskId, tuple[Cells, Stamps, Cells]] = {}
        """For each disk: kept cells, their stamps at Tg, and the diff area's own cells."""

        self.shadow_lost = False
        self.leads_astray: dict[DiskId, bool] = {}
        """Whether what was exposed of a disk is the one that the guest writes."""

        self.exists = True

    def image(self, disk: DiskId, /) -> StampImage:
        """Return the disk as cut.

        Raises:
            SnapshotLostError: the snapshot is gone.
        """
        if not self.exists or disk not in self.images:
            raise SnapshotLostError(self.id)
        return self.images[disk]

    def read(self, disk: SimDisk, extents: ExtentSet, /) -> bytes:
        """Return the bytes of `extents`, one range after the other."""
        image, content = self.image(disk.id), self._contents[disk.id]
        return content.read_all(image, extents).tobytes()

    def allocated(self, disk: SimDisk, /) -> ExtentSet:
        """Return what may be other than zero."""
        written = ExtentSet.of_pieces(
            self.image(disk.id).written(), piece=ByteCount(disk.cell), size=self.sizes[disk.id]
        )
        return written | disk.underlaid


class Snapshots(dict[SnapshotId, SimSnapshot]):
    """The cluster's snapshots; of the engine's own that are gone only the newest are known."""

    def __init__(self) -> None:
        super().__init__()
        self._own: list[SnapshotId] = []

    def known(self, snapshot: SnapshotId, /) -> SimSnapshot:
        """Return a snapshot.

        Raises:
            SnapshotLostError: it has been gone for so long that nobody knows it any more.
        """
        found = self.get(snapshot)
        if found is None:
            raise SnapshotLostError(snapshot)
        return found

    def keep(self, snapshot: SimSnapshot, /) -> None:
        """Know a new snapshot that the engine asked for."""
        self[snapshot.id] = snapshot
        self._own.append(snapshot.id)
        spare = len(self._own) - 2 * _GONE_KNOWN
        if spare > 0 and spare % _GONE_KNOWN == 0:
            for old in [each for each in self._own if not self[each].exists][:-_GONE_KNOWN]:
                del self[old]
            self._own = [each for each in self._own if each in self]
