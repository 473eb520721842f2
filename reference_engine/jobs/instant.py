"""Instant recovery: a machine runs from its point, and is made a machine of its own afterwards."""

from collections.abc import Awaitable, Callable

from reference_engine.jobs.restoring import carry_out, leased
from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import (
    RestoreDiffersError,
)
from reference_engine.model.outcome import Outcome
from reference_engine.model.restore_order import RestoreOrder
from reference_engine.model.units import ByteCount
from reference_engine.ports.machine_import import MachineImport
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
    return await carry_out(
        ports,
        host,
        policy,
        order,
        lambda: _attempt(ports, host, policy, order, runs, room=room),
    )


async def _attempt(
    ports: Ports,
    host: MachineImport,
    policy: Policy,
    order: RestoreOrder,
    runs: Runs,
    /,
    *,
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
        ports.tracer(RestoreBegan(at=ports.runtime.now(), order=order, point=order.point))
        async with ports.runtime.deadline(policy.step_limit):
            disks = tuple(
                [
                    await InstantDisk.open(
                        reader,
                        source.id,
                        host,
                        node=order.node,
                        order=order.id,
                        path=path,
                        volume=order.volume,
                        room=room,
                    )
                    for source, path in zip(reader.point.machine.disks, arrived.paths, strict=True)
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
