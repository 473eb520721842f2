"""Which node runs the machine: the cluster's claim, and the node's own word."""

from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import MachineBusyError, NotOwnerError
from reference_engine.model.identity import MachineId
from reference_engine.model.machine import Placement


async def resolve_owner(ports: Ports, policy: Policy, machine: MachineId, /) -> Placement:
    """Return where the machine runs, settled and confirmed by the node itself.

    Raises:
        MachineBusyError: it did not settle within the policy's limit; come back later.
        NotOwnerError: the cluster's view is behind; start over.
    """
    began = ports.runtime.now()
    placement = await ports.cluster.locate(machine)
    while not placement.settled:
        if ports.runtime.now() - began >= policy.settle_limit:
            raise MachineBusyError(machine, "migrating or failing over")
        await ports.runtime.sleep(policy.poll)
        placement = await ports.cluster.locate(machine)
    if not await ports.host.confirms(placement.owner, machine):
        raise NotOwnerError(machine, placement.owner)
    return placement


async def confirm_unmoved(ports: Ports, placement: Placement, /) -> None:
    """Return if the machine has stayed where it was, without a move there and back.

    Raises:
        NotOwnerError: it has moved; writes may have escaped the snapshot or its trackers.
    """
    now = await ports.cluster.locate(placement.machine)
    if (now.owner, now.generation) != (placement.owner, placement.generation):
        raise NotOwnerError(placement.machine, placement.owner)
    if not await ports.host.confirms(placement.owner, placement.machine):
        raise NotOwnerError(placement.machine, placement.owner)
