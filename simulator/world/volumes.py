"""What happens to volumes: pauses, slowness, lost redirection, other products, new coordinators."""

from reference_engine.model.identity import NodeName
from reference_engine.model.units import SECOND, ByteCount, Duration
from reference_engine.trace.cluster import RedirectionChanged
from simulator.world.cluster import World
from simulator.world.machine import SimMachine
from simulator.world.volume import SimVolume


def _users(world: World, volume: SimVolume) -> list[SimMachine]:
    return [
        machine
        for machine in world.machines.values()
        if any(disk.volume == volume.name for disk in machine.disks)
    ]


async def move_coordinator(world: World, volume: SimVolume, target: NodeName, /) -> None:
    """Have another node coordinate the volume; where that takes long, nothing is cut meanwhile."""
    longest = world.move_time[1]
    if longest > 10 * SECOND:
        volume.moving = True
        await world.sim.sleep(longest)
        volume.moving = False
    if world.member(target):
        world.set_coordinator(volume, target, why="balancer")


async def pause(world: World, volume: SimVolume, /, *, lasts: Duration) -> None:
    """Stop every read and write of the volume for a while."""
    if volume.gate.closed:
        return
    users = _users(world, volume)
    for machine in users:
        machine.advance()
        machine.stalled.add(volume.name)
    volume.gate.close()
    await world.sim.sleep(lasts)
    for machine in users:
        machine.stalled.discard(volume.name)
        machine.canary()
    volume.gate.open()


async def slow_down(world: World, volume: SimVolume, /, *, percent: int, lasts: Duration) -> None:
    """Leave the volume a share of its speed for a while."""
    links = (volume.disk, volume.network)
    rates = [link.rate for link in links]
    for link in links:
        link.change_rate(ByteCount(max(1, link.rate * percent // 100)))
    await world.sim.sleep(lasts)
    for link, rate in zip(links, rates, strict=True):
        link.change_rate(rate)


def drop_redirection(world: World, volume: SimVolume, /) -> None:
    """Let nodes write directly again although a snapshot may rely on the opposite."""
    if not volume.redirected:
        return
    volume.redirected = False
    volume.redirections += 1
    now = world.sim.now()
    world.emit(RedirectionChanged(at=now, volume=volume.name, redirected=False))
    for machine in _users(world, volume):
        # A hold stops only what passes the node that holds.
        past = [holder for holder in sorted(machine.holders) if holder != machine.node]
        machine.holders.difference_update(past)
        machine.canary()


async def foreign_snapshot(world: World, volume: SimVolume, /, *, lasts: Duration) -> None:
    """Have another backup product keep the volume busy for a while."""
    volume.foreign = True
    await world.sim.sleep(lasts)
    volume.foreign = False
