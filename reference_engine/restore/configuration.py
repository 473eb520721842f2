"""The configuration under which a restored machine comes back, and what of it is another one."""

from typing import Final, NamedTuple

from blake3 import blake3
from msgspec.structs import replace

from reference_engine.model.errors import PathTooLongError
from reference_engine.model.identity import DiskId, MachineId
from reference_engine.model.machine import Machine, NetworkAdapter
from reference_engine.model.restore_order import RestoredAs, RestoreOrder
from reference_engine.ports.machine_import import HostInventory

_LOCAL: Final = "02"
"""The first byte of addresses that somebody chose himself. Source: IEEE 802."""


class Arrival(NamedTuple):
    """A machine as it comes back."""

    machine: Machine
    paths: tuple[str, ...]
    """Of its disks, in order."""

    rewritten: tuple[str, ...]
    """Which fields are not as they were captured, for people: `field: old -> new`."""


def arrival(captured: Machine, order: RestoreOrder, inventory: HostInventory, /) -> Arrival:
    """Return how the machine of a point comes back: the same whenever the order is carried out.

    Raises:
        PathTooLongError: no path for a disk is short enough on that host.
    """
    token = blake3(f"{order.id}/{order.machine}".encode()).hexdigest(length=16)
    rewritten: list[str] = []

    def note(field: str, old: str, new: str) -> str:
        if old != new:
            rewritten.append(f"{field}: {old} -> {new}")
        return new

    new = order.restored_as is RestoredAs.NEW
    identity = MachineId(f"{captured.id}-{token[:8]}") if new else captured.id
    disks = tuple(
        replace(
            disk,
            id=DiskId(note("disk", disk.id, f"{identity}-disk{number}" if new else disk.id)),
            volume=note("volume", disk.volume, order.volume),
            lineage="",
        )
        for number, disk in enumerate(captured.disks)
    )
    adapters = tuple(
        NetworkAdapter(
            switch=note(
                "switch",
                adapter.switch,
                adapter.switch if adapter.switch in inventory.switches else "",
            ),
            address=note(
                "address",
                adapter.address,
                f"{_LOCAL}{token[8:16]}{number:02x}" if new else adapter.address,
            ),
        )
        for number, adapter in enumerate(captured.adapters)
    )
    note("identity", captured.id, identity)
    machine = replace(captured, id=identity, disks=disks, adapters=adapters)
    paths = tuple(
        _path(inventory, machine, number, token=token) for number in range(len(machine.disks))
    )
    return Arrival(machine=machine, paths=paths, rewritten=tuple(rewritten))


def _path(inventory: HostInventory, machine: Machine, number: int, /, *, token: str) -> str:
    """Return where a disk goes: under the machine's name, or a short one where that is too long."""
    telling = f"{inventory.folder}\\{machine.name}\\{machine.disks[number].id}.vhdx"
    short = f"{inventory.folder}\\{token[:8]}\\{number}.vhdx"
    for path in (telling, short):
        if len(path) <= inventory.path_longest:
            return path
    raise PathTooLongError(short, inventory.path_longest)
