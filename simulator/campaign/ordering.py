"""What an administrator orders of the engine: restores onto hosts, and looks into points.

An order outlives the engine: whoever gave it gives it again when the engine is back, until it has
ended. That is what a person does, and what a job queue does.
"""

from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from reference_engine.jobs.instant import run_from_point
from reference_engine.jobs.replicating import replicate
from reference_engine.jobs.restoring import leased, restore_machine
from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import TransientError, TwinshotError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    MachineId,
    NodeName,
    OrderId,
    RecoveryPointId,
    VolumeName,
)
from reference_engine.model.restore_order import RestoredAs, RestoreOrder
from reference_engine.model.units import ByteCount, Duration, Instant
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.machine_import import MachineImport
from reference_engine.repository.errors import RepositoryAbsentError
from reference_engine.repository.reader import PointReader
from reference_engine.repository.repository import Repository
from simulator.campaign.instant_guest import InstantGuest
from simulator.campaign.item_taking import take_items
from simulator.campaign.restoring import Restorer
from simulator.faults.orders import (
    ItemsTaken,
    MachineRestored,
    MachineRunFromPoint,
    Ordered,
    PointMounted,
    ReplicaConnected,
)
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode, SimTask
from simulator.oracle.evidence import LaterRestore, TakenItems, TakenVolume
from simulator.oracle.proof import fingerprint

_LOOKS: Final = 8
"""How often somebody reads everything of the point that he looks into."""


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """An engine that takes orders: what it works with, and on which machine it runs."""

    ports: Ports
    policy: Policy
    node: SimNode


class Orders:
    """Every order of one run, and the work of the engine on those that have not ended."""

    def __init__(self, sim: Simulation, host: MachineImport, /) -> None:
        self._sim, self._host = sim, host
        self._engine: Engine | None = None
        self._open: dict[OrderId, RestoreOrder] = {}
        self._tasks: list[SimTask] = []
        self.guests: dict[OrderId, InstantGuest] = {}
        """Machines that run, or ran, from a point."""

        self._items_open: dict[str, RecoveryPointId] = {}
        self.items_ordered: list[ItemsTaken] = []
        self.items_taken: dict[str, TakenItems] = {}
        self._rooms: dict[OrderId, ByteCount] = {}
        self._replication: SimTask | None = None
        self.given: dict[OrderId, RestoreOrder] = {}
        self.looks: list[LaterRestore] = []
        """What was read out of points that somebody looked into."""

    @property
    def busy(self) -> bool:
        """Whether the engine works on an order, or will as soon as it is back."""
        return bool(self._open or self._items_open) or any(
            not task.done and task.node.running for task in self._tasks
        )

    def work_with(self, engine: Engine, /) -> None:
        """Have this engine do what has not ended, and what is ordered from now on."""
        self._engine = engine
        for order in self._open.values():
            self._restore(engine, order)
        self._take_items()

    def ended(self, order: OrderId, /) -> None:
        """Take note that nobody gives the order again."""
        self._open.pop(order, None)

    def order(self, ordered: Ordered, restorer: Restorer, /) -> None:
        """Take an order; where the points that it means are not there, it means nothing."""
        points = [
            point
            for point in restorer.visible()
            if restorer.record(point).machine.id == ordered.machine
        ]
        number = ordered.point
        if number is not None and number > len(points):
            return
        point = None if number is None else points[number - 1]
        match ordered:
            case MachineRestored():
                self._take(
                    msgspec.structs.replace(
                        _order_of(ordered, point),
                        restored_as=RestoredAs(ordered.restored_as),
                        replace=ordered.replace,
                    )
                )
            case MachineRunFromPoint() if point is not None:
                order = _order_of(ordered, point)
                self.guests[order.id] = InstantGuest(
                    self._sim,
                    ordered.order,
                    restorer.contents(point),
                    lasts=Duration(ordered.lasts),
                    more_room=ByteCount(1 << 40),
                )
                self._rooms[order.id] = ByteCount(ordered.room)
                self._take(order)
            case ItemsTaken() if point is not None:
                self.items_ordered.append(ordered)
                self._items_open[ordered.order] = point
                self._take_items()
            case PointMounted() if point is not None and self._engine is not None:
                if self._engine.node.running:
                    self._spawn(
                        self._engine, self._look(self._engine, point, ordered), ordered.mount
                    )

    def replicate(self, store: BlobStore, /) -> None:
        """Have the engine bring points to a second repository, one job at a time."""
        engine = self._engine
        if engine is None or not engine.node.running:
            return
        last = self._replication
        if last is not None and not last.done and last.node.running:
            return

        async def reach() -> Repository:
            try:
                return await Repository.open(store)
            except RepositoryAbsentError:
                return await Repository.create(
                    store,
                    identity_token=self._sim.stream("replica").token(),
                    block_size=engine.ports.repository.block_size,
                )

        work = replicate(engine.ports, engine.policy, reach)
        self._replication = self._spawn(engine, work, "replica")

    def _take(self, order: RestoreOrder) -> None:
        """Have the engine do what is ordered: now, or as soon as it is back."""
        self.given[order.id] = self._open[order.id] = order
        if self._engine is not None and self._engine.node.running:
            self._restore(self._engine, order)

    def _restore(self, engine: Engine, order: RestoreOrder) -> None:
        guest = self.guests.get(order.id)
        work: Coroutine[Any, Any, object]
        if guest is None:
            work = restore_machine(engine.ports, self._host, engine.policy, order)
        else:
            room = self._rooms[order.id]
            work = run_from_point(
                engine.ports,
                self._host,
                engine.policy,
                order,
                lambda disks: guest.run(disks, engine.ports.runtime),
                room=room,
            )
        self._spawn(engine, work, order.id)

    def _spawn(self, engine: Engine, work: Coroutine[Any, Any, object], name: str) -> SimTask:
        task = self._sim.spawn(work, name=f"order/{name}", node=engine.node)
        self._tasks.append(task)
        return task

    def _take_items(self) -> None:
        """Have the engine take out what was ordered: now, or as soon as it is back."""
        engine = self._engine
        if engine is not None and engine.node.running:
            for order, point in self._items_open.items():
                self._spawn(engine, self._take_out(engine, order, point), order)

    async def _take_out(self, engine: Engine, order: str, point: RecoveryPointId) -> None:
        volumes: tuple[TakenVolume, ...] = ()
        unreadable = ""
        try:
            volumes = await take_items(engine.ports, engine.policy, point, order)
        except TwinshotError as failure:
            unreadable = str(failure)
        self.items_taken[order] = TakenItems(point=point, volumes=volumes, unreadable=unreadable)
        self._items_open.pop(order, None)

    async def _look(self, engine: Engine, point: RecoveryPointId, mount: PointMounted) -> None:
        """Read the whole point again and again, for as long as somebody looks into it."""
        repository, pause = engine.ports.repository, Duration(mount.lasts // _LOOKS)
        try:
            async with leased(engine.ports, engine.policy, point, f"mount {mount.mount}"):
                for _ in range(_LOOKS):
                    await engine.ports.runtime.sleep(pause)
                    # Whoever opens one more file asks the repository anew.
                    self._note(point, mount, await _prints(await repository.reader(point)))
        except TransientError:
            pass  # nobody can look now; that says nothing about the point
        except TwinshotError as failure:
            self._note(point, mount, {}, unreadable=str(failure))

    def _note(
        self,
        point: RecoveryPointId,
        mount: PointMounted,
        prints: dict[DiskId, str],
        *,
        unreadable: str = "",
    ) -> None:
        self.looks.append(
            LaterRestore(
                point=point,
                target=f"the mount {mount.mount}",
                fingerprints=prints,
                unreadable=unreadable,
            )
        )


def _order_of(
    ordered: MachineRestored | MachineRunFromPoint, point: RecoveryPointId | None
) -> RestoreOrder:
    return RestoreOrder(
        id=OrderId(ordered.order),
        machine=MachineId(ordered.machine),
        point=point,
        node=NodeName(ordered.target),
        volume=VolumeName(ordered.volume),
    )


async def _prints(reader: PointReader) -> dict[DiskId, str]:
    """Return the fingerprints of a point's disks, as they are read now."""
    prints: dict[DiskId, str] = {}
    for disk in reader.disks:
        size = reader.size(disk)
        content = await reader.read(disk, ExtentSet.whole(size))
        prints[disk] = fingerprint(size, lambda start, end, of=content: of[start:end])  # type: ignore[misc]
    return prints


def last_order(happenings: tuple[object, ...], duration: Instant, /) -> Instant:
    """Return until when orders may come: the scenario's end where there are any."""
    kinds = Ordered | ReplicaConnected
    orders = any(isinstance(each, kinds) for each in happenings)
    return duration if orders else Instant(0)
