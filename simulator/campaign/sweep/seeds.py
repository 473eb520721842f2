"""One seed of a campaign: its scenario drawn, run and judged, and what is kept of it."""

import signal
import threading  # noqa: TID251 - only the main thread of a worker can be stopped by an alarm
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time  # noqa: TID251 - what a seed costs is real time
from types import FrameType
from typing import Final

import msgspec

from reference_engine.model.identity import MachineId
from simulator.campaign.mutants import with_mutant
from simulator.campaign.sweep.coverage import cells_hit
from simulator.campaign.sweep.must_hit import MUST_HIT, STEPS
from simulator.campaign.trial import Subject, Trial, jobs_of, run_trial, subject_of
from simulator.oracle.verdict import Verdict
from simulator.scenario.schema import Scenario
from simulator.scenario.swarm import draw_scenario

SEED_LIMIT_S: Final = 300
"""Processor seconds after which a seed counts as hanging; usual are some tenths of one."""

BREAKDOWN: Final = "breakdown"
_TRANSFERS: Final = ("full", "compare", "incremental")
"""From the most work to the least; a job counts for the one of its disks with the most."""


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """One invariant that did not hold, or `breakdown` for an engine that came to no verdict."""

    invariant: str
    detail: str


class SeedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one seed. Counts have `:` between the parts of their names."""

    seed: int
    points: int
    simulated_us: int
    cpu_s: float
    digest: str
    breaches: tuple[Breach, ...]
    cells: dict[str, int]
    """Step and class of events, as `5:migrate`."""

    outcomes: dict[str, int]
    """Jobs by back end, transfer and outcome, as `E1:incremental:OK`."""

    marks: tuple[str, ...]
    """What of the must-hit list this seed showed."""

    checks: dict[str, int]
    """How often each invariant was judged; one that nothing concerned is not named."""


class HangingError(BaseException):
    """A seed takes for ever. Not an Exception: no handler of the engine may swallow it."""


def swarm_subject(seed: int, /) -> Subject:
    """Return the seed's scenario, ready to be tried."""
    return subject_of(draw_scenario(seed), name=f"swarm-{seed}")


def breaches_of(trial: Trial, /) -> tuple[Breach, ...]:
    """Return what did not hold: the invariants, or else the expectations."""
    return broken_of(trial.verdicts)


def broken_of(verdicts: tuple[Verdict, ...], /) -> tuple[Breach, ...]:
    """Return what did not hold of verdicts: the invariants, or else the expectations."""
    broken = [verdict for verdict in verdicts if verdict.holds is False]
    invariants = [each for each in broken if not each.invariant.startswith("expect:")]
    return tuple(
        Breach(invariant=verdict.invariant, detail=verdict.detail)
        for verdict in invariants or broken
    )


def findings(subject: Subject, /) -> tuple[Breach, ...]:
    """Return what does not hold in a subject's run, a breakdown included; empty if all holds."""
    try:
        with limited():
            return breaches_of(run_trial(subject, restore_again=False))
    except (Exception, HangingError) as error:  # noqa: BLE001 - an engine that breaks down is a finding
        return (breakdown_of(error),)


def breakdown_of(error: BaseException, /) -> Breach:
    """Return what an error says that ended a run before its verdict."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return Breach(invariant=f"{BREAKDOWN}:{type(error).__name__}", detail=f"{error}{place}")


def try_seeds(seeds: tuple[int, ...], mutant: str | None) -> list[SeedResult]:
    """Return the result of each seed; `mutant` names a bug to plant for the time of it."""
    with with_mutant(mutant):
        return [try_seed(seed) for seed in seeds]


def try_seed(seed: int, /) -> SeedResult:
    """Return what came of one seed; nothing that the engine does can end this process."""
    began = process_time()
    subject = swarm_subject(seed)
    trial: Trial | None = None
    try:
        with limited():
            trial = run_trial(subject, restore_again=False)
        breaches = breaches_of(trial)
    except (Exception, HangingError) as error:  # noqa: BLE001 - an engine that breaks down is a finding
        breaches = (breakdown_of(error),)
    facts = () if trial is None else trial.evidence.facts
    telling = [fact for fact in facts if not isinstance(fact, STEPS)]
    cells = cells_hit(subject.scenario, facts)
    return SeedResult(
        seed=seed,
        points=0 if trial is None else len(trial.evidence.proofs),
        simulated_us=facts[-1].at if facts else 0,
        cpu_s=round(process_time() - began, 4),
        digest="" if trial is None else trial.digest,
        breaches=breaches,
        cells={f"{step}:{name}": count for (step, name), count in sorted(cells.items())},
        outcomes=dict(sorted(_outcomes(subject.scenario, trial).items())),
        marks=tuple(name for name, shows in MUST_HIT.items() if any(map(shows, telling))),
        checks={
            verdict.invariant: verdict.checked
            for verdict in (() if trial is None else trial.verdicts)
            if verdict.checked and not verdict.invariant.startswith("expect:")
        },
    )


def _outcomes(scenario: Scenario, trial: Trial | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for machine in scenario.machines if trial is not None else ():
        assert trial is not None
        for job in jobs_of(MachineId(machine.name), trial.evidence.facts):
            disks = () if job.point is None else job.point.disks
            used = {record.transfer.kind.value for record in disks}
            transfer = next((kind for kind in _TRANSFERS if kind in used), "none")
            counts[f"{scenario.back_end}:{transfer}:{job.outcome.value}"] += 1
    return counts


@contextmanager
def limited() -> Iterator[None]:
    """Raise HangingError in the block once it has used too much of the processor."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_: int, __: FrameType | None) -> None:
        raise HangingError(f"used more than {SEED_LIMIT_S} s of the processor")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SEED_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
