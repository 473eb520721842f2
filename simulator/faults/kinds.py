"""The vocabulary of what happens unasked: moves, crashes, silences, lost answers."""

from typing import Annotated, Literal

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


Trigger = AtTime | AtStep | AtCall


class LiveMigration(Strict):
    """A machine moves to another node while it runs."""

    kind: Literal["live-migration"]
    machine: str
    target: str
    on: Trigger
    pre_copy: TimeSpan = Field(default=10_000_000, ge=0)
    blackout: TimeSpan = Field(default=500_000, ge=0)


class CoordinatorMove(Strict):
    """A balancer or an administrator moves a volume's coordinator."""

    kind: Literal["coordinator-move"]
    volume: str
    target: str
    on: Trigger


class NodeCrash(Strict):
    """A node loses power; its machines restart elsewhere. `owner-of` a machine, or a name."""

    kind: Literal["node-crash"]
    node: str
    """A node's name, or `owner-of:MACHINE`: whichever node runs the machine then."""

    on: Trigger
    down_for: TimeSpan = Field(default=600_000_000, gt=0)


class EngineCrash(Strict):
    """The engine's own machine loses power, and comes back with nothing in memory."""

    kind: Literal["engine-crash"]
    on: Trigger
    down_for: TimeSpan = Field(default=60_000_000, gt=0)


class GuestSilence(Strict):
    """The guest does not answer a freeze in time; `late` says how long after the call it acts."""

    kind: Literal["guest-silence"]
    machine: str
    occurrence: int = Field(default=1, ge=1)
    late: TimeSpan | None = None


class CallDisturbed(Strict):
    """One call fails, is carried out but its answer is lost, or hangs."""

    kind: Literal["call-disturbed"]
    subject: str
    operation: str
    occurrence: int = Field(default=1, ge=1)
    answer: Literal["fail", "lose", "hang", "delay"]
    delay: TimeSpan = Field(default=0, ge=0)


class TrackerLost(Strict):
    """A machine's trackers lose what they knew: a driver reload, a damaged RCT."""

    kind: Literal["tracker-lost"]
    machine: str
    on: Trigger


Happening = Annotated[
    LiveMigration
    | CoordinatorMove
    | NodeCrash
    | EngineCrash
    | GuestSilence
    | CallDisturbed
    | TrackerLost,
    Field(discriminator="kind"),
]
