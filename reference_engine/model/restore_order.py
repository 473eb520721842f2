"""What an administrator asks for when a machine is to be restored onto a host."""

import enum

import msgspec

from reference_engine.model.identity import (
    MachineId,
    NodeName,
    OrderId,
    RecoveryPointId,
    VolumeName,
)


class RestoredAs(enum.StrEnum):
    """Who the restored machine is."""

    NEW = "new"
    """A machine of its own beside the original: new identity, new disks, new addresses."""

    ORIGINAL = "original"
    """The machine itself again."""


class RestoreOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One machine, one of its points, and where it should run; it may be given again."""

    id: OrderId
    machine: MachineId
    point: RecoveryPointId | None = None
    """None: the newest one."""

    node: NodeName
    volume: VolumeName
    restored_as: RestoredAs = RestoredAs.NEW
    replace: bool = False
    """Confirmed: a machine of this identity that is there is turned off and replaced."""
