"""A restored machine's configuration is what was captured, and what is not is named."""

import pytest
from msgspec.structs import replace

from reference_engine.model.errors import PathTooLongError
from reference_engine.model.identity import DiskId, MachineId, NodeName, OrderId, VolumeName
from reference_engine.model.machine import (
    BackEnd,
    GuestKind,
    Machine,
    NetworkAdapter,
    VirtualDisk,
)
from reference_engine.model.restore_order import RestoredAs, RestoreOrder
from reference_engine.model.units import ByteCount
from reference_engine.ports.machine_import import HostInventory
from reference_engine.restore.configuration import arrival

CAPTURED = Machine(
    id=MachineId("x"),
    name="books",
    guest=GuestKind.VSS,
    back_end=BackEnd.HOST_SNAPSHOT,
    disks=tuple(
        VirtualDisk(id=DiskId(f"x-disk{n}"), size=ByteCount(512), volume=VolumeName("V1"))
        for n in range(2)
    ),
    adapters=(NetworkAdapter(switch="lan", address="00155d000001"),),
)
HOST = HostInventory(switches=("lan",), folder="C:\\VMs", path_longest=259)
AS_NEW = RestoreOrder(
    id=OrderId("r1"), machine=MachineId("x"), node=NodeName("B"), volume=VolumeName("V2")
)
IN_PLACE = replace(AS_NEW, restored_as=RestoredAs.ORIGINAL, volume=VolumeName("V1"))


def test_the_original_comes_back_as_it_was() -> None:
    """On a host with the same switch and volume nothing is rewritten."""
    arrived = arrival(CAPTURED, IN_PLACE, HOST)

    assert arrived.machine == CAPTURED
    assert arrived.rewritten == ()
    assert arrived.paths == ("C:\\VMs\\books\\x-disk0.vhdx", "C:\\VMs\\books\\x-disk1.vhdx")


def test_a_new_machine_shares_nothing_with_its_original() -> None:
    """Identity, disks and addresses are its own, locally administered; each change is told."""
    arrived = arrival(CAPTURED, AS_NEW, HOST)

    machine = arrived.machine
    assert machine.id != CAPTURED.id
    assert {disk.id for disk in machine.disks}.isdisjoint(disk.id for disk in CAPTURED.disks)
    [adapter] = machine.adapters
    assert adapter.switch == "lan"
    assert adapter.address != CAPTURED.adapters[0].address
    assert int(adapter.address[:2], 16) & 0b11 == 0b10
    fields = {each.partition(":")[0] for each in arrived.rewritten}
    assert fields == {"identity", "disk", "volume", "address"}


def test_the_same_order_always_comes_to_the_same_machine() -> None:
    """A restore that goes on after the engine's end finds its files; another order's are others."""
    once, again = arrival(CAPTURED, AS_NEW, HOST), arrival(CAPTURED, AS_NEW, HOST)
    other = arrival(CAPTURED, replace(AS_NEW, id=OrderId("r2")), HOST)

    assert once == again
    assert other.machine.id != once.machine.id
    assert set(other.paths).isdisjoint(once.paths)


def test_a_switch_that_the_host_lacks_leaves_the_adapter_unconnected() -> None:
    """It is connected to nothing rather than to something else."""
    arrived = arrival(CAPTURED, IN_PLACE, replace(HOST, switches=("other",)))

    assert arrived.machine.adapters == (replace(CAPTURED.adapters[0], switch=""),)
    assert arrived.rewritten == ("switch: lan -> ",)


def test_a_short_path_is_taken_where_the_telling_one_is_too_long() -> None:
    """One character decides; where not even the short one fits, the order is refused."""
    telling = len("C:\\VMs\\books\\x-disk0.vhdx")

    fits = arrival(CAPTURED, IN_PLACE, replace(HOST, path_longest=telling))
    short = arrival(CAPTURED, IN_PLACE, replace(HOST, path_longest=telling - 1))

    assert all("books" in path for path in fits.paths)
    assert not any("books" in path for path in short.paths)
    assert len(set(short.paths)) == 2
    with pytest.raises(PathTooLongError, match="characters"):
        arrival(CAPTURED, IN_PLACE, replace(HOST, path_longest=len(short.paths[0]) - 1))
