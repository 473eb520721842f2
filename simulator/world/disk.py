"""One virtual disk of the simulated world."""

import numpy as np

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, VolumeName
from reference_engine.model.units import ByteCount
from simulator.world.content import DiskContent, Underlay
from simulator.world.stamps import Cells, StampDisk


class SimDisk:
    """Stamps and their bytes, where the guest may write, and where its diff area lies."""

    def __init__(
        self,
        disk: DiskId,
        /,
        *,
        key: int,
        size: ByteCount,
        cell: ByteCount,
        volume: VolumeName,
        underlay: Underlay | None,
        free: Cells | None,
        allocated: ExtentSet,
        diff_area: int | None = None,
    ) -> None:
        """`free`: the only cells that may be written, where an `underlay` holds real files.

        `allocated`: what of the underlay may be other than zero. `diff_area`: how many cells the
        guest's diff area may fill; None: enough.
        """
        self.first_size = size
        self.id, self.size, self.cell, self.volume = disk, size, cell, volume
        self.underlaid = allocated
        self.content = DiskContent(key, cell=cell, size=size, underlay=underlay)
        self.cells = self.content.cells
        self.stamps = StampDisk(self.cells)
        self.cow_cells = 4
        self.diff_area_outside = free is not None
        """A guest may keep its diff area on another volume; beside real files it must."""

        if free is not None:
            self.diff_area = np.empty(0, np.int64)
            usable = free
        else:
            # Half of a very small disk at most, so that something is left for the guest.
            room = min(max(64, self.cells // 16), self.cells // 2)
            area = room if diff_area is None else diff_area
            self.diff_area = np.arange(self.cells - area - 1, self.cells - 1)
            # The last cell, often a partial one, stays with the guest: it must be backed up too.
            usable = np.append(np.arange(self.cells - area - 1), self.cells - 1)
        reserve = max(1, len(usable) // 8)
        self.writable = usable[:-reserve] if len(usable) > reserve else usable
        if free is None:
            self.writable = np.append(self.writable, self.cells - 1)
        self._canary_cells = usable[-reserve:-1]
        self._canaries = 0
        self.generation = 0
        """How often the content was changed past every tracker."""

        self.unseen: list[tuple[int, int]] = []
        """The stamps, from and to, of writes that no tracker saw."""

    def resize(self, size: ByteCount, /) -> None:
        """Be of another size; what is new was never written, what is cut off is gone.

        Nothing but its lineage tells a disk that became smaller and grew again from what it was.
        """
        before, stamps = self.cells, self.stamps
        self.generation += size < self.size
        self.size = size
        self.content = self.content.resized(size)
        self.cells = self.content.cells
        self.stamps = StampDisk(self.cells)
        kept = stamps.written()
        kept = kept[kept < self.cells]
        self.stamps.write(kept, stamps.read(kept))
        # Nothing else writes where the disk has grown, so canaries can.
        within = self._canary_cells[self._canary_cells < self.cells]
        self._canary_cells = np.append(within, np.arange(before, self.cells)[1::3])

    def reserve(self, part: range, /) -> None:
        """Give cells to an application: nothing else in the guest writes them from now on."""
        assert len(self.diff_area) == 0 or part.stop <= self.diff_area[0], part
        self.content.real.append(part)
        self.writable = self._without(self.writable, part)
        self._canary_cells = self._without(self._canary_cells, part)

    @staticmethod
    def _without(cells: Cells, part: range, /) -> Cells:
        return cells[(cells < part.start) | (cells >= part.stop)]

    @property
    def lineage(self) -> str:
        """What tells this content from that before a change past the trackers."""
        return f"{self.id}/{self.generation}"

    def next_canary(self) -> Cells:
        """Return a cell that nothing else writes, another one each time while there are any."""
        if len(self._canary_cells) == 0:
            return np.empty(0, np.int64)
        at = self._canaries % len(self._canary_cells)
        self._canaries += 1
        return self._canary_cells[at : at + 1]
