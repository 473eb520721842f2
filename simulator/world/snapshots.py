"""Host snapshots and checkpoints: what was cut, when, and what of it can still be read."""

from reference_engine.model.errors import SnapshotLostError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, RunTag, SnapshotId
from reference_engine.model.units import ByteCount, Instant
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.stamps import Cells, StampImage, Stamps


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
        image = self.image(disk.id)
        return b"".join(
            self._contents[disk.id].read(image, start, end)
            for start, end in extents.bounds.tolist()
        )

    def allocated(self, disk: SimDisk, /) -> ExtentSet:
        """Return what may be other than zero."""
        written = ExtentSet.of_pieces(
            self.image(disk.id).written(), piece=ByteCount(disk.cell), size=self.sizes[disk.id]
        )
        return written | disk.underlaid
