"""How far happenings reach: until when, and to whom."""

from typing import Final, Protocol

from reference_engine.model.identity import MachineId
from reference_engine.model.units import MINUTE, Instant
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import FaultInjected
from simulator.faults.kinds import (
    CallDisturbed,
    CoordinatorMove,
    GuestSilence,
    Happening,
    LiveMigration,
    NodeDrain,
    StorageMigration,
    WriterFailure,
)
from simulator.faults.life_cycle import DiskAdded
from simulator.faults.moments import OfMachine


class Waits(Protocol):
    """How long a cluster takes over things; a scenario is one."""

    coordinator_move: int
    merge_longest: int
    restart_delay: int


_SPANS: Final = (
    "lasts",
    "down_for",
    "downtime",
    "pre_copy",
    "blackout",
    "late",
    "delay",
    "cut_off",
    "ends_after",
)
_AFTERMATH: Final = 20 * MINUTE
"""What limits of the engine and restarts of machines may add to a disturbance."""


def calm_from(
    happenings: tuple[Happening, ...], facts: tuple[Fact, ...], waits: Waits, /
) -> Instant:
    """Return when the last disturbance was over, with what it had caused."""
    if waits.merge_longest > _AFTERMATH:
        return Instant(1 << 62)  # storage that slow is a disturbance without an end
    last = max((fact.at for fact in facts if isinstance(fact, FaultInjected)), default=None)
    if last is None and not happenings:
        return Instant(0)
    spans = [getattr(each, name, None) or 0 for each in happenings for name in _SPANS]
    longest = max(spans, default=0) + waits.coordinator_move + waits.merge_longest
    return Instant((last or 0) + longest + waits.restart_delay + _AFTERMATH)


def suspects(happenings: tuple[Happening, ...], /) -> frozenset[MachineId] | None:
    """Return the machines that something happened to; None where it may reach any of them."""
    found: set[MachineId] = set()
    for happening in happenings:
        match happening:
            case CallDisturbed() | CoordinatorMove() | NodeDrain() | LiveMigration():
                return None
            case StorageMigration() | DiskAdded():
                return None  # they load other volumes, too
            case GuestSilence() | WriterFailure() | OfMachine():
                found.add(MachineId(happening.machine))
            case _:
                return None
    return frozenset(found)
