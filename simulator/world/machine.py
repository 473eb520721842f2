"""One virtual machine of the simulated world: its disks, its guest, where it runs."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import OperationFailedError
from reference_engine.model.identity import DiskId, GuestSnapshotId, MachineId, NodeName, RunTag
from reference_engine.model.machine import BackEnd, GuestKind, Machine, NetworkAdapter, VirtualDisk
from reference_engine.model.units import ByteCount, Instant
from reference_engine.trace import Event as Fact
from simulator.kernel.simulation import Simulation
from simulator.world.applications.hosting import HostedApplication
from simulator.world.disk import SimDisk
from simulator.world.guest import Guest, ShadowCopy
from simulator.world.stamps import TRIMMED, Cells, StampImage, Stamps
from simulator.world.trackers import FilterMaps, ReferencePoint
from simulator.world.truth import Cut, Milestone, Truth, WriteBatch
from simulator.world.workload import Profile, Workload

_TRIM: Final = np.uint64(TRIMMED)

ELSEWHERE: Final = NodeName("elsewhere")
"""Where a disk was changed past every node of the cluster."""


class SavedState:
    """What lies on the volume while the machine stands still."""

    def __init__(self, run: RunTag, since: Instant, /, *, session: int) -> None:
        self.run, self.since, self.session = run, since, session


class SimMachine:
    """A machine's true state. Whoever looks at its disks calls `advance` first."""

    def __init__(
        self,
        sim: Simulation,
        emit: Callable[[Fact], None],
        /,
        *,
        machine: MachineId,
        name: str,
        kind: GuestKind,
        back_end: BackEnd,
        disks: list[SimDisk],
        workload: Workload,
        maps: FilterMaps,
        truth: Truth,
        guest_clock: Callable[[], Instant],
        canary_per_mille: int,
    ) -> None:
        self._sim = sim
        self.id, self.name, self.disks = machine, name, disks
        self.guest = Guest(sim, emit, machine=machine, kind=kind, back_end=back_end)
        self.node: NodeName | None = None
        self.last_node: NodeName | None = None
        self.placements = 0
        """How often the machine was placed on a node; tells a move there and back from none."""

        self.settled = True
        self.migrating = False
        self.blackout = False
        self.off = False
        """Shut down: it runs nowhere, and its last node still knows it."""

        self.saved: SavedState | None = None
        """Its memory on the volume, where it stands still for a backup."""

        self.saves_withdrawn = 0
        """The newest run that no longer wants it saved."""

        self.mounts_astray = False
        """Its host resolves the path of a snapshot to the disk that the guest writes."""

        self.obstacles: tuple[str, ...] = ()
        """Why its host would not bring its guest to rest while it runs."""

        self.unprotected: tuple[str, ...] = ()
        """What it reads and no snapshot of its host reaches."""

        self.owners: tuple[MachineId, ...] | None = None
        """Of a set of shared disks: who claims to own it."""

        self.adapters: tuple[NetworkAdapter, ...] = ()
        self.deleted = False
        self.stalled: set[str] = set()
        """The volumes whose pause keeps the machine from writing."""

        self.checkpoint: dict[DiskId, StampImage] = {}
        """The administrator's own checkpoint."""

        self.checkpoint_sizes: dict[DiskId, ByteCount] = {}
        self.holders: set[NodeName] = set()
        """The nodes whose host snapshots hold the machine's writes in this instant."""

        self.stamp = 0
        self.references: dict[str, ReferencePoint] = {}
        self.checkpoints: list[str] = []
        self.merging_until = Instant(0)
        self._workloads, self._maps, self._truth = [workload], maps, truth
        self.lies_per_mille = 0
        """How many of its bursts no tracker notes, without a word."""

        self._clock = guest_clock
        self.canary_per_mille = canary_per_mille
        self._chance = sim.stream("canary", machine)
        self._lies = sim.stream("lies", machine)
        self._shadows = 0
        self.application: HostedApplication | None = None
        self.checkpoint_stamp = 0
        """The newest write at the administrator's checkpoint."""

        truth.writes[machine] = []

    def describe(self) -> Machine:
        """Return the machine as its host would describe it."""
        return Machine(
            id=self.id,
            name=self.name,
            guest=self.guest.kind,
            back_end=self.back_end,
            disks=tuple(
                VirtualDisk(id=disk.id, size=disk.size, volume=disk.volume, lineage=disk.lineage)
                for disk in self.disks
            ),
            obstacles=self.obstacles,
            unprotected=self.unprotected,
            adapters=self.adapters,
            owners=self.owners,
        )

    def disk(self, disk: str, /) -> SimDisk:
        """Return the disk of this identity."""
        return next(found for found in self.disks if found.id == disk)

    @property
    def profile(self) -> Profile:
        """How its guest writes."""
        return self._workloads[0].profile

    @property
    def back_end(self) -> BackEnd:
        """How the host takes snapshots of it."""
        return self.guest.back_end

    @property
    def home(self) -> NodeName | None:
        """The node that knows the machine: it runs there, or is shut down there."""
        return self.last_node if self.off or self.saved is not None else self.node

    def merging(self, now: Instant, /) -> int:
        """Return 1 while a difference disk is being merged, or else 0."""
        return int(self.merging_until > now)

    @property
    def writing(self) -> bool:
        """Whether guest writes reach the disks in this instant."""
        return (
            self.node is not None
            and not self.guest.at_rest
            and not self.blackout
            and not self.holders
            and not self.stalled
        )

    def fill(self, used_per_mille: int, /) -> None:
        """Write the disks' first content, before anything is recorded or tracked."""
        for disk in self.disks:
            self.fill_disk(disk, used_per_mille)

    def host(self, application: HostedApplication, /) -> None:
        """Have an application in the guest, whose first files are there before anything else."""
        self.application = application
        application.format(self._put_first)
        for disk in self.disks:
            self._truth.initial[disk.id] = disk.stamps.snapshot()
        self.guest.prepare = self._close_application

    def milestones(self) -> list[Milestone]:
        """Return the list that holds how far the machine's application came."""
        return self._truth.milestones.setdefault(self.id, [])

    def _put_first(self, disk: SimDisk, cells: Cells) -> int:
        disk.stamps.write(cells, self._new_stamps(len(cells)))
        return self.stamp

    def _put_real(self, disk: SimDisk, cells: Cells) -> int:
        self._write(disk, cells, trim=False)
        return self.stamp

    def _close_application(self) -> None:
        """Have the application finish and close its files, as a freeze asks it to."""
        if self.application is None:
            return
        if not self.writing:
            raise OperationFailedError("freeze", "the application cannot write to its disks")
        self.application.advance(self._sim.now(), self._put_real)
        self.application.close(self._sim.now(), self._put_real)

    def fill_disk(self, disk: SimDisk, used_per_mille: int, /) -> None:
        """Write one disk's first content."""
        if disk.content.underlay is None:
            count = len(disk.writable) * used_per_mille // 1000
            # The end of the disk is in use from the start, like a partition table's copy.
            cells = np.union1d(disk.writable[:count], disk.writable[-1:])
            disk.stamps.write(cells, self._new_stamps(len(cells)))
        self._truth.initial[disk.id] = disk.stamps.snapshot()
        self._truth.sizes[disk.id] = disk.size

    def add(self, disk: SimDisk, /) -> None:
        """Have one more disk from this instant, on which the guest writes as on the others."""
        self.disks.append(disk)
        self.fill_disk(disk, 100)
        self._workloads.append(
            Workload(
                self._sim.seed,
                f"{self.id}/{disk.id}",
                self._workloads[0].profile,
                (*(np.empty(0, np.int64) for _ in self.disks[1:]), disk.writable),
            )
        )
        self._workloads[-1].skip(self._sim.now())

    def change_unseen(self, disk: SimDisk, cells: Cells, /, *, trimmed: Cells) -> None:
        """Give cells new content, and others none, past every tracker and past the guest."""
        disk.generation += 1
        for changed, mark in ((cells, 0), (trimmed, TRIMMED)):
            if len(changed):
                stamps = self._new_stamps(len(changed))
                disk.unseen.append((int(stamps[0]), int(stamps[-1])))
                disk.stamps.write(changed, stamps | np.uint64(mark))
                self._truth.writes[self.id].append(
                    WriteBatch(
                        disk=disk.id,
                        node=ELSEWHERE,
                        cells=changed,
                        stamps=stamps | np.uint64(mark),
                    )
                )

    def put_back(self, disk: SimDisk, content: npt.NDArray[np.uint8], /) -> None:
        """Give every cell of the disk new content, the real bytes of `content`."""
        every = np.arange(disk.cells)
        padded = np.zeros(disk.cells * disk.cell, np.uint8)
        padded[: len(content)] = content
        rows = padded.reshape(-1, disk.cell)
        empty = ~rows.any(axis=1)
        self.change_unseen(disk, every[~empty], trimmed=every[empty])
        disk.content.real = [range(disk.cells)]
        for cell in every[~empty].tolist():
            stamp = int(disk.stamps.read(every[cell : cell + 1])[0])
            disk.content.written[stamp] = rows[cell].tobytes()

    def keep_first(self, count: int, /) -> None:
        """Have only the first disks, as before others were added."""
        added = len(self.disks) - count  # each disk that was added has a workload of its own
        del self.disks[count:]
        del self._workloads[len(self._workloads) - added :]

    def damage(self, disk: DiskId, /) -> None:
        """Have somebody change a cell that the guest did not write: what must never happen."""
        self.advance()
        found = self.disk(disk)
        # Where nothing else writes, so that the damage stays to be seen.
        cells = found.next_canary()
        found.stamps.write(cells, self._new_stamps(len(cells)))

    def advance(self) -> None:
        """Bring the disks to this instant."""
        if not self.writing:
            return
        now = self._sim.now()
        for workload in self._workloads:
            for burst in workload.until(now):
                self._write(self.disks[burst.disk], burst.cells, trim=burst.trim)
        if self.application is not None:
            self.application.advance(now, self._put_real)

    def come_up(self) -> None:
        """Have the application go on with its machine, and not with whoever looks at it first."""
        if self.application is not None:
            self.advance()

    def skip(self) -> None:
        """Let the writes of a time without power go by."""
        for workload in self._workloads:
            workload.skip(self._sim.now())

    def canary(self) -> None:
        """Perhaps write one cell, which nothing else writes, right beside a change of state.

        A busy guest rewrites most of its cells sooner or later and so hides a lost change; a cell
        that is written once shows it.
        """
        if self.writing and self._chance.chance(self.canary_per_mille):
            self.write_once()

    def write_once(self) -> None:
        """Write a cell that nothing else writes, where the guest can write in this instant."""
        if self.writing:
            disk = self.disks[self._chance.below(len(self.disks))]
            self._write(disk, disk.next_canary(), trim=False)

    def write_now(self, disk: SimDisk, cells: Cells, /) -> None:
        """Have the guest write these cells in this instant."""
        self._write(disk, cells, trim=False)

    def cut(self, run: RunTag, /) -> tuple[ShadowCopy, Instant]:
        """Take the guest's own snapshot in this instant: this is Tg."""
        assert self.guest.at_rest
        snapshot = self._new_shadow()
        keeps = self.guest.kind is GuestKind.VSS and self.back_end is BackEnd.HOST_SNAPSHOT
        shadow = ShadowCopy(snapshot, run, self.disks, keeps=keeps)
        clock = self._clock()
        self._truth.guest_cuts[snapshot] = Cut(
            run=run,
            at=self._sim.now(),
            clock=clock,
            stamp=self.stamp,
            images=dict(shadow.images),
        )
        return shadow, clock

    def _new_shadow(self) -> GuestSnapshotId:
        # Real ones are GUIDs: not even two copies of one machine give the same.
        while True:
            self._shadows += 1
            snapshot = GuestSnapshotId(f"{self.id}-shadow-{self._shadows}")
            if snapshot not in self._truth.guest_cuts:
                return snapshot

    def recover_inside(self, snapshot: GuestSnapshotId, images: dict[str, Cells], /) -> None:
        """Let the guest's writers change their snapshot after the cut (VSS auto-recovery)."""
        cut = self._truth.guest_cuts[snapshot]
        for disk, cells in images.items():
            stamps = self._new_stamps(len(cells))
            found = next(name for name in cut.images if name == disk)
            cut.images[found] = cut.images[found].overlaid(cells, stamps)

    def pass_stamp(self) -> int:
        """Return a place in the write order that no write takes."""
        return int(self._new_stamps(1)[0])

    def _new_stamps(self, count: int) -> Stamps:
        first = self.stamp + 1
        self.stamp += count
        return np.arange(first, self.stamp + 1, dtype=np.uint64)

    def _write(self, disk: SimDisk, cells: Cells, *, trim: bool) -> None:
        if len(cells) == 0:
            return
        shadow = self.guest.shadow
        if shadow is not None and shadow.keeps and not shadow.lost:
            area = shadow.areas.get(disk.id)
            filled = np.empty(0, np.int64) if area is None else area.keep(cells)
            if filled is None:
                shadow.lost = True
            elif len(filled):
                self._put(disk, filled, self._new_stamps(len(filled)))
        stamps = self._new_stamps(len(cells))
        self._put(disk, cells, stamps | _TRIM if trim else stamps)

    def _put(self, disk: SimDisk, cells: Cells, stamps: Stamps) -> None:
        assert self.node is not None
        disk.stamps.write(cells, stamps)
        if self.lies_per_mille and self._lies.chance(self.lies_per_mille):
            order = stamps & np.uint64(TRIMMED - 1)
            hidden = (int(order[0]), int(order[-1]))
            disk.unseen.append(hidden)
            self._truth.lied.setdefault(disk.id, []).append(hidden)
            self._maps.of(self.node, disk)
        else:
            self._maps.of(self.node, disk).note(cells)
        self._truth.writes[self.id].append(
            WriteBatch(disk=disk.id, node=self.node, cells=cells, stamps=stamps)
        )

    def power_off(self) -> None:
        """Lose power: the guest stops where it is."""
        self.advance()
        if self.application is not None:
            self.application.stop()
        self.guest.power_off()
        self.node = None
        self.migrating = False
        self.blackout = False
        self.settled = False
