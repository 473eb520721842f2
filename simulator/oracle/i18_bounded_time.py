"""I18: every run ends in bounded time, and the guest is thawed within its bound on every path."""

from typing import Final

from reference_engine.model.identity import MachineId, RunTag
from reference_engine.model.outcome import Outcome
from reference_engine.model.units import MINUTE, Instant
from reference_engine.trace.cluster import (
    FaultInjected,
    GuestFroze,
    GuestThawed,
    MachinePaused,
    MachinePlaced,
    MachineSaved,
    NodeChanged,
)
from reference_engine.trace.engine import JobEnded, RunEnded, RunOpened
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant

_SAVED_BOUND: Final = 10 * MINUTE
"""A saved machine is an outage; a host snapshot under way may last its step's limit."""

_POINT: Final = (Outcome.OK, Outcome.OK_SCAN, Outcome.OK_CRASH, Outcome.RETRY_OK)


def _judge(evidence: Evidence, finding: Finding) -> None:
    finding.check("the night", f"did not end: {evidence.finished}", holds=not evidence.finished)
    frozen: dict[MachineId, Instant] = {}
    saved: dict[MachineId, Instant] = {}
    running: dict[RunTag, Instant] = {}
    for fact in evidence.facts:
        match fact:
            case GuestFroze():
                frozen[fact.machine] = fact.at
            case GuestThawed():
                lasted = fact.at - frozen.pop(fact.machine, fact.at)
                finding.check(
                    fact.machine,
                    f"its guest was frozen for {lasted / 1e6:g} s",
                    holds=lasted <= evidence.freeze_bound,
                )
            case MachinePaused():
                finding.check(
                    fact.machine,
                    f"is paused: {fact.volume} was filled by the checkpoint of run {fact.run}",
                    holds=False,
                )
            case MachineSaved():
                saved[fact.machine] = fact.at
            case MachinePlaced() if fact.node is not None:
                lasted = fact.at - saved.pop(fact.machine, fact.at)
                finding.check(
                    fact.machine,
                    f"stood still for {lasted / 1e6:g} s, its memory saved",
                    holds=lasted <= _SAVED_BOUND or _no_room(evidence),
                )
            case RunOpened():
                running[fact.run] = fact.at
            case RunEnded():
                running.pop(fact.run, None)
            case NodeChanged(running=False) if fact.node.startswith("engine"):
                running.clear()  # a dead engine's runs end with it; its successor clears up
            case _:
                pass
    for machine in evidence.frozen_guests:
        finding.check(machine, "its guest is frozen for ever", holds=False)
    for machine in evidence.stay_saved:
        finding.check(machine, "was saved for a backup and never went on", holds=False)
    for run in running:
        finding.check(run, "never ended", holds=False)
    _judge_liveness(evidence, finding)


def _no_room(evidence: Evidence) -> bool:
    """Return whether all nodes were without memory, or one without power: then machines wait.

    The engine's own end counts as well: nobody resumes a machine meanwhile.
    """
    full = {
        fact.subject
        for fact in evidence.facts
        if isinstance(fact, FaultInjected) and fact.kind == "node-full"
    }
    return full.issuperset(evidence.nodes) or any(
        isinstance(fact, NodeChanged) and not fact.running for fact in evidence.facts
    )


def _judge_liveness(evidence: Evidence, finding: Finding) -> None:
    """Once disturbances are over, each slot but the first from there on makes a point."""
    for fact in evidence.facts:
        if not isinstance(fact, JobEnded) or fact.machine not in evidence.able:
            continue
        due = evidence.slots.get(fact.machine, ())
        calm = [slot for slot, at in enumerate(due) if at >= evidence.calm_from]
        if fact.slot in calm[1:]:
            finding.check(
                f"{fact.machine} slot {fact.slot + 1}",
                f"ended as {fact.outcome} ({fact.cause}) though all disturbances were over",
                holds=fact.outcome in _POINT,
            )


INVARIANT = Invariant(id="I18", title="runs end and guests thaw in bounded time", judge=_judge)
