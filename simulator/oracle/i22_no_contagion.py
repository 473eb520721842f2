"""I22: what happens to one machine alone changes no other machine's outcome."""

from typing import Final

from reference_engine.model.outcome import Outcome
from reference_engine.trace.engine import JobEnded
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant

_ALLOWED: Final = (Outcome.OK, Outcome.OK_SCAN, Outcome.OK_CRASH, Outcome.DEFERRED)
"""To wait for one's turn is no contagion."""


def _judge(evidence: Evidence, finding: Finding) -> None:
    suspects = evidence.suspects
    if suspects is None:
        return
    for fact in evidence.facts:
        if not isinstance(fact, JobEnded) or fact.machine in suspects:
            continue
        if fact.machine not in evidence.able:
            continue
        finding.check(
            f"{fact.machine} slot {fact.slot + 1}",
            f"ended as {fact.outcome} ({fact.cause}) though nothing happened to it",
            holds=fact.outcome in _ALLOWED,
        )


INVARIANT = Invariant(id="I22", title="one machine's trouble stays its own", judge=_judge)
