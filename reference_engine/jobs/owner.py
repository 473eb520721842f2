"""Which node runs the machine: the cluster's claim, and the node's own word."""

from contextlib import suppress

from msgspec.structs import replace

from reference_engine.jobs.claimants import choose_claimant, continues
from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import (
    HostUnreachableError,
    MachineBusyError,
    MachineChangedError,
    NotOwnerError,
)
from reference_engine.model.identity import MachineId
from reference_engine.model.machine import Machine, Placement
from reference_engine.model.recovery_point import RecoveryPoint


async def resolve_owner(
    ports: Ports, policy: Policy, machine: MachineId, /, *, base: RecoveryPoint | None
) -> Placement:
    """Return where the machine runs, settled and confirmed by the node itself.

    Raises:
        IdentityDoubtError: several have its identity, and it is open which one `base` is of.
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
    if placement.others:
        placement = replace(placement, owner=await choose_claimant(ports, placement, base=base))
    if not await ports.host.confirms(placement.owner, machine):
        raise NotOwnerError(machine, placement.owner)
    return placement


async def confirm_identity(
    ports: Ports, placement: Placement, machine: Machine, /, *, base: RecoveryPoint | None
) -> None:
    """Return if it goes on with the base, or no other node has a machine of this identity.

    A view that is behind may name the very host to which a copy was imported, and no other one:
    then the host has a machine of this identity, and it is not the one that is protected. Where all
    disks are another's, every node is asked.

    Raises:
        NotOwnerError: another node has it too; the cluster's view is behind, start over.
    """
    if base is None or placement.others or continues(machine, base):
        return
    for node in await ports.cluster.nodes():
        if node == placement.owner:
            continue
        # Whoever does not answer for it claims nothing.
        with suppress(HostUnreachableError):
            if await ports.host.confirms(node, machine.id):
                raise NotOwnerError(machine.id, placement.owner)


async def await_merge(ports: Ports, policy: Policy, machine: MachineId, /) -> None:
    """Return once no difference disk of the machine waits to be merged.

    Another checkpoint on top would make the chain longer with every run.

    Raises:
        MachineBusyError: it takes longer than the policy's limit; come back later.
    """
    began = ports.runtime.now()
    while not await ports.host.merged(machine):
        if ports.runtime.now() - began >= policy.settle_limit:
            raise MachineBusyError(machine, "merging a checkpoint")
        await ports.runtime.sleep(policy.poll)


async def confirm_unchanged(ports: Ports, placement: Placement, machine: Machine, /) -> None:
    """Return if the machine has the disks, where they lay, that the run began with.

    Raises:
        MachineChangedError: a disk was added, replaced or moved; start over.
        NotOwnerError: the machine has moved; start over.
    """
    now = await ports.host.describe(placement.owner, machine.id)
    for disk in now.disks:
        if disk not in machine.disks:
            raise MachineChangedError(machine.id, f"{disk.id} is not what it was")
    if len(now.disks) != len(machine.disks):
        raise MachineChangedError(machine.id, "a disk is gone")
    if now.owners != machine.owners:
        raise MachineChangedError(machine.id, "another machine owns its disks")
    if now.back_end is not machine.back_end:
        raise MachineChangedError(machine.id, f"its host is of another version ({now.back_end})")


async def confirm_unmoved(ports: Ports, placement: Placement, /) -> None:
    """Return if the machine has stayed where it was, without a move there and back.

    Raises:
        NotOwnerError: it has moved; writes may have escaped the snapshot or its trackers.
    """
    now = await ports.cluster.locate(placement.machine)
    claimants = (now.owner, *now.others)
    if placement.owner not in claimants or now.generation != placement.generation:
        raise NotOwnerError(placement.machine, placement.owner)
    if not await ports.host.confirms(placement.owner, placement.machine):
        raise NotOwnerError(placement.machine, placement.owner)
