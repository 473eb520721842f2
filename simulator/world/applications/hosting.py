"""An application in its machine: its writes become stamps, its milestones what the oracle knows."""

from collections.abc import Callable

import numpy as np

from reference_engine.model.units import Instant
from simulator.world.applications.application import Application, CellWrite, Kind, Layout
from simulator.world.disk import SimDisk
from simulator.world.stamps import Cells, StampImage
from simulator.world.truth import Milestone

Put = Callable[[SimDisk, Cells], int]
"""Writes cells of a disk as the machine does, and returns the last stamp."""


class HostedApplication:
    """Writes for an application, and keeps the real bytes of what it wrote."""

    def __init__(
        self,
        application: Application,
        /,
        *,
        kind: Kind,
        layout: Layout,
        disks: list[SimDisk],
        milestones: list[Milestone],
    ) -> None:
        self.kind, self.layout = kind, layout
        self._application, self._disks, self._milestones = application, disks, milestones

    def format(self, put: Put, /) -> None:
        """Write the first, empty files."""
        self._write(self._application.format(), put)

    def advance(self, now: Instant, put: Put, /) -> None:
        """Write everything that is due; a program that lost its power comes up first."""
        if not self._application.running:
            self._write(self._application.start(now, self._read), put)
        self._write(self._application.until(now), put)

    def close(self, now: Instant, put: Put, /) -> None:
        """Finish what was begun and close the files, because the guest comes to rest."""
        self._write(self._application.close(now), put)

    def stop(self) -> None:
        """Lose what is not on the disks."""
        self._application.stop()

    def went_back(self, to: int, stamp: int, /) -> None:
        """Take note that the disks are, from `stamp` on, what they were at the stamp `to`."""
        self._application.stop()
        then = milestone_at(self._milestones, to)
        self._milestones.append(Milestone(stamp=stamp, committed=then.committed, begun=then.begun))

    def find_again(self, disk: SimDisk, cells: Cells, kept: StampImage, /) -> None:
        """Have the application's cells among `cells`, whose stamps are new, hold `kept`'s bytes."""
        content = disk.content
        for part in content.real:
            mine = cells[(cells >= part.start) & (cells < part.stop)]
            then = content.expand(mine, kept.read(mine))
            for stamp, raw in zip(disk.stamps.read(mine).tolist(), then, strict=True):
                content.written[stamp] = raw.tobytes()

    def _read(self, part: str, cell: int) -> bytes:
        place = self.layout[part]
        disk = self._disks[place.disk]
        cells = np.array([place.first + cell])
        return disk.content.expand(cells, disk.stamps.read(cells)).tobytes()

    def _write(self, writes: list[CellWrite], put: Put) -> None:
        for write in writes:
            place = self.layout[write.part]
            assert 0 <= write.cell < place.count, write
            disk = self._disks[place.disk]
            stamp = put(disk, np.array([place.first + write.cell]))
            disk.content.written[stamp] = write.content
            self._milestones.append(
                Milestone(stamp=stamp, committed=write.committed, begun=write.begun)
            )


def milestone_at(milestones: list[Milestone], stamp: int, /) -> Milestone:
    """Return how far an application had come with its machine's write `stamp`."""
    found = Milestone(stamp=0, committed=0, begun=0)
    for milestone in milestones:
        if milestone.stamp > stamp:
            break
        found = milestone
    return found
