"""A restore onto a host: one order, in as many attempts as the policy allows, whole or not at all.

The disks are written into files that are nobody's, read back and compared with the point, and only
then a machine is made of them. A later attempt, or another life of the engine, goes on where the
order's files are; where the order comes to nothing, no file of it stays.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from reference_engine.jobs.insisting import insist
from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import (
    ConsistencyLostError,
    CorruptionError,
    MachinePresentError,
    RefusedError,
    TransientError,
    TwinshotError,
)
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.outcome import Outcome
from reference_engine.model.restore_order import RestoredAs, RestoreOrder
from reference_engine.model.units import HOUR, Duration
from reference_engine.ports.machine_import import MachineImport
from reference_engine.repository.errors import PointUnknownError
from reference_engine.repository.reader import PointReader
from reference_engine.restore.configuration import Arrival, arrival
from reference_engine.restore.onto_host import verify_disk, write_disk
from reference_engine.trace.engine import DiskRestored, RestoreBegan, RestoreEnded

_DISCARDED_WITHIN: Final = Duration(4 * HOUR)
"""How long files of an order that came to nothing are tried to be removed."""


@asynccontextmanager
async def leased(
    ports: Ports, policy: Policy, point: RecoveryPointId, holder: str, /
) -> AsyncIterator[PointReader]:
    """Enter with a reader of a point that does not expire until the context is left.

    Raises:
        PointUnknownError: it was never committed, or it has expired.
        CorruptionError: its manifest is damaged.
    """
    repository, deadline = ports.repository, ports.runtime.deadline
    async with deadline(policy.step_limit):
        await repository.leases.take(point, holder, at=ports.wall_clock())
    try:
        async with deadline(policy.step_limit):
            reader = await repository.reader(point)
        yield reader
    finally:
        with suppress(TwinshotError):  # it ends once its silence has lasted long enough
            async with deadline(policy.step_limit):
                await repository.leases.end(holder)


async def restore_machine(
    ports: Ports, host: MachineImport, policy: Policy, order: RestoreOrder, /
) -> Outcome:
    """Have the machine of a point run where the order says, or leave nothing behind.

    Giving the same order again after the engine's end goes on with it; where it is done already,
    nothing is done once more.
    """
    restore = _Restore(ports, host, policy, order)
    return await carry_out(
        ports,
        host,
        policy,
        order,
        restore.run,
        refused=lambda: Outcome.FAIL_CLEAN if restore.prepared else Outcome.REFUSED,
    )


async def carry_out(
    ports: Ports,
    host: MachineImport,
    policy: Policy,
    order: RestoreOrder,
    attempt: Callable[[], Awaitable[Arrival | None]],
    /,
    *,
    refused: Callable[[], Outcome] = lambda: Outcome.FAIL_CLEAN,
) -> Outcome:
    """Attempt the order until it is done or given up; return how it ended, and say so.

    `attempt` returns how the machine came back, None where it had come back before; `refused` tells
    what a refusal comes to.
    """
    outcome, cause = Outcome.FAIL_CLEAN, ""
    for number in range(1, policy.attempts + 1):
        try:
            arrived = await attempt()
        except RefusedError as refusal:
            outcome, cause = refused(), str(refusal)
            break
        except CorruptionError as damage:
            cause = str(damage)
            break
        except (TransientError, ConsistencyLostError) as failure:
            cause = str(failure)
        else:
            done = Outcome.OK if number == 1 else Outcome.RETRY_OK
            return _end_order(ports, order, done, cause=cause, arrived=arrived)
        if number < policy.attempts:
            await ports.runtime.sleep(Duration(policy.retry_delay << (number - 1)))
    return await _give_up(ports, host, policy, order, outcome=outcome, cause=cause)


class _Restore:
    """The attempts of one order."""

    def __init__(
        self, ports: Ports, host: MachineImport, policy: Policy, order: RestoreOrder, /
    ) -> None:
        self._ports, self._host, self._policy, self._order = ports, host, policy, order
        self.prepared = False
        """Whether the newest attempt did anything to a host."""

    async def run(self) -> Arrival | None:
        """Return how the machine came back; None: it had come back before."""
        ports, host, order, policy = self._ports, self._host, self._order, self._policy
        self.prepared = False
        async with ports.runtime.deadline(policy.step_limit):
            if await host.realized(order.id) is not None:
                return None
            await self._check_absent()
            point = order.point or await self._newest()
        async with leased(ports, policy, point, f"restore {order.id}") as reader:
            async with ports.runtime.deadline(policy.step_limit):
                inventory = await host.inventory(order.node)
            arrived = arrival(reader.point.machine, order, inventory)
            ports.tracer(RestoreBegan(at=ports.runtime.now(), order=order, point=point))
            async with ports.runtime.deadline(policy.copy_limit):
                handles = [
                    await self._restore_disk(reader, arrived, number, path)
                    for number, path in enumerate(arrived.paths)
                ]
            async with ports.runtime.deadline(policy.step_limit):
                await host.realize(
                    order.node,
                    order=order.id,
                    machine=arrived.machine,
                    handles=tuple(handles),
                    replace=order.replace,
                )
        return arrived

    async def _check_absent(self) -> None:
        order = self._order
        if order.restored_as is RestoredAs.NEW or order.replace:
            return
        nodes = await self._host.present(order.machine)
        if nodes:
            raise MachinePresentError(order.machine, ", ".join(nodes))

    async def _newest(self) -> RecoveryPointId:
        newest = await self._ports.repository.latest(self._order.machine)
        if newest is None:
            raise PointUnknownError(RecoveryPointId(f"of {self._order.machine}"))
        return newest.id

    async def _restore_disk(
        self, reader: PointReader, arrived: Arrival, number: int, path: str
    ) -> str:
        ports, host, order = self._ports, self._host, self._order
        source, disk = reader.point.machine.disks[number], arrived.machine.disks[number]
        self.prepared = True
        file = await host.prepare(
            order.node, order=order.id, path=path, volume=disk.volume, size=reader.size(source.id)
        )
        written = await write_disk(reader, source.id, host, node=order.node, file=file)
        await verify_disk(reader, source.id, host, node=order.node, file=file)
        ports.tracer(
            DiskRestored(
                at=ports.runtime.now(),
                order=order.id,
                disk=source.id,
                bytes_written=written,
                resumed=not file.fresh,
            )
        )
        return file.handle


async def _give_up(
    ports: Ports,
    host: MachineImport,
    policy: Policy,
    order: RestoreOrder,
    /,
    *,
    outcome: Outcome,
    cause: str,
) -> Outcome:
    """Remove what there is of the order, say how it ended, and return that."""
    if outcome is not Outcome.REFUSED:
        await insist(
            ports,
            policy,
            lambda: host.discard(order.node, order=order.id),
            within=_DISCARDED_WITHIN,
        )
        if await _is_there(ports, host, policy, order):
            return _end_order(ports, order, Outcome.RETRY_OK, cause=cause, arrived=None)
    return _end_order(ports, order, outcome, cause=cause, arrived=None)


async def _is_there(ports: Ports, host: MachineImport, policy: Policy, order: RestoreOrder) -> bool:
    """Return whether the machine was made after all, by a call whose answer was lost."""
    with suppress(TwinshotError):
        async with ports.runtime.deadline(policy.step_limit):
            return await host.realized(order.id) is not None
    return False


def _end_order(
    ports: Ports, order: RestoreOrder, outcome: Outcome, *, cause: str, arrived: Arrival | None
) -> Outcome:
    """Say how an order ended, and return that."""
    ports.tracer(
        RestoreEnded(
            at=ports.runtime.now(),
            order=order.id,
            outcome=outcome,
            cause=cause,
            machine=None if arrived is None else arrived.machine,
            rewritten=() if arrived is None else arrived.rewritten,
        )
    )
    return outcome
