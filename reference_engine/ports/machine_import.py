"""Making a machine of restored disks: files of an order, until a machine is made of them.

Nothing that is written here is anybody's disk before `realize`. Sources:
Msvm_VirtualSystemManagementService.ImportSystemDefinition and RealizePlannedSystem, which make a
planned system first, that can be looked at and put right, and a machine of it at last.
"""

from typing import Protocol

import msgspec

from reference_engine.model.identity import MachineId, NodeName, OrderId, VolumeName
from reference_engine.model.machine import Machine
from reference_engine.model.units import ByteCount


class HostInventory(msgspec.Struct, frozen=True, kw_only=True):
    """What a host has for machines that come to it."""

    switches: tuple[str, ...]
    folder: str
    """Where files of new machines go, without a separator at its end."""

    path_longest: int
    """How many characters a file's whole path may have. Source: Windows, MAX_PATH less the end."""


class PreparedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an order, as whoever prepared it last may use it."""

    handle: str
    """Worth nothing as soon as the file is prepared again: an engine that was taken for dead and
    lives cannot write into what another one has verified."""

    fresh: bool
    """Whether it is new, and thus all zero."""


class MachineImport(Protocol):
    """What a host can be asked for on behalf of an order."""

    async def inventory(self, node: NodeName, /) -> HostInventory:
        """Return what the host has."""

    async def present(self, machine: MachineId, /) -> tuple[NodeName, ...]:
        """Return the hosts that have a machine of this identity, running or not."""

    async def realized(self, order: OrderId, /) -> Machine | None:
        """Return the machine that was made for this order, if it was."""

    async def prepare(
        self, node: NodeName, /, *, order: OrderId, path: str, volume: VolumeName, size: ByteCount
    ) -> PreparedFile:
        """Have a file of `size` bytes there for the order, and nobody else write into it.

        What a file of the order holds that is there already is left: nobody knows what it is.

        Raises:
            VolumeFullError: the volume has no room for it.
        """

    async def read(
        self, node: NodeName, handle: str, /, *, offset: ByteCount, length: ByteCount
    ) -> bytes:
        """Return bytes of a file.

        Raises:
            OperationFailedError: the handle is worth nothing any more; prepare the file again.
        """

    async def write(
        self, node: NodeName, handle: str, /, *, offset: ByteCount, content: bytes
    ) -> None:
        """Put bytes into a file; durable only after `flush`.

        Raises:
            OperationFailedError: the handle is worth nothing any more; prepare the file again.
        """

    async def flush(self, node: NodeName, handle: str, /) -> None:
        """Return once everything that was written to the file survives a power cut."""

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
        """Make the machine, the files being its disks in order, and let the cluster start it.

        The files are the machine's from now on, and no order's. True also where it was made for
        this order before. With `replace`, a machine of the same identity is turned off and gone.

        Raises:
            MachinePresentError: there is a machine of this identity; nothing was changed.
            OperationFailedError: a handle is worth nothing any more; nothing was changed.
        """

    async def discard(self, node: NodeName, /, *, order: OrderId) -> None:
        """Remove the order's files; a machine that was made of them keeps its own."""
