"""The `MachineImport` port over the world."""

from typing import Any, Final

from reference_engine.model.errors import OperationFailedError
from reference_engine.model.identity import MachineId, NodeName, OrderId, VolumeName
from reference_engine.model.machine import Machine
from reference_engine.model.units import ByteCount
from reference_engine.ports.machine_import import HostInventory, PreparedFile
from simulator.facade.door import Address
from simulator.world.cluster import World
from simulator.world.imports import Imports

_PATH_LONGEST: Final = 259
_BY_ORDER: Final = ("prepare", "realize", "discard")


class MachineImportFacade:
    """Answers as hosts do to whom machines come; a fault names the order that it disturbs."""

    def __init__(self, world: World, /) -> None:
        self._world = world
        self.imports = Imports(world)

    def address(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Address:
        """Files are reached through the host that they were prepared on."""
        if operation in {"present", "realized"}:
            return Address(subject=str(args[0]), node=None)
        if operation in _BY_ORDER:
            return Address(subject=kwargs["order"], node=args[0])
        if operation == "inventory":
            return Address(subject=args[0], node=args[0])
        return Address(subject=str(args[1]).split("/", maxsplit=1)[0], node=args[0])

    async def inventory(self, node: NodeName, /) -> HostInventory:
        """Return what the host has."""
        return HostInventory(
            switches=self._world.switches.get(node, ()),
            folder=self._world.folders.get(node, ""),
            path_longest=_PATH_LONGEST,
        )

    async def present(self, machine: MachineId, /) -> tuple[NodeName, ...]:
        """Return the hosts that have a machine of this identity."""
        if not self._world.quorate:
            raise OperationFailedError("present", "the cluster has lost its quorum")
        return self.imports.present(machine)

    async def realized(self, order: OrderId, /) -> Machine | None:
        """Return the machine that was made for this order."""
        return self.imports.realized.get(order)

    async def prepare(
        self, node: NodeName, /, *, order: OrderId, path: str, volume: VolumeName, size: ByteCount
    ) -> PreparedFile:
        """Have a file there for the order."""
        handle, fresh = self.imports.prepare(node, order, path, volume, size)
        return PreparedFile(handle=handle, fresh=fresh)

    async def read(
        self, node: NodeName, handle: str, /, *, offset: ByteCount, length: ByteCount
    ) -> bytes:
        """Return bytes of a file, once they have come over its volume."""
        await self._transfer(node, handle, length)
        return self.imports.file(handle).content[offset : offset + length].tobytes()

    async def write(
        self, node: NodeName, handle: str, /, *, offset: ByteCount, content: bytes
    ) -> None:
        """Put bytes into a file, at the speed of its volume."""
        await self._transfer(node, handle, ByteCount(len(content)))
        self.imports.write(handle, offset, content)

    async def _transfer(self, node: NodeName, handle: str, amount: ByteCount) -> None:
        volume = self._world.volumes[self.imports.file(handle).volume]
        redirected = volume.redirected and volume.coordinator != node
        await volume.transfer(amount, redirected=redirected)

    async def flush(self, node: NodeName, handle: str, /) -> None:  # noqa: ARG002 - the door went to the node
        """Make a file durable."""
        await self._world.volumes[self.imports.file(handle).volume].ready()
        self.imports.flush(handle)

    async def realize(
        self,
        node: NodeName,
        /,
        *,
        order: OrderId,
        machine: Machine,
        handles: tuple[str, ...],
        replace: bool,
    ) -> None:
        """Make the machine, and let the cluster start it."""
        self.imports.realize(node, order, machine, handles, replace=replace)

    async def discard(self, node: NodeName, /, *, order: OrderId) -> None:  # noqa: ARG002 - as above
        """Remove the order's files."""
        self.imports.discard(order)
