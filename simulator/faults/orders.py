"""The vocabulary of what an administrator has the engine do with points."""

from typing import Literal

from pydantic import Field

from simulator.faults.moments import Timed
from simulator.faults.quantities import Size, TimeSpan


class MachineRestored(Timed):
    """An administrator orders a machine back from one of its points, onto a host of his choice."""

    kind: Literal["machine-restored"]
    order: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    machine: str
    target: str
    volume: str
    restored_as: Literal["new", "original"] = "new"
    replace: bool = False
    point: int | None = Field(default=None, ge=1)
    """Which of the points that there are then, counted from the oldest; none: the newest."""


class MachineRunFromPoint(Timed):
    """A machine runs from one of its points for a while, and is restored onto its host then."""

    kind: Literal["machine-run-from-point"]
    order: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    machine: str
    target: str
    volume: str
    point: int = Field(ge=1)
    lasts: TimeSpan = Field(default=1_800_000_000, gt=0)
    room: Size = Field(default=64 << 20, gt=0)
    """How much it may write at first; when that is full, it pauses until it is given more."""


class ReplicaConnected(Timed):
    """The second repository can be reached for a while, and the engine brings it what it lacks."""

    kind: Literal["replica-connected"]
    lasts: TimeSpan = Field(gt=0)


class ItemsTaken(Timed):
    """An administrator lists and takes out every file that a point holds."""

    kind: Literal["items-taken"]
    order: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    machine: str
    point: int = Field(ge=1)
    """Which of the points that there are then, counted from the oldest."""


class PointMounted(Timed):
    """Somebody looks for files in a point for a while: the whole of it is read bit by bit."""

    kind: Literal["point-mounted"]
    mount: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    machine: str
    point: int = Field(ge=1)
    """Which of the points that there are then, counted from the oldest."""

    lasts: TimeSpan = Field(default=1_800_000_000, gt=0)


Ordered = MachineRestored | PointMounted | MachineRunFromPoint | ItemsTaken
"""What is ordered of the engine, and given again until it has ended."""
