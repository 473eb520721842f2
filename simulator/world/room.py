"""Room on volumes: what snapshots and difference disks take, and what happens when it is gone."""

from reference_engine.model.machine import BackEnd
from reference_engine.model.units import SECOND, ByteCount, Duration
from reference_engine.trace.cluster import MachinePaused, SnapshotReleased
from simulator.world.cluster import World
from simulator.world.snapshots import SimSnapshot
from simulator.world.volume import SimVolume


def free_of(world: World, volume: SimVolume, /) -> ByteCount | None:
    """Return what is left beside the snapshots; None where the volume has room without end."""
    if volume.room is None:
        return None
    taken = sum(_taken(kept, volume) for kept in _on(world, volume))
    return ByteCount(max(0, volume.room - taken))


def _on(world: World, volume: SimVolume) -> list[SimSnapshot]:
    return [
        kept
        for kept in world.snapshots.values()
        if kept.exists and volume.name in kept.volumes.values()
    ]


def _taken(kept: SimSnapshot, volume: SimVolume) -> int:
    """Return what was kept or diverted of every cell that was written since the cut."""
    kept.machine.advance()
    return sum(
        len(kept.machine.disk(disk).stamps.differs(image)) * kept.machine.disk(disk).cell
        for disk, image in kept.live.items()
        if kept.volumes[disk] == volume.name
    )


async def watch(world: World, volume: SimVolume, /) -> None:
    """Look every second; without room a shadow copy is dropped, and a difference disk stops VMs."""
    while True:
        await world.sim.sleep(Duration(SECOND))
        there = _on(world, volume)
        if there and free_of(world, volume) == 0:
            for kept in there:
                _out_of_room(world, volume, kept)


def _out_of_room(world: World, volume: SimVolume, kept: SimSnapshot) -> None:
    now, machine = world.sim.now(), kept.machine
    if machine.back_end is BackEnd.HOST_SNAPSHOT:
        kept.exists = False
        world.emit(
            SnapshotReleased(at=now, snapshot=kept.id, run=kept.run, why="the volume was full")
        )
    elif volume.name not in machine.stalled:
        machine.stalled.add(volume.name)
        world.emit(MachinePaused(at=now, machine=machine.id, volume=volume.name, run=kept.run))


async def fill(world: World, volume: SimVolume, amount: ByteCount, /, *, lasts: Duration) -> None:
    """Take room for something else for a while."""
    if volume.room is None:
        return
    taken = min(amount, volume.room)
    volume.room = ByteCount(volume.room - taken)
    await world.sim.sleep(lasts)
    volume.room = ByteCount(volume.room + taken)
