"""What a check found: objects that are not as they were written, and what points lose by it."""

import enum

import msgspec

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, MachineId, RecoveryPointId


class Problem(enum.StrEnum):
    """What is wrong with one object."""

    DAMAGED = "damaged"
    """It is not what was written."""

    MISSING = "missing"
    """It should be there."""

    FOREIGN = "foreign"
    """No run of this repository wrote it."""

    UNREADABLE = "unreadable"
    """The store failed; whether it is whole is open, so check again."""

    LEFTOVER = "leftover"
    """A run left it that came to nothing; it takes space and does no harm."""

    PENDING = "pending"
    """Whoever was to write it has died or is about to; the next run writes it."""

    @property
    def is_fault(self) -> bool:
        """Whether the repository is not as it should be."""
        return self not in {Problem.LEFTOVER, Problem.PENDING}


class ObjectFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One object, and the first thing found wrong with it."""

    object: str
    problem: Problem
    cause: str


class PointDamage(msgspec.Struct, frozen=True, kw_only=True):
    """What of one disk of one point cannot be read back as it was written."""

    point: RecoveryPointId
    machine: MachineId
    disk: DiskId | None
    """None: the whole point is lost."""

    extents: ExtentSet
    cause: str
    """The first thing found wrong."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The `number`-th of `count` parts of all packs: together they are all, none is in two."""

    number: int
    count: int


EVERYTHING = Part(number=1, count=1)
