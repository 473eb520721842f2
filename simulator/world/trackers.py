"""Change trackers: filter maps in the memory of nodes (E1), and RCT in the disk file (E3)."""

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import TrackerUnusableError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, ReferencePointId, RunTag
from reference_engine.model.units import ByteCount
from simulator.world.disk import SimDisk
from simulator.world.stamps import TRIMMED, Cells, StampImage

Map = npt.NDArray[np.bool_]


class FilterMap:
    """One node's map of one disk: a running one, and those that runs have frozen."""

    def __init__(self, disk: SimDisk, /, *, granule_cells: int) -> None:
        self._disk, self._granule = disk, granule_cells
        self._running: Map | None = self._blank()
        self.frozen: dict[RunTag, Map | None] = {}
        """None stands for a map that was lost before it was frozen."""

        self.armed: RunTag | None = None
        self.since: RunTag | None = None
        """The run whose switch began the running map."""

        self._began: dict[RunTag, RunTag | None] = {}
        """With which run's switch each frozen map began."""

        self._sizes: dict[RunTag, ByteCount] = {}
        """How large the disk was as each was frozen: the map tells of no other disk."""

        self.deaf = False
        """No driver runs on this node: it writes, and does not know what."""

    def _blank(self) -> Map:
        return np.zeros(-(-self._disk.cells // self._granule), bool)

    @property
    def intact(self) -> bool:
        """Whether every write since the last switch is known."""
        return self._running is not None

    @property
    def noted(self) -> int | None:
        """How many pieces of the disk the running map holds; None where it was lost."""
        return None if self._running is None else int(self._running.sum())

    def note(self, cells: Cells, /) -> None:
        """Note that these cells were written through this node."""
        if self.deaf:
            self._running = None
        if self._running is not None:
            self._running[cells // self._granule] = True

    def switch(self, run: RunTag, /) -> None:
        """Freeze the running map under the run's tag and start an empty one.

        Under the tag of a second run nothing is frozen that could vouch for the base.
        """
        assert run not in self.frozen, run
        # While another run's map is frozen, the running one does not begin with the base.
        self.frozen[run] = None if self.frozen else self._running
        self._began[run], self.since = self.since, run
        self._sizes[run] = self._disk.size
        self._running = self._blank()
        self.armed = None

    def merge_back(self, run: RunTag, /) -> None:
        """Join the frozen map with the running one; a lost part makes the whole lost."""
        frozen, self.since = self.frozen.pop(run), self._began.pop(run, None)
        if frozen is None or self._running is None:
            self._running = None
        else:
            self._running |= _fitted(frozen, self._running)

    def resize(self) -> None:
        """Go on for the disk as large as it is now; what was frozen is of the disk as it was."""
        if self._running is not None:
            self._running = _fitted(self._running, self._blank())

    def mark_everything(self) -> None:
        """Say of every piece that it was written."""
        if self._running is not None:
            self._running[:] = True

    def lose_running(self) -> None:
        """The driver was reloaded: writes since the last switch are unknown."""
        self._running = None

    def lose(self) -> None:
        """Power cut: what was in memory is gone, frozen or not."""
        self._running = None
        self.frozen.clear()
        self.armed = None

    def extents(self, run: RunTag, /) -> ExtentSet:
        """Return what the frozen map holds.

        Raises:
            TrackerUnusableError: it was lost, or never frozen.
        """
        frozen = self.frozen.get(run)
        if frozen is None:
            raise TrackerUnusableError(str(self._disk.id), "its map was lost")
        granule = ByteCount(self._granule * self._disk.cell)
        return ExtentSet.of_pieces(np.flatnonzero(frozen), piece=granule, size=self._sizes[run])


def _fitted(old: Map, other: Map) -> Map:
    """Return a map as long as another one that has what the old one has there."""
    new = np.zeros(len(other), np.bool_)
    new[: len(old)] = old[: len(new)]
    return new


class FilterMaps:
    """The maps of all nodes."""

    def __init__(self, *, granule_cells: int) -> None:
        self._granule = granule_cells
        self.untracked: set[NodeName] = set()
        """Nodes without the filter driver: they write, and do not know what."""

        self._maps: dict[DiskId, dict[NodeName, FilterMap]] = {}

    def of(self, node: NodeName, disk: SimDisk, /) -> FilterMap:
        """Return the node's map of the disk, new where it never wrote it."""
        maps = self._maps.setdefault(disk.id, {})
        if node not in maps:
            maps[node] = FilterMap(disk, granule_cells=self._granule)
            maps[node].deaf = node in self.untracked
        return maps[node]

    def known(self, disk: DiskId, /) -> list[tuple[NodeName, FilterMap]]:
        """Return every node that ever wrote the disk, by name, with its map."""
        return sorted(self._maps.get(disk, {}).items())

    def resize(self, disk: SimDisk, /) -> None:
        """Have every map of a disk go on for its new size."""
        for _, kept in self.known(disk.id):
            kept.resize()

    def install(self, node: NodeName, /) -> None:
        """Have the filter driver run on a node that had none."""
        self.untracked.discard(node)
        for maps in self._maps.values():
            if node in maps:
                maps[node].deaf = False

    def lose(self, node: NodeName, /) -> None:
        """Lose every map of a node that went down."""
        for maps in self._maps.values():
            if node in maps:
                maps[node].lose()


class ReferencePoint:
    """An instant that RCT remembers."""

    def __init__(self, point: ReferencePointId, run: RunTag, stamp: int, /) -> None:
        self.id, self.run, self.stamp = point, run, stamp
        self.coarse: set[DiskId] = set()
        self.lost: set[DiskId] = set()
        self.everything: set[DiskId] = set()
        """Disks of which RCT says that everything was written."""


def rct_changes(
    disk: SimDisk,
    image: StampImage,
    point: ReferencePoint,
    /,
    *,
    granule_cells: int,
    size: ByteCount,
) -> ExtentSet:
    """Return what changed on the disk between a reference point and a checkpoint's `image`.

    `size` is the disk's as it was then: it may have been resized since.

    Raises:
        TrackerUnusableError: the map was lost in an unclean failover.
    """
    if disk.id in point.lost:
        raise TrackerUnusableError(str(disk.id), "its map was lost in an unclean failover")
    every = np.arange(image.cells)
    # A trim is a change like any other: its stamp counts without the mark.
    stamps = image.read(every) & np.uint64(TRIMMED - 1)
    granule = granule_cells * (16 if disk.id in point.coarse else 1)
    changed = stamps > np.uint64(point.stamp)
    for first, last in disk.unseen:
        changed &= (stamps < np.uint64(first)) | (stamps > np.uint64(last))
    if disk.id in point.everything:
        changed[:] = True
    granules = changed.nonzero()[0] // granule
    fresh = np.ones(len(granules), np.bool_)
    fresh[1:] = granules[1:] != granules[:-1]
    granules = granules[fresh]
    return ExtentSet.of_pieces(granules, piece=ByteCount(granule * disk.cell), size=size)
