"""Instant recovery: a machine runs from its point, and is made a machine of its own afterwards."""

from collections.abc import Awaitable, Callable

from reference_engine.jobs.restoring import end_order, give_up, leased
from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import (
    ConsistencyLostError,
    CorruptionError,
    RefusedError,
    RestoreDiffersError,
    TransientError,
)
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.outcome import Outcome
from reference_engine.model.restore_order import RestoreOrder
from reference_engine.model.units import ByteCount, Duration
from reference_engine.ports.machine_import import MachineImport
from reference_engine.repository.reader import PointReader
from reference_engine.restore.configuration import Arrival, arrival
from reference_engine.restore.instant import InstantDisk
from reference_engine.trace.engine import RestoreBegan

Runs = Callable[[tuple[InstantDisk, ...]], Awaitable[None]]
"""Has the machine run on these disks, and returns once it has stopped to be moved.

How long it waits for an answer of its disks is its own affair.
"""


async def run_from_point(
    ports: Ports,
    host: MachineImport,
    policy: Policy,
    order: RestoreOrder,
    runs: Runs,
    /,
    *,
    room: ByteCount,
) -> Outcome:
    """Have the machine run from the order's point, and then from disks of its own.

    Given again after the engine's end, it goes on with what the machine had written.
    """
    cause = ""
    for attempt in range(1, policy.attempts + 1):
        try:
            arrived = await _run(ports, host, policy, order, runs, room)
        except (RefusedError, CorruptionError) as refusal:
            cause = str(refusal)
            break
        except (TransientError, ConsistencyLostError) as failure:
            cause = str(failure)
        else:
            outcome = Outcome.OK if attempt == 1 else Outcome.RETRY_OK
            return end_order(ports, order, outcome, cause=cause, arrived=arrived)
        if attempt < policy.attempts:
            await ports.runtime.sleep(Duration(policy.retry_delay << (attempt - 1)))
    return await give_up(ports, host, policy, order, outcome=Outcome.FAIL_CLEAN, cause=cause)


async def _run(  # noqa: PLR0917 - as above
    ports: Ports,
    host: MachineImport,
    policy: Policy,
    order: RestoreOrder,
    runs: Runs,
    room: ByteCount,
) -> Arrival | None:
    async with ports.runtime.deadline(policy.step_limit):
        if await host.realized(order.id) is not None:
            return None
    assert order.point is not None, order.id
    async with leased(ports, policy, order.point, f"instant recovery {order.id}") as reader:
        async with ports.runtime.deadline(policy.step_limit):
            inventory = await host.inventory(order.node)
        arrived = arrival(reader.point.machine, order, inventory)
        ports.tracer(
            RestoreBegan(
                at=ports.runtime.now(), order=order, point=RecoveryPointId(reader.point.id)
            )
        )
        async with ports.runtime.deadline(policy.step_limit):
            disks = tuple(
                [
                    await _open(reader, host, order, arrived, number, room)
                    for number in range(len(arrived.paths))
                ]
            )
        await runs(disks)
        async with ports.runtime.deadline(policy.copy_limit):
            for disk in disks:
                await disk.fill()
                wrong = await disk.differing()
                if wrong:
                    raise RestoreDiffersError(disk.disk, wrong.total)
        async with ports.runtime.deadline(policy.step_limit):
            await host.realize(
                order.node,
                order=order.id,
                machine=arrived.machine,
                handles=tuple(disk.handle for disk in disks),
                replace=order.replace,
            )
    return arrived


async def _open(  # noqa: PLR0917 - as above
    reader: PointReader,
    host: MachineImport,
    order: RestoreOrder,
    arrived: Arrival,
    number: int,
    room: ByteCount,
) -> InstantDisk:
    return await InstantDisk.open(
        reader,
        reader.point.machine.disks[number].id,
        host,
        node=order.node,
        order=order.id,
        path=arrived.paths[number],
        volume=order.volume,
        room=room,
    )
