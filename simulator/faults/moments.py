"""When and to whom something happens: the part that all happenings have in common."""

from typing import Literal

from pydantic import Field

from simulator.faults.quantities import TimeSpan
from simulator.faults.table import Strict


class AtTime(Strict):
    """At an instant of the scenario."""

    at: TimeSpan = Field(ge=0)


class AtStep(Strict):
    """When a machine's backup enters or has left a step, the k-th time."""

    machine: str
    step: int = Field(ge=0, le=16)
    when: Literal["before", "after"] = "before"
    occurrence: int = Field(default=1, ge=1)
    delay: TimeSpan = Field(default=0, ge=0)


class AtCall(Strict):
    """Around the k-th call of an operation that concerns a machine, a volume or an object kind."""

    subject: str
    operation: str
    when: Literal["before", "after"] = "before"
    occurrence: int = Field(default=1, ge=1)
    delay: TimeSpan = Field(default=0, ge=0)


Trigger = AtTime | AtStep | AtCall


class Timed(Strict):
    """Something that happens at a moment."""

    on: Trigger


class OfMachine(Timed):
    """Something that happens to a machine."""

    machine: str


class OfDisk(OfMachine):
    """Something that happens to one of a machine's disks, counted from 0."""

    disk: int = Field(default=0, ge=0)


class OfVolume(Timed):
    """Something that happens to a volume."""

    volume: str
