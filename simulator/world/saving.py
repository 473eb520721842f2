"""Saved machines: they stand still on a volume, and go on where a node has memory for them."""

from typing import Final

from reference_engine.model.errors import NotOwnerError, OperationFailedError
from reference_engine.model.identity import NodeName, RunTag
from reference_engine.model.units import MILLISECOND, SECOND, Duration
from reference_engine.trace.cluster import MachinePlaced, MachineSaved
from simulator.world.cluster import World
from simulator.world.machine import SavedState, SimMachine

_SAVING: Final = (2 * SECOND, 8 * SECOND)
_RESUMING: Final = (500 * MILLISECOND, 3 * SECOND)


async def save(world: World, machine: SimMachine, node: NodeName, /, *, run: RunTag) -> None:
    """Write the machine's memory to its volume and stop it.

    Raises:
        NotOwnerError: it runs elsewhere.
        OperationFailedError: it does not run, or whoever asked has withdrawn the wish.
    """
    session = world.session
    if machine.node != node:
        raise NotOwnerError(machine.id, node)
    chance = world.sim.stream("save", machine.id, run.epoch)
    await world.sim.sleep(Duration(chance.between(*_SAVING)))
    if machine.node != node or machine.migrating or machine.blackout:
        raise NotOwnerError(machine.id, node)
    if run.epoch <= machine.saves_withdrawn or session != world.session:
        raise OperationFailedError("save", "the backup session was aborted")
    machine.advance()
    machine.canary()
    machine.guest.go_on("saved")
    machine.node = None
    now = world.sim.now()
    machine.saved = SavedState(run, now, session=session)
    world.emit(MachineSaved(at=now, machine=machine.id, node=node, run=run))
    world.emit(MachinePlaced(at=now, machine=machine.id, node=None, why="saved for a backup"))


async def resume(world: World, machine: SimMachine, node: NodeName, /, *, run: RunTag) -> bool:
    """Have a machine that was saved up to this run go on, on this node; return whether it was.

    Raises:
        OperationFailedError: the node lacks memory, or the cluster its quorum, or it is deleted.
    """
    machine.saves_withdrawn = max(machine.saves_withdrawn, run.epoch)
    if machine.deleted:
        raise OperationFailedError("resume", "the machine is deleted")
    saved = machine.saved
    if saved is None or saved.run.epoch > run.epoch:
        return False
    if node in world.full or not world.quorate:
        reason = f"{node} lacks memory" if node in world.full else "the cluster has lost its quorum"
        raise OperationFailedError("resume", reason)
    chance = world.sim.stream("resume", machine.id, run.epoch)
    await world.sim.sleep(Duration(chance.between(*_RESUMING)))
    if machine.deleted:
        raise OperationFailedError("resume", "the machine was deleted")
    if machine.saved is not saved:
        return False
    machine.saved = None
    machine.skip()
    # Its clock stood still as well; some guests are told the time afterwards, some are not.
    world.guest_clocks[machine.id].jump(Duration(saved.since - world.sim.now()))
    world.place(machine, node, why="resumed")
    machine.canary()
    return True
