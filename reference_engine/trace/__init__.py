"""What happened, as typed facts in the past tense; reports, oracle and digest are folds over them.

`engine` holds what the engine says about its own runs, `cluster` what hosts, guests and volumes
did. Every fact carries the instant at which it became true, on the observer's clock.
"""

from collections.abc import Callable

from reference_engine.trace.cluster import ClusterEvent
from reference_engine.trace.engine import EngineEvent

Event = EngineEvent | ClusterEvent
Tracer = Callable[[Event], None]
"""Takes one fact. Never fails, never blocks."""
