"""Who is who, where several hosts claim to have the machine: identity, never the name, decides."""

from reference_engine.jobs.surroundings import Ports
from reference_engine.model.errors import HostUnreachableError, IdentityDoubtError, NotOwnerError
from reference_engine.model.identity import NodeName
from reference_engine.model.machine import Machine, Placement
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.trace.engine import MachineQuarantined


async def choose_claimant(
    ports: Ports, placement: Placement, /, *, base: RecoveryPoint | None
) -> NodeName:
    """Return the node whose machine goes on with the chain; the others are put under quarantine.

    Raises:
        IdentityDoubtError: none does, or several do: a person has to decide.
    """
    if not placement.others:
        return placement.owner
    goes_on: list[NodeName] = []
    newcomers: list[NodeName] = []
    for node in sorted({placement.owner, *placement.others}):
        try:
            claimed = await ports.host.describe(node, placement.machine)
        except (HostUnreachableError, NotOwnerError):
            continue  # whoever does not answer for it claims nothing
        (goes_on if base is not None and continues(claimed, base) else newcomers).append(node)
    if len(goes_on) != 1:
        raise IdentityDoubtError(placement.machine, ", ".join((*goes_on, *newcomers)))
    ports.tracer(
        MachineQuarantined(
            at=ports.runtime.now(), machine=placement.machine, nodes=tuple(newcomers)
        )
    )
    return goes_on[0]


def continues(machine: Machine, base: RecoveryPoint, /) -> bool:
    """Return whether the machine has the disks of the point, and none that went another way."""
    before = {disk.id: disk.lineage for disk in base.machine.disks}
    shared = [disk for disk in machine.disks if disk.id in before]
    return bool(shared) and all(before[disk.id] == disk.lineage for disk in shared)
