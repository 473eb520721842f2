"""The cluster: nodes with clocks, volumes, machines, and what happens to them unasked."""

from collections.abc import Callable
from typing import Final

from reference_engine.model.identity import (
    DiskId,
    MachineId,
    NodeName,
    ReferencePointId,
    SnapshotId,
    VolumeName,
)
from reference_engine.model.machine import BackEnd
from reference_engine.model.units import MILLISECOND, SECOND, Duration, Instant
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import (
    CoordinatorChanged,
    MachinePlaced,
    MapDropped,
    MigrationEnded,
    MigrationStarted,
    NodeChanged,
    SnapshotReleased,
)
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode, SimTask
from simulator.world.clock import Clock
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.snapshots import Snapshots
from simulator.world.trackers import FilterMaps
from simulator.world.truth import Truth
from simulator.world.volume import SimVolume

_SESSION_TIMEOUT: Final = Duration(20 * SECOND)
_SESSION_LOOKS: Final = 6


class World:
    """The whole truth. Only the facade, the drivers and the oracle see it."""

    def __init__(self, sim: Simulation, emit: Callable[[Fact], None], truth: Truth, /) -> None:
        self.sim, self.emit, self.truth = sim, emit, truth
        self.nodes: dict[NodeName, SimNode] = {}
        self.clocks: dict[NodeName, Clock] = {}
        self.guest_clocks: dict[MachineId, Clock] = {}
        self.back_ends: dict[NodeName, BackEnd] = {}
        """What each node's version can do."""

        self.stale: dict[MachineId, NodeName] = {}
        """Machines of which the cluster names a wrong owner, and which one."""

        self.outside: set[NodeName] = set()
        """Hosts that are no nodes of the cluster."""

        self.agentless: set[NodeName] = set()
        """Hosts on which nobody answers the engine."""

        self.store_room: int | None = None
        """How many bytes the repository's volume holds; None: room without end."""

        self.store_refused = False
        """Whether something was too large for what was left."""

        self.store_clock = Clock(sim, offset=Duration(0), drift_ppm=0)
        """The wall clock by which the engine looks after the repository."""

        self.full: set[NodeName] = set()
        """Nodes without memory for another machine."""

        self.switches: dict[NodeName, tuple[str, ...]] = {}
        self.folders: dict[NodeName, str] = {}
        """Where each host keeps the files of its machines."""

        self.foreign: dict[SnapshotId, tuple[MachineId, ReferencePointId]] = {}
        """Another backup product's checkpoints, each with its reference point."""

        self.volumes: dict[VolumeName, SimVolume] = {}
        self.machines: dict[MachineId, SimMachine] = {}
        self.twins: dict[MachineId, SimMachine] = {}
        """Copies that were imported with the identity of another machine."""

        self.snapshots = Snapshots()
        self.maps = FilterMaps(granule_cells=4)
        self.rct_granule_cells = 4
        self.rct_survives_crash = True
        self.migration_waits_for_backup = False
        self.restart_delay = Duration(30 * SECOND)
        self.move_time = (Duration(200 * MILLISECOND), Duration(2 * SECOND))
        self.merge_time = (SECOND, Duration(30 * SECOND))
        self.mixed = False
        """Whether nodes of different versions form the cluster."""

        self.session = 0
        """Which session the engine has with the hosts; a new one after each loss of the engine."""

        self.isolated: dict[NodeName, int] = {}
        """Nodes that the cluster's network does not reach, and by how many partitions."""

        self.cut_off: dict[str, int] = {}
        """Whom the engine cannot reach: nodes, `cluster`, `repository`; by how many partitions."""

        self.outages: dict[tuple[str, str], int] = {}
        """Services that fail, as port and subject, and by how many outages; no subject: all."""

        self.on_node_loss: list[Callable[[NodeName, list[SimTask]], None]] = []

    def machine_of_disk(self, disk: DiskId, /) -> SimMachine:
        """Return the machine that has this disk."""
        # Most disks are called after the machine that was made with them.
        named = self.machines.get(MachineId(disk.rpartition("-disk")[0]))
        if named is not None and any(owned.id == disk for owned in named.disks):
            return named
        return next(
            machine
            for machine in self.machines.values()
            if any(owned.id == disk for owned in machine.disks)
        )

    def machine_at(self, node: NodeName, machine: MachineId, /) -> SimMachine:
        """Return whom a node means by this identity; one host never has it twice."""
        twin, found = self.twins.get(machine), self.machines[machine]
        return twin if twin is not None and twin.node == node != found.home else found

    def disk(self, disk: DiskId, /) -> SimDisk:
        """Return the disk of this identity."""
        return self.machine_of_disk(disk).disk(disk)

    def running(self, node: NodeName, /) -> bool:
        """Return whether the node has power."""
        return self.nodes[node].running

    def heard(self, node: NodeName, /) -> bool:
        """Return whether the engine would hear the node: it has power, and the network passes."""
        return self.running(node) and node not in self.cut_off

    def member(self, node: NodeName, /) -> bool:
        """Return whether the node has power and takes part in the cluster."""
        return self.running(node) and node not in self.isolated and node not in self.outside

    def place(self, machine: SimMachine, node: NodeName, /, *, why: str) -> None:
        """Have the machine run on `node` from this instant."""
        machine.node = machine.last_node = node
        machine.placements += 1
        machine.settled = True
        machine.come_up()
        if self.mixed:
            self._change_back_end(machine, self.back_ends[node])
        self.emit(MachinePlaced(at=self.sim.now(), machine=machine.id, node=node, why=why))

    def _change_back_end(self, machine: SimMachine, back_end: BackEnd) -> None:
        if machine.back_end is not back_end:
            machine.guest.back_end = back_end
            machine.guest.interrupt("moved to another version")
        if back_end is not BackEnd.REFERENCE_POINT:
            # An older host writes the disk file without keeping its RCT.
            for point in machine.references.values():
                point.lost.update(disk.id for disk in machine.disks)

    @property
    def quorate(self) -> bool:
        """Whether enough nodes run, a witness counted for those that do."""
        count = sum(node not in self.outside for node in self.nodes)
        return 2 * sum(map(self.member, self.nodes)) >= count

    def set_coordinator(self, volume: SimVolume, node: NodeName, /, *, why: str) -> None:
        """Have `node` coordinate the volume from this instant."""
        volume.coordinator = node
        volume.redirections += 1
        volume.moved_by_engine = why == "engine"
        self.emit(CoordinatorChanged(at=self.sim.now(), volume=volume.name, node=node, why=why))

    def other_node(self, node: NodeName | None, /) -> NodeName | None:
        """Return a running node other than `node`, the next one in the cluster's order."""
        names = list(self.nodes)
        start = names.index(node) + 1 if node in names else 0
        ordered = names[start:] + names[:start]
        return next((name for name in ordered if name != node and self.member(name)), None)

    # --- live migration ------------------------------------------------------------------------

    async def migrate(
        self,
        machine: SimMachine,
        target: NodeName,
        /,
        *,
        pre_copy: Duration,
        blackout: Duration,
        fails: bool = False,
    ) -> None:
        """Live-migrate, from where the machine is once nothing has to be waited for any more."""
        if self.migration_waits_for_backup:
            while self._backing_up(machine):
                await self.sim.sleep(Duration(5 * SECOND))
        source = machine.node
        if source is None or source == target or machine.migrating or not self.member(target):
            return
        machine.migrating = True
        self.emit(
            MigrationStarted(at=self.sim.now(), machine=machine.id, source=source, target=target)
        )
        await self.sim.sleep(pre_copy)
        if not self._still_migrating(machine, source, target):
            self._migration_failed(machine, source, target, self.sim.now())
            return
        machine.settled = False
        machine.advance()
        machine.canary()
        machine.blackout = True
        began = self.sim.now()
        await self.sim.sleep(blackout)
        if fails or not self._still_migrating(machine, source, target):
            self._migration_failed(machine, source, target, began)
            return
        machine.blackout = False
        machine.migrating = False
        self.place(machine, target, why="live-migration")
        machine.canary()
        self._say_migrated(machine, source, target, began, succeeded=True)

    def _still_migrating(self, machine: SimMachine, source: NodeName, target: NodeName) -> bool:
        return machine.migrating and machine.node == source and self.member(target)

    def _migration_failed(
        self, machine: SimMachine, source: NodeName, target: NodeName, began: Instant
    ) -> None:
        if machine.node == source:
            machine.blackout = False
            machine.migrating = False
            machine.settled = True
        self._say_migrated(machine, source, target, began, succeeded=False)

    def _say_migrated(
        self,
        machine: SimMachine,
        source: NodeName,
        target: NodeName,
        began: Instant,
        *,
        succeeded: bool,
    ) -> None:
        self.emit(
            MigrationEnded(
                at=self.sim.now(),
                machine=machine.id,
                source=source,
                target=target,
                blackout=began,
                succeeded=succeeded,
            )
        )

    def _backing_up(self, machine: SimMachine) -> bool:
        return machine.guest.shadow is not None or any(
            snapshot.exists and snapshot.machine is machine for snapshot in self.snapshots.values()
        )

    # --- the engine's session with the hosts ---------------------------------------------------

    def end_session(self) -> None:
        """Have the hosts notice that the engine is gone, and let its frozen guests go on.

        A requestor that vanishes aborts its VSS session: the host thaws what it had frozen.
        """
        self.session += 1
        self.sim.spawn(self._thaw_orphans(), name="hosts/session")

    async def _thaw_orphans(self) -> None:
        # A freeze that is under way may still be carried out after the engine's end.
        for _ in range(_SESSION_LOOKS):
            await self.sim.sleep(_SESSION_TIMEOUT)
            for machine in self.machines.values():
                if machine.guest.at_rest and machine.guest.session != self.session:
                    machine.guest.go_on("session-lost")
                if machine.saved is not None and machine.saved.session != self.session:
                    self.resume_orphan(machine)

    def resume_orphan(self, machine: SimMachine, /) -> None:
        """Have a saved machine go on whose saver is gone, on the node that saved it if it can."""
        node = machine.last_node
        if node is not None and self.running(node) and node not in self.full and self.quorate:
            machine.saved = None
            machine.skip()
            self.place(machine, node, why="resumed")

    # --- nodes ---------------------------------------------------------------------------------

    def crash_node(self, node: NodeName, /) -> None:
        """Cut the node's power: machines stop, memory is gone, volumes fail over."""
        if not self.running(node):
            return
        now = self.sim.now()
        stopped = [machine for machine in self.machines.values() if machine.node == node]
        for machine in stopped:
            machine.power_off()
            for point in machine.references.values():
                target = point.coarse if self.rct_survives_crash else point.lost
                target.update(disk.id for disk in machine.disks)
        for machine in self.machines.values():
            if (machine.off or machine.saved is not None) and machine.last_node == node:
                machine.last_node = self.other_node(node) or node
                machine.placements += 1
        lost = self.nodes[node].power_off()
        self.emit(NodeChanged(at=now, node=node, running=False, why="power cut"))
        for machine in stopped:
            self.emit(MachinePlaced(at=now, machine=machine.id, node=None, why="node-crash"))
        self._lose_memory(node)
        for listener in self.on_node_loss:
            listener(node, lost)
        for volume in self.volumes.values():
            if volume.coordinator == node and not volume.local:
                successor = self.other_node(node)
                if successor is not None:
                    self.set_coordinator(volume, successor, why="failover")
        for machine in stopped:
            self.restart(machine, node)
        if not self.quorate:
            self.stop_service()

    def stop_service(self) -> None:
        """Without a majority the cluster service stops, and with it every machine."""
        for machine in self.machines.values():
            node = machine.node
            if node is not None:
                machine.power_off()
                self.emit(
                    MachinePlaced(
                        at=self.sim.now(), machine=machine.id, node=None, why="quorum-loss"
                    )
                )
                self.restart(machine, node)

    def restart(self, machine: SimMachine, node: NodeName, /) -> None:
        """Have the machine, which ran on `node`, start again where it can."""
        self.sim.spawn(self._restart(machine, node), name=f"{machine.id}/failover")

    def _lose_memory(self, node: NodeName) -> None:
        now = self.sim.now()
        for machine in self.machines.values():
            for disk in machine.disks:
                for owner, kept in self.maps.known(disk.id):
                    if owner == node:
                        for run in kept.frozen:
                            self.emit(
                                MapDropped(
                                    at=now, node=node, disk=disk.id, run=run, why="node-crash"
                                )
                            )
            machine.holders.discard(node)
        self.maps.lose(node)
        for snapshot in self.snapshots.values():
            # A software snapshot lives on its coordinator; a checkpoint is a file on the volume.
            if snapshot.exists and snapshot.node == node and not snapshot.on_volume:
                snapshot.exists = False
                self.emit(
                    SnapshotReleased(
                        at=now, snapshot=snapshot.id, run=snapshot.run, why="node-crash"
                    )
                )

    async def _restart(self, machine: SimMachine, node: NodeName) -> None:
        await self.sim.sleep(self.restart_delay)
        while not machine.deleted:
            tied = self._tied(machine)
            target = self.other_node(node) if tied is None else tied
            if target is not None and self.quorate and self.member(target):
                break
            await self.sim.sleep(self.restart_delay)
        if machine.deleted or machine.off or machine.node is not None or target is None:
            return
        machine.skip()
        self.place(machine, target, why="failover")

    def _tied(self, machine: SimMachine) -> NodeName | None:
        """Return the only node on which the machine can run, because a disk of it lies there."""
        volumes = [self.volumes[disk.volume] for disk in machine.disks]
        return next((volume.coordinator for volume in volumes if volume.local), None)

    def start_node(self, node: NodeName, /) -> None:
        """Give the node power again; its memory is empty."""
        if not self.running(node):
            self.nodes[node].power_on()
            self.emit(NodeChanged(at=self.sim.now(), node=node, running=True, why="power on"))
