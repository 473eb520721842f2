"""What a campaign has to have seen at least once: an edge that nobody reached proves nothing."""

from collections.abc import Callable, Mapping
from typing import Final

from reference_engine.model.outcome import Outcome
from reference_engine.model.recovery_point import Consistency, TransferKind, TransferReason
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import (
    CoordinatorChanged,
    FaultInjected,
    GuestThawed,
    MachinePlaced,
    MapDropped,
    MapMerged,
    MigrationEnded,
    NodeChanged,
    ReferencePointDropped,
    SnapshotReleased,
)
from reference_engine.trace.engine import (
    DeltaEnumerated,
    JobEnded,
    LeftoversCleared,
    PointCommitted,
    RouteChosen,
    RunEnded,
    SkewRecorded,
    StepEntered,
    StepLeft,
)

_ENGINE: Final = "engine"
STEPS: Final = (StepEntered, StepLeft)
"""Most facts are of these kinds, and none of them shows anything here."""

MUST_HIT: Final[Mapping[str, Callable[[Fact], bool]]] = {
    "a point needed more than one attempt": lambda fact: (
        isinstance(fact, JobEnded) and fact.outcome is Outcome.RETRY_OK
    ),
    "a job came to no point": lambda fact: (
        isinstance(fact, JobEnded) and fact.outcome is Outcome.FAIL_CLEAN
    ),
    "a job was put off": lambda fact: (
        isinstance(fact, JobEnded) and fact.outcome is Outcome.DEFERRED
    ),
    "a run was overtaken by a newer one": lambda fact: (
        isinstance(fact, RunEnded) and fact.outcome is Outcome.SUPERSEDED
    ),
    "a point is crash-consistent": lambda fact: (
        isinstance(fact, PointCommitted) and fact.point.consistency is Consistency.CRASH
    ),
    "a skew was put back": lambda fact: isinstance(fact, SkewRecorded) and bool(fact.skew),
    "a diff area was masked": lambda fact: isinstance(fact, SkewRecorded) and bool(fact.mask),
    "several trackers spoke for one disk": lambda fact: (
        isinstance(fact, DeltaEnumerated) and len(fact.sources) > 1
    ),
    "a disk was compared for a lost tracker": lambda fact: (
        isinstance(fact, DeltaEnumerated)
        and fact.transfer.kind is TransferKind.COMPARE
        and fact.transfer.reason is TransferReason.TRACKER_LOST
    ),
    "a disk was compared for a silent node": lambda fact: (
        isinstance(fact, DeltaEnumerated)
        and fact.transfer.reason is TransferReason.TRACKER_UNREACHABLE
    ),
    "a volume was read through its coordinator": lambda fact: (
        isinstance(fact, RouteChosen) and fact.route == "redirected"
    ),
    "a coordinator was moved for a run": lambda fact: (
        isinstance(fact, RouteChosen) and fact.route == "move"
    ),
    "a coordinator failed over": lambda fact: (
        isinstance(fact, CoordinatorChanged) and fact.why == "failover"
    ),
    "a live migration succeeded": lambda fact: isinstance(fact, MigrationEnded) and fact.succeeded,
    "a live migration failed": lambda fact: isinstance(fact, MigrationEnded) and not fact.succeeded,
    "a machine restarted on another node": lambda fact: (
        isinstance(fact, MachinePlaced) and fact.why == "failover"
    ),
    "the engine died and came back": lambda fact: (
        isinstance(fact, NodeChanged) and fact.node == _ENGINE and fact.running
    ),
    "leftovers of a dead run were cleared": lambda fact: (
        isinstance(fact, LeftoversCleared) and bool(fact.found)
    ),
    "a frozen map was merged back": lambda fact: isinstance(fact, MapMerged),
    "a frozen map was lost with its node": lambda fact: (
        isinstance(fact, MapDropped) and fact.why == "node-crash"
    ),
    "a reference point was dropped": lambda fact: isinstance(fact, ReferencePointDropped),
    "a snapshot was lost with its node": lambda fact: (
        isinstance(fact, SnapshotReleased) and fact.why == "node-crash"
    ),
    "a guest went on by its own limit": lambda fact: (
        isinstance(fact, GuestThawed) and fact.why == "limit"
    ),
    "a guest went on because the engine was gone": lambda fact: (
        isinstance(fact, GuestThawed) and fact.why == "session-lost"
    ),
    "a call of the repository was disturbed": lambda fact: (
        isinstance(fact, FaultInjected) and fact.kind == "call-disturbed/blob_store"
    ),
}
"""Each by its sentence: whether this fact shows it."""
