"""One run of one scenario: the engine on its own simulated machine, in a simulated cluster."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.catalogue.retention import RetentionPolicy
from reference_engine.jobs.clearing import let_all_go_on
from reference_engine.jobs.discovery import DiscoveryRule
from reference_engine.jobs.schedule import Slots, protect
from reference_engine.jobs.surroundings import ClusterPorts, Policy, Ports, WithoutGuest
from reference_engine.jobs.upkeep import UpkeepPlan
from reference_engine.model.errors import TransientError
from reference_engine.model.extents import encode_extents
from reference_engine.model.identity import MachineId, NodeName, RecoveryPointId
from reference_engine.model.units import HOUR, MINUTE, SECOND, ByteCount, Duration, Instant
from reference_engine.repository.errors import RepositoryAbsentError
from reference_engine.repository.repository import Repository
from reference_engine.repository.settings import Settings
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import (
    NodeChanged,
    PointBecameVisible,
    PointsBecameInvisible,
    RunsForgotten,
)
from reference_engine.trace.engine import PointCommitted, RestoreEnded
from simulator.campaign.allocation import collect_seldom, keep_freed_memory
from simulator.campaign.kept import KeptStore
from simulator.campaign.ordering import Engine, Orders, last_order
from simulator.campaign.restoring import Restorer
from simulator.drivers.nemesis import Nemesis
from simulator.facade.blob_store import BlobStoreFacade
from simulator.facade.change_tracking import ChangeTrackingFacade
from simulator.facade.cluster import ClusterFacade
from simulator.facade.consistency import ConsistencyFacade
from simulator.facade.disk_io import DiskIoFacade
from simulator.facade.door import Door
from simulator.facade.host import HostFacade
from simulator.facade.machine_import import MachineImportFacade
from simulator.faults.kinds import Happening
from simulator.faults.orders import Ordered, ReplicaConnected
from simulator.faults.plan import FaultPlan
from simulator.kernel.digest import TraceDigest
from simulator.kernel.runtime import SimRuntime
from simulator.kernel.simulation import Simulation, StalledError
from simulator.kernel.task import SimNode, SimTask
from simulator.scenario.building import RealDisk, build_world
from simulator.scenario.schema import Scenario, slot_count
from simulator.world.cluster import World
from simulator.world.partitions import REPLICA
from simulator.world.truth import Truth, empty_truth

_ENCODER: Final = msgspec.json.Encoder(enc_hook=encode_extents)
_GRACE: Final = Duration(6 * HOUR)
"""How long after the scenario's end the engine may take to finish what it began."""

_START_LIMIT: Final = Duration(20 * SECOND)
_START_DELAY: Final = Duration(10 * SECOND)
"""How long a start of the engine may take, and how long after a failure it is started again."""

ENGINE: Final = NodeName("engine")


class Watcher:
    """Sees every fact as it happens; the campaign's judge is one."""

    keeps_facts = True
    """Whether somebody asks for the night's facts when it is over."""

    def see(self, fact: Fact, night: "Night", /) -> None:
        """Look at a fact; `night` is as it was at that instant."""


class Night:
    """One run. After `run`, everything about it can be asked."""

    def __init__(
        self,
        scenario: Scenario,
        /,
        *,
        seed: int,
        happenings: tuple[Happening, ...],
        images: Mapping[str, RealDisk],
        plan: FaultPlan,
        watcher: Watcher,
        progress: Callable[[Instant], None],
    ) -> None:
        self.scenario, self.seed = scenario, seed
        self.sim = Simulation(seed)
        self.facts: list[Fact] = []
        self.truth: Truth = empty_truth()
        self.digest = TraceDigest()
        self.kept = KeptStore(self._show_news)
        self.restorer = Restorer(self.kept)
        self.lost: dict[RecoveryPointId, None] = {}
        """Points that went with objects that had been called durable."""

        self.finished = False
        self.damaged = False
        self._orders_until = Instant(0)
        self.unfinished = ""
        self._watcher, self._progress = watcher, progress
        self._engine_node = SimNode("engine")
        self._engines = [self._engine_node]
        self._incarnation = 0
        self._zombies = 0
        self._behind_zombie = False
        """Whether an engine has ended beside the one that runs: what it left may be unseen yet."""

        self._engine_task: SimTask | None = None
        self._nemesis: Nemesis | None = None
        self.world: World = build_world(scenario, self.sim, self.emit, self.truth, images=images)
        self._door = Door(self.world, self.digest, plan)
        self._nemesis = Nemesis(self.world, plan, self)
        self.happenings: tuple[Happening, ...] = ()
        self.expect(happenings)
        skew = (Duration(scenario.skew.shortest), Duration(scenario.skew.longest))
        self._host = self._door.opened("host", HostFacade(self.world, skew=skew))
        self._cluster = self._door.opened("cluster", ClusterFacade(self.world))
        self._consistency = self._door.opened("consistency", ConsistencyFacade(self.world))
        self._tracking = self._door.opened("change_tracking", ChangeTrackingFacade(self.world))
        self._disk_io = self._door.opened("disk_io", DiskIoFacade(self.world))
        self._imports = MachineImportFacade(self.world)
        self.orders = Orders(self.sim, self._door.opened("machine_import", self._imports))
        self.replica = MemoryStore()
        rate = ByteCount(scenario.repository.replica_kib_s << 10)
        far = BlobStoreFacade(self.world, self.replica, rate=rate)
        self._replica = self._door.opened("replica_store", far)
        if any(isinstance(each, ReplicaConnected) for each in happenings):
            self.world.cut_off[REPLICA] = 1
        self._store = self._door.opened("blob_store", BlobStoreFacade(self.world, self.kept))

    def expect(self, happenings: tuple[Happening, ...], /) -> None:
        """Have more happen; what is bound to a call that was made already never will."""
        assert self._nemesis is not None
        self._nemesis.expect(happenings)
        end = Instant(self.scenario.duration)
        self._orders_until = max(self._orders_until, last_order(happenings, end))
        self.happenings += happenings

    def emit(self, fact: Fact, /) -> None:
        """Take one fact of the engine or the world."""
        self.digest.add(_ENCODER.encode(fact))
        if self._watcher.keeps_facts:
            self.facts.append(fact)
        self._watcher.see(fact, self)
        if isinstance(fact, PointCommitted):
            self._progress(self.sim.now())
        if isinstance(fact, RestoreEnded):
            self.orders.ended(fact.order)
        if self._nemesis is not None:
            self._nemesis.watch(fact)

    def _hear_engine(self, node: SimNode, fact: Fact) -> None:
        """Take a fact of an engine, unless it has just lost its power in mid-sentence."""
        if node.running:
            self.emit(fact)

    def _show_news(self) -> None:
        """State what the repository lists, and what no more, seen from outside the engine."""
        committed, expired = self.restorer.news()
        for point in committed:
            self.emit(PointBecameVisible(at=self.sim.now(), point=point))
        if expired:
            self.emit(PointsBecameInvisible(at=self.sim.now(), points=expired))

    def run(self) -> None:
        """Run the scenario to its end."""
        keep_freed_memory()
        collect_seldom()
        limit = Instant(self.scenario.duration + _GRACE)
        try:
            self.sim.run(self._main(), limit=limit)
            self.finished = True
        except StalledError as stalled:
            self.unfinished = str(stalled)
        except BaseException:
            # What stands still in the middle of a call would try to go on as it is collected.
            self.sim.close()
            raise
        for machine in self.world.machines.values():
            machine.advance()
        self.sim.close()

    def run_until(self, instant: Instant, /) -> None:
        """Run up to an instant, and leave everything as it is then; the run cannot be taken up."""
        with suppress(StalledError):
            self.sim.run(self._main(), limit=instant)
            self.finished = True

    async def _main(self) -> None:
        self._start_engine()
        while True:
            task = self._engine_task
            ended = task is not None and task.done and self._engine_node.running
            ended = ended and not self.orders.busy and self.sim.now() >= self._orders_until
            if task is not None and ended and not self._zombies:
                await task
                if not self._behind_zombie:
                    return
                self._restart_engine()
            await self.sim.sleep(MINUTE)

    def _start_engine(self) -> None:
        self._engine_task = self.sim.spawn(
            self._engine(self._engine_node, self._incarnation),
            name=f"engine.{self._incarnation}",
            node=self._engine_node,
        )

    def _restart_engine(self) -> None:
        self._behind_zombie = False
        self._incarnation += 1
        self._start_engine()

    def cut(self, *, down_for: Duration) -> None:
        """Cut the engine's power; it comes back with nothing in memory."""
        if self._engine_task is None or not self._engine_node.running:
            return  # in its first instant it may not have been started yet
        self._engine_node.power_off()
        self.world.end_session()
        self.emit(NodeChanged(at=self.sim.now(), node=ENGINE, running=False, why="power cut"))

        async def back() -> None:
            await self.sim.sleep(down_for)
            self._engine_node.power_on()
            self.emit(NodeChanged(at=self.sim.now(), node=ENGINE, running=True, why="power on"))
            self._restart_engine()

        self.sim.spawn(back(), name="engine/power-on")

    def twin(self, *, cut_off: Duration, ends_after: Duration) -> None:
        """Start a second engine on another machine, while the first one goes on for a while."""
        zombie, task = self._engine_node, self._engine_task
        if not zombie.running or task is None or task.done:
            return
        self._door.cut_off(zombie, until=Instant(self.sim.now() + cut_off))
        self._zombies += 1
        self._incarnation += 1
        self._engine_node = SimNode(f"engine-{self._incarnation + 1}")
        self._engines.append(self._engine_node)
        self._start_engine()

        async def end() -> None:
            await self.sim.sleep(ends_after)
            zombie.power_off()
            self.world.end_session()
            name = NodeName(zombie.name)
            off = NodeChanged(at=self.sim.now(), node=name, running=False, why="switched off")
            self.emit(off)
            self._zombies -= 1
            # Whoever watches the engine finds what the other one left, and has it cleared: at once
            # by one that had ended, else when it ends, as it may have looked for the last time.
            self._behind_zombie = True
            current = self._engine_task
            if current is not None and current.done and self._engine_node.running:
                self._restart_engine()

        self.sim.spawn(end(), name="engine/zombie-ends")

    def damage(self, objects: str, damage: str, /) -> None:
        """Damage the newest object of a kind, on the repository's own disks."""
        listed = self.restorer.manifests()
        self.damaged = self.kept.damage(objects, damage, listed=listed) or self.damaged

    def order(self, ordered: Ordered, /) -> None:
        """Have the engine do what an administrator orders."""
        self.orders.order(ordered, self.restorer)

    @property
    def order_files(self) -> tuple[str, ...]:
        """Files of orders that no machine was made of."""
        return tuple(f"{path} of order {order}" for order, path in self._imports.imports.files)

    def replicate(self) -> None:
        """Have the engine bring points to the second repository."""
        self.orders.replicate(self._replica)

    def lose(self, count: int, /, *, torn: bool) -> None:
        """Lose the newest objects, as a disk does that calls durable what is not."""
        before, opened = self.restorer.visible(), self.restorer.opened()
        self.kept.lose(count, torn=torn)
        self.restorer = Restorer(self.kept)
        self.restorer.skip()
        there = self.restorer.visible()
        self.lost.update(dict.fromkeys(point for point in before if point not in there))
        forgotten = self.restorer.forgotten(opened)
        if forgotten:
            self.emit(RunsForgotten(at=self.sim.now(), runs=forgotten))

    async def _engine(self, node: SimNode, incarnation: int) -> None:
        # Another engine may take over before this one's first step: it must not be the same one.
        runtime = SimRuntime(self.sim, node=node, incarnation=incarnation)
        protection = self.scenario.protection
        cluster = ClusterPorts(
            runtime=runtime,
            cluster=self._cluster,
            host=self._host,
            consistency=self._consistency,
            tracer=lambda fact: self._hear_engine(node, fact),
        )
        ports = Ports(
            runtime=runtime,
            cluster=cluster.cluster,
            host=cluster.host,
            consistency=cluster.consistency,
            tracer=cluster.tracer,
            tracking=self._tracking,
            disk_io=self._disk_io,
            repository=await self._repository(cluster),
            wall_clock=self.world.store_clock.read,
        )
        policy = Policy(
            application_required=protection.application_required,
            without_guest=WithoutGuest(protection.without_guest),
            physical_disks_allowed=protection.physical_disks == "name",
            attempts=protection.attempts,
            retry_delay=Duration(protection.retry_delay),
            sample_blocks=protection.sample_blocks,
            volume_reserve=ByteCount(protection.volume_reserve),
            runs_at_once=protection.runs_at_once,
            runs_per_volume=protection.runs_per_volume,
            runs_per_node=protection.runs_per_node,
        )
        self.orders.work_with(Engine(ports=ports, policy=policy, node=node))
        volumes = tuple(sorted(self.world.volumes))
        await protect(
            ports, policy, self.slots(), volumes=volumes, rule=self._rule(), upkeep=self._upkeep()
        )

    def _upkeep(self) -> UpkeepPlan | None:
        store = self.scenario.repository
        if not store.keep_last:
            return None
        return UpkeepPlan(
            retention=RetentionPolicy(last=store.keep_last),
            every=Duration(store.upkeep_every),
            repack_growth=store.repack_growth_percent / 100,
            until=Instant(self.scenario.duration),
        )

    def _rule(self) -> DiscoveryRule | None:
        protection = self.scenario.protection
        if protection.discover is None:
            return None
        return DiscoveryRule(
            poll=Duration(protection.discover),
            delay=MINUTE,
            interval=Duration(protection.interval),
            until=Instant(self.scenario.duration),
        )

    async def _repository(self, ports: ClusterPorts) -> Repository:
        """Open the repository; where it does not answer, the engine is started again and again."""
        while True:
            try:
                async with ports.runtime.deadline(_START_LIMIT):
                    try:
                        return await Repository.open(self._store)
                    except RepositoryAbsentError:
                        return await Repository.create(
                            self._store,
                            identity_token=self.sim.stream("repository").token(),
                            block_size=ByteCount(self.scenario.protection.block),
                            settings=Settings(
                                immutable_for=Duration(self.scenario.repository.immutable_for)
                            ),
                        )
            except TransientError:
                machines = tuple(plan.machine for plan in self.slots())
                await let_all_go_on(ports, machines, self._rule(), limit=_START_LIMIT)
                await ports.runtime.sleep(_START_DELAY)

    def slots(self) -> tuple[Slots, ...]:
        """Return when each machine is due."""
        protection = self.scenario.protection
        slots = []
        for index, machine in enumerate(self.scenario.machines):
            first = protection.first + index * protection.stagger
            slots.append(
                Slots(
                    machine=MachineId(machine.name),
                    first=Instant(first),
                    interval=Duration(protection.interval),
                    count=slot_count(self.scenario, index),
                )
            )
        return tuple(slots)
