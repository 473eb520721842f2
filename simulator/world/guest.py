"""A guest: it writes, comes to rest, keeps pre-images, and must always go on again."""

from collections.abc import Callable
from typing import Final

import numpy as np

from reference_engine.model.errors import OperationFailedError
from reference_engine.model.identity import DiskId, GuestSnapshotId, MachineId, RunTag
from reference_engine.model.machine import BackEnd, GuestKind
from reference_engine.model.units import SECOND, Duration, Instant
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import GuestFroze, GuestSnapshotTaken, GuestThawed
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode
from simulator.world.disk import SimDisk
from simulator.world.stamps import Cells, StampImage, Stamps

VSS_HOLD_LIMIT: Final = Duration(10 * SECOND)
"""How long VSS holds writes before it lets go by itself. Source: IOCTL_VOLSNAP_FLUSH_AND_HOLD."""


class DiffArea:
    """The guest's copy-on-write store of one disk: pre-images by whole pieces of cells."""

    def __init__(self, disk: SimDisk, /) -> None:
        self._disk, self._cells_at_tg = disk, disk.cells
        self._kept = np.zeros(-(-disk.cells // disk.cow_cells), bool)
        self._cells: list[Cells] = []
        self._stamps: list[Stamps] = []
        self._used = 0

    def keep(self, cells: Cells, /) -> Cells | None:
        """Keep the pieces around `cells` as they are now, if they were not kept before.

        Returns the diff-area cells that this fills (they are written too), or None where the
        area is full and the guest has to give its snapshot up.
        """
        disk = self._disk
        cells = cells[
            cells < self._cells_at_tg
        ]  # where the disk has grown since, there was nothing
        pieces = np.unique(cells // disk.cow_cells)
        fresh = pieces[~self._kept[pieces]]
        if len(fresh) == 0:
            return np.empty(0, np.int64)
        self._kept[fresh] = True
        around = (fresh[:, None] * disk.cow_cells + np.arange(disk.cow_cells)).ravel()
        around = around[around < min(self._cells_at_tg, disk.cells)]
        self._cells.append(around)
        self._stamps.append(disk.stamps.read(around))
        if disk.diff_area_outside:
            return np.empty(0, np.int64)
        if self._used + len(around) > len(disk.diff_area):
            return None
        filled = disk.diff_area[self._used : self._used + len(around)]
        self._used += len(around)
        return filled

    @property
    def occupied(self) -> Cells:
        """The cells of the disk that the area occupies."""
        if self._disk.diff_area_outside:
            return np.empty(0, np.int64)
        return self._disk.diff_area[: self._used]

    def pre_images(self) -> tuple[Cells, Stamps]:
        """Return the kept cells, ascending, and what they held at Tg."""
        if not self._cells:
            return np.empty(0, np.int64), np.empty(0, np.uint64)
        cells, stamps = np.concatenate(self._cells), np.concatenate(self._stamps)
        order = np.argsort(cells, kind="stable")
        return cells[order], stamps[order]


class ShadowCopy:
    """The guest's own snapshot while it exists."""

    def __init__(
        self, snapshot: GuestSnapshotId, run: RunTag, disks: list[SimDisk], /, *, keeps: bool
    ) -> None:
        """`keeps`: the guest goes on writing while its snapshot lives, and keeps pre-images."""
        self.id, self.run, self.keeps = snapshot, run, keeps
        self.areas = {disk.id: DiffArea(disk) for disk in disks}
        self.images: dict[DiskId, StampImage] = {disk.id: disk.stamps.snapshot() for disk in disks}
        self.lost = False


class Guest:
    """The operating system in one machine, as its integration services show it."""

    def __init__(
        self,
        sim: Simulation,
        emit: Callable[[Fact], None],
        /,
        *,
        machine: MachineId,
        kind: GuestKind,
        back_end: BackEnd,
    ) -> None:
        self._sim, self._emit = sim, emit
        self.machine, self.kind, self.back_end = machine, kind, back_end
        self.at_rest = False
        """Applications are frozen and nothing is written."""

        self.frozen_by: RunTag | None = None
        """The run for which it is at rest."""

        self.shadow: ShadowCopy | None = None
        self.session = 0
        """Which of the engine's sessions asked for the rest; the host ends it with the session."""

        self._rests = 0
        self.prepare: Callable[[], None] = lambda: None
        """What applications do before the guest is at rest; raises where they cannot."""

    async def freeze(
        self,
        run: RunTag,
        /,
        *,
        node: SimNode,
        flush: Duration,
        cut: Callable[[RunTag], tuple[ShadowCopy, Instant]],
    ) -> tuple[ShadowCopy, Instant]:
        """Come to rest, take the guest's snapshot by `cut`, and go on as this guest does.

        Raises:
            OperationFailedError: nothing in the guest answers, or it is busy with another one.
        """
        if self.kind is GuestKind.NONE:
            raise OperationFailedError("freeze", "the guest has no integration service")
        if self.at_rest:
            raise OperationFailedError("freeze", "the guest is frozen already")
        self.prepare()
        self.rest(run)
        rested = self._rests
        await self._sim.sleep(flush)
        if not self._still_rests(rested):
            raise OperationFailedError("freeze", "the guest went on before its snapshot was taken")
        shadow, clock = cut(run)
        self.shadow = shadow
        self._emit(
            GuestSnapshotTaken(
                at=self._sim.now(),
                machine=self.machine,
                run=run,
                guest_snapshot=shadow.id,
                clock=clock,
            )
        )
        if self.kind is GuestKind.VSS:
            if self.back_end is BackEnd.HOST_SNAPSHOT:
                self.go_on("guest")
            else:
                self._sim.spawn(self._let_go(rested), name=f"{self.machine}/vss-hold", node=node)
        return shadow, clock

    def _still_rests(self, rested: int) -> bool:
        return self.at_rest and self._rests == rested

    async def _let_go(self, rested: int) -> None:
        await self._sim.sleep(VSS_HOLD_LIMIT)
        if self._still_rests(rested):
            self.go_on("limit")

    def rest(self, run: RunTag, /) -> None:
        """Stop writing."""
        self.at_rest, self.frozen_by = True, run
        self._rests += 1
        self._emit(GuestFroze(at=self._sim.now(), machine=self.machine, run=run))

    def go_on(self, why: str, /) -> None:
        """Write again; nothing happens where the guest is not at rest."""
        if self.at_rest:
            self.at_rest, self.frozen_by = False, None
            self._emit(GuestThawed(at=self._sim.now(), machine=self.machine, why=why))

    def forget_shadow(self, run: RunTag | None, /) -> None:
        """Delete the guest snapshot of `run`, or any with None."""
        if self.shadow is not None and run in (None, self.shadow.run):
            self.shadow = None

    def interrupt(self, why: str, /) -> None:
        """End a freeze from outside; a snapshot that was being taken is given up."""
        self.go_on(why)
        if self.shadow is not None:
            self.shadow.lost = True

    def power_off(self) -> None:
        """Stop without a word: what was frozen or kept is gone."""
        self.go_on("power-off")
        self.shadow = None
