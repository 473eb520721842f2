"""One night of a cluster as a report shows it: the facts, and what was made of them.

Instants are simulated microseconds, 0 is the start of the scenario. Guest and host clocks never
appear here: whoever builds a `Night` has already put Tg and Th on the observer's clock.
"""

import statistics
from collections import Counter
from collections.abc import Iterable

import msgspec

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    MachineId,
    NodeName,
    RecoveryPointId,
    VolumeName,
)
from reference_engine.model.machine import VirtualDisk
from reference_engine.model.outcome import Outcome
from reference_engine.model.recovery_point import Consistency, Transfer
from reference_engine.model.units import ByteCount, Duration, Instant
from reference_engine.trace import Event


class NightMachine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of the cluster. `name` is whatever its owner typed: untrusted text."""

    id: MachineId
    name: str
    node: NodeName | None
    """Where it ran at the start of the night."""

    disks: tuple[VirtualDisk, ...]


class DiskTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """How one disk of a point was copied, and why so."""

    disk: DiskId
    transfer: Transfer


class PointRow(msgspec.Struct, frozen=True, kw_only=True):
    """One recovery point, and what its proof found."""

    point: RecoveryPointId
    machine: MachineId
    instant: Instant
    """Where on the night's time axis the point's content belongs: Tg, or Th without a Tg."""

    guest_instant: Instant | None
    """Tg; `None` for a crash-consistent point."""

    host_instant: Instant
    """Th."""

    skew: Duration | None
    """Th - Tg; `None` where there is no Tg."""

    consistency: Consistency
    outcome: Outcome
    transfers: tuple[DiskTransfer, ...]
    bytes_read: ByteCount
    bytes_sent: ByteCount
    bytes_truly_changed: ByteCount
    """What the ground truth says has changed since the base."""

    skew_bytes: ByteCount
    """The size of R over all disks."""

    holds: bool | None
    """Whether the restored point is what it claims to be; `None`: nobody judged it."""

    verified: str
    """How the point was verified, or what was wrong with it."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How often something was counted."""

    label: str
    count: int


class MachineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One machine's night in one row."""

    machine: MachineId
    points: int
    outcomes: tuple[Tally, ...]
    labels: tuple[Tally, ...]
    """Points by consistency."""

    transfers: tuple[Tally, ...]
    """Disks of points by transfer kind."""

    bytes_read: ByteCount
    bytes_sent: ByteCount
    bytes_truly_changed: ByteCount
    skew_min: Duration | None
    skew_median: Duration | None
    skew_max: Duration | None
    skew_bytes_max: ByteCount
    codes: tuple[Outcome, ...]
    """The outcome of each slot of the schedule, in order."""


class VerdictRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the oracle says of one invariant (`I1`) or of one expectation (`expect:...`)."""

    id: str
    title: str
    holds: bool | None
    """`None`: the run gave no occasion to judge it."""

    checked: int
    detail: str


class HeatPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes of one disk a point changed, reconciled and sent."""

    point: RecoveryPointId
    changed: ExtentSet
    """The ground truth since the previous point."""

    reconciled: ExtentSet
    """R."""

    sent: ExtentSet


class HeatRow(msgspec.Struct, frozen=True, kw_only=True):
    """One disk over the night, its points in the order of their instants."""

    machine: MachineId
    disk: DiskId
    size: ByteCount
    block: ByteCount
    """The granularity of the repository; no picture shows finer."""

    points: tuple[HeatPoint, ...]


class Night(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a report of one night shows.

    `events` ascend by instant and lie between `start` and `end`. Machines, nodes and volumes that
    only events name have no lane of their own.
    """

    title: str
    scenario: str
    seed: int
    start: Instant
    end: Instant
    skew_limit: Duration | None
    """The longest Th - Tg that the policy accepts; `None`: it sets none."""

    nodes: tuple[NodeName, ...]
    volumes: tuple[VolumeName, ...]
    machines: tuple[NightMachine, ...]
    events: tuple[Event, ...]
    machine_rows: tuple[MachineRow, ...]
    point_rows: tuple[PointRow, ...]
    verdicts: tuple[VerdictRow, ...]
    heat: tuple[HeatRow, ...]
    trace_digest: str
    replay: str
    """The command that repeats the run."""


def night_holds(night: Night, /) -> bool | None:
    """Return whether everything judged holds; `None` where nothing at all was judged."""
    said = [row.holds for row in night.verdicts] + [row.holds for row in night.point_rows]
    judged = [holds for holds in said if holds is not None]
    return all(judged) if judged else None


def names_of(night: Night, /) -> dict[MachineId, str]:
    """Return each machine's name as people know it; the identity tells namesakes apart."""
    uses = Counter(machine.name for machine in night.machines)
    return {
        machine.id: machine.name if uses[machine.name] == 1 else f"{machine.name} ({machine.id})"
        for machine in night.machines
    }


def machine_row(
    machine: MachineId, points: Iterable[PointRow], codes: tuple[Outcome, ...], /
) -> MachineRow:
    """Return the row that sums up those of `points` that are the machine's."""
    own = [row for row in points if row.machine == machine]
    skews = [row.skew for row in own if row.skew is not None]
    return MachineRow(
        machine=machine,
        points=len(own),
        outcomes=tallies(codes),
        labels=tallies(row.consistency for row in own),
        transfers=tallies(entry.transfer.kind for row in own for entry in row.transfers),
        bytes_read=ByteCount(sum(row.bytes_read for row in own)),
        bytes_sent=ByteCount(sum(row.bytes_sent for row in own)),
        bytes_truly_changed=ByteCount(sum(row.bytes_truly_changed for row in own)),
        skew_min=min(skews, default=None),
        skew_median=Duration(round(statistics.median(skews))) if skews else None,
        skew_max=max(skews, default=None),
        skew_bytes_max=max((row.skew_bytes for row in own), default=ByteCount(0)),
        codes=codes,
    )


def tallies(labels: Iterable[str], /) -> tuple[Tally, ...]:
    """Return how often each label occurs, ordered by label."""
    return tuple(
        Tally(label=str(label), count=count) for label, count in sorted(Counter(labels).items())
    )
