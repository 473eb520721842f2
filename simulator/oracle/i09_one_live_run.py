"""I9: once a newer run of a machine was opened, no older one commits."""

from reference_engine.model.identity import MachineId
from reference_engine.trace.cluster import PointBecameVisible, RunsForgotten
from reference_engine.trace.engine import RunOpened, RunsFenced
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    newest: dict[MachineId, int] = {}
    committed: dict[MachineId, int] = {}
    for fact in evidence.facts:
        match fact:
            case RunOpened() | RunsFenced():
                before = newest.get(fact.run.machine, 0)
                newest[fact.run.machine] = max(before, fact.run.epoch)
                finding.check(fact.run, "was opened twice", holds=fact.run.epoch != before)
            case RunsForgotten(runs=runs):
                # Who comes next takes up where the repository's disk lets him.
                for run in runs:
                    newest[run.machine] = run.epoch
                    committed[run.machine] = min(committed.get(run.machine, 0), run.epoch)
            case PointBecameVisible():
                run = fact.point.run
                finding.check(
                    fact.point.id,
                    f"run {run} committed although run {newest.get(run.machine)} was open",
                    holds=run.epoch >= newest.get(run.machine, 0),
                )
                finding.check(
                    fact.point.id,
                    f"run {run} committed after run {committed.get(run.machine)}",
                    holds=run.epoch > committed.get(run.machine, 0),
                )
                committed[run.machine] = run.epoch
            case _:
                pass


INVARIANT = Invariant(id="I9", title="a superseded run never commits", judge=_judge)
