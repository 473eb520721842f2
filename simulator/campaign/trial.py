"""One scenario, one seed: run it, judge it, and hold it against what it expects."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from reference_engine.model.identity import MachineId
from reference_engine.model.outcome import Outcome
from reference_engine.model.recovery_point import Consistency, RecoveryPoint
from reference_engine.model.units import Instant
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import PointBecameVisible, PointsBecameInvisible
from reference_engine.trace.engine import (
    JobEnded,
    MachineQuarantined,
    PointCommitted,
    RestoreEnded,
    RunEnded,
)
from simulator.campaign.judging import Prover, gather
from simulator.campaign.night import Night, Watcher
from simulator.faults.plan import FaultPlan
from simulator.oracle.evidence import Evidence
from simulator.oracle.registry import judge
from simulator.oracle.verdict import Verdict, Violation
from simulator.scenario.building import RealDisk
from simulator.scenario.schema import Expectation, Scenario, Variant


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried: a scenario, perhaps one of its variants, and a seed."""

    scenario: Scenario
    name: str
    path: Path | None
    variant: Variant | None
    seed: int
    images: Mapping[str, RealDisk]

    @property
    def title(self) -> str:
        """The scenario's name, with its variant."""
        return self.name if self.variant is None else f"{self.name}[{self.variant.id}]"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    subject: Subject
    night: Night
    evidence: Evidence
    verdicts: tuple[Verdict, ...]
    """The invariants, then one for each expectation of the scenario (`expect:...`)."""

    @property
    def holds(self) -> bool:
        """Whether nothing that was checked failed."""
        return all(verdict.holds is not False for verdict in self.verdicts)

    @property
    def digest(self) -> str:
        """The trace digest."""
        return self.evidence.digest


def subjects_of(
    scenario: Scenario,
    /,
    *,
    name: str,
    path: Path | None,
    seed: int | None,
    images: Mapping[str, RealDisk],
) -> list[Subject]:
    """Return what a scenario file asks to be tried: itself, or each of its variants."""
    variants = scenario.variants or (None,)
    return [
        Subject(
            scenario=scenario,
            name=name,
            path=path,
            variant=variant,
            seed=scenario.seed if seed is None else seed,
            images=images,
        )
        for variant in variants
    ]


def subject_of(scenario: Scenario, /, *, name: str) -> Subject:
    """Return a scenario without real disk images, ready to be tried."""
    return subjects_of(scenario, name=name, path=None, seed=None, images={})[0]


def night_of(subject: Subject, watcher: Watcher, progress: Callable[[Instant], None], /) -> Night:
    """Return the subject's run, not yet begun."""
    happenings = subject.scenario.happenings
    if subject.variant is not None:
        happenings += subject.variant.happenings
    return Night(
        subject.scenario,
        seed=subject.seed,
        happenings=happenings,
        images=subject.images,
        plan=FaultPlan(),
        watcher=watcher,
        progress=progress,
    )


def run_trial(
    subject: Subject,
    /,
    *,
    restore_again: bool,
    progress: Callable[[Instant], None] = lambda _: None,
    restored: Callable[[int, int], None] = lambda _, __: None,
    second_digest: Callable[[], str | None] = lambda: None,
    sources_unchanged: Callable[[], dict[str, bool]] = dict,
) -> Trial:
    """Run and judge, each point restored at its commit, and all `again` in the end.

    `second_digest` and `sources_unchanged` are asked when the run is over; by default there is no
    second run and no source, and what they would show is not judged.
    """
    prover = Prover()
    night = night_of(subject, prover, progress)
    night.run()
    evidence = gather(
        night,
        prover,
        restore_again=restore_again,
        restored=restored,
        second_digest=second_digest(),
        sources_unchanged=sources_unchanged(),
    )
    expected = [_expected(each, evidence) for each in _expectations(subject)]
    return Trial(
        subject=subject, night=night, evidence=evidence, verdicts=(*judge(evidence), *expected)
    )


def _expectations(subject: Subject) -> list[Expectation]:
    """Return what must come of the run under its seed."""
    scenario, variant = subject.scenario, subject.variant
    named = (*scenario.expect, *(() if variant is None else variant.expect))
    return [each for each in named if subject.seed == scenario.seed or not each.own_seed_only]


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one slot of one machine came to."""

    slot: int
    outcome: Outcome
    attempts: int
    cause: str
    point: RecoveryPoint | None


def jobs_of(machine: MachineId, facts: tuple[Fact, ...], /) -> list[JobResult]:
    """Return the machine's jobs in order."""
    jobs: list[JobResult] = []
    points = {fact.run: fact.point for fact in facts if isinstance(fact, PointCommitted)}
    latest: RecoveryPoint | None = None
    for fact in facts:
        if isinstance(fact, RunEnded) and fact.run.machine == machine:
            latest = points.get(fact.run)
        elif isinstance(fact, JobEnded) and fact.machine == machine:
            jobs.append(
                JobResult(
                    slot=fact.slot + 1,
                    outcome=fact.outcome,
                    attempts=fact.attempts,
                    cause=fact.cause,
                    point=latest,
                )
            )
            latest = None
    return jobs


def _expected(expectation: Expectation, evidence: Evidence) -> Verdict:
    """Return whether the engine did what the scenario says that it must."""
    machine, facts = MachineId(expectation.machine), evidence.facts
    if expectation.order is not None:
        return _expected_of_order(expectation, facts)
    jobs = jobs_of(machine, facts)
    where = machine if expectation.slot is None else f"{machine} slot {expectation.slot}"
    violations: list[Violation] = []

    def check(sentence: str, *, holds: bool) -> None:
        if not holds:
            violations.append(Violation(subject=where, sentence=sentence))

    _check_machine(expectation, evidence, check)
    chosen = [job for job in jobs if expectation.slot in (None, job.slot)]
    check("never ran", holds=bool(chosen) or expectation.points_at_most == 0)
    for job in chosen:
        _check_job(expectation, job, check)
    return Verdict(
        invariant=f"expect:{where}",
        title=wanted_of(expectation),
        holds=not violations,
        checked=max(1, len(chosen)),
        violations=tuple(violations),
    )


def _expected_of_order(expectation: Expectation, facts: tuple[Fact, ...]) -> Verdict:
    """Return whether a restore came to what the scenario says that it must."""
    assert expectation.order is not None
    ends = [f for f in facts if isinstance(f, RestoreEnded) and f.order == expectation.order]
    violations: list[Violation] = []
    for end in ends[-1:]:
        if expectation.outcome is not None and end.outcome not in expectation.outcome:
            sentence = f"ended as {end.outcome} ({end.cause or 'no cause'})"
            violations.append(Violation(subject=expectation.order, sentence=sentence))
        if expectation.cause is not None and expectation.cause not in end.cause:
            sentence = f"gave as cause {end.cause!r}"
            violations.append(Violation(subject=expectation.order, sentence=sentence))
        fields = sorted({each.partition(":")[0] for each in end.rewritten})
        if expectation.rewritten is not None and sorted(expectation.rewritten) != fields:
            sentence = f"rewrote {', '.join(fields) or 'nothing'}"
            violations.append(Violation(subject=expectation.order, sentence=sentence))
    if not ends:
        violations.append(Violation(subject=expectation.order, sentence="never ended"))
    return Verdict(
        invariant=f"expect:{expectation.order}",
        title=wanted_of(expectation),
        holds=not violations,
        checked=1,
        violations=tuple(violations),
    )


def _check_machine(
    expectation: Expectation, evidence: Evidence, check: Callable[..., None]
) -> None:
    """Check what concerns the machine as a whole."""
    machine, facts = MachineId(expectation.machine), evidence.facts
    made = {
        fact.point.id
        for fact in facts
        if isinstance(fact, PointBecameVisible) and fact.point.machine.id == machine
    }
    count = len(made)
    if expectation.points_at_least is not None:
        check(
            f"made {count} points, not {expectation.points_at_least}",
            holds=count >= expectation.points_at_least,
        )
    if expectation.points_at_most is not None:
        check(
            f"made {count} points, more than {expectation.points_at_most}",
            holds=count <= expectation.points_at_most,
        )
    if expectation.replicas is not None:
        # What is there counts, not what was told: an engine may die between the two.
        there = len(made.intersection(evidence.replica))
        check(
            f"has {there} points in the second repository, not {expectation.replicas}",
            holds=there == expectation.replicas,
        )
    if expectation.points_left is not None:
        gone = {
            point
            for fact in facts
            if isinstance(fact, PointsBecameInvisible)
            for point in fact.points
        }
        left = [
            fact
            for fact in facts
            if isinstance(fact, PointBecameVisible)
            and fact.point.machine.id == machine
            and fact.point.id not in gone
        ]
        check(
            f"has {len(left)} points left, not {expectation.points_left}",
            holds=len(left) == expectation.points_left,
        )
    if expectation.quarantined is not None:
        told = any(
            isinstance(fact, MachineQuarantined)
            and fact.machine == machine
            and expectation.quarantined in fact.nodes
            for fact in facts
        )
        check(f"{expectation.quarantined} was not put under quarantine", holds=told)


def _check_job(expectation: Expectation, job: JobResult, check: Callable[..., None]) -> None:
    if expectation.outcome is not None:
        check(
            f"ended as {job.outcome} ({job.cause or 'no cause'})",
            holds=job.outcome in expectation.outcome,
        )
    point = job.point
    if expectation.consistency is not None:
        check(
            f"made {'no point' if point is None else f'a {point.consistency} point'}",
            holds=point is not None and point.consistency is Consistency(expectation.consistency),
        )
    if expectation.transfer is not None:
        kinds = [] if point is None else [record.transfer.kind.value for record in point.disks]
        check(
            f"transferred {', '.join(kinds) or 'nothing'}",
            holds=bool(kinds) and all(kind in expectation.transfer for kind in kinds),
        )
    if expectation.cause is not None:
        check(f"gave as cause {job.cause!r}", holds=expectation.cause in job.cause)
    if expectation.disks is not None:
        count = 0 if point is None else len(point.disks)
        check(f"holds {count} disks", holds=count == expectation.disks)
    if expectation.sent_at_most is not None:
        sent = 0 if point is None else sum(record.bytes_sent for record in point.disks)
        check(
            f"stored {sent} new bytes", holds=point is not None and sent <= expectation.sent_at_most
        )
    if expectation.attempts_at_most is not None:
        check(f"took {job.attempts} attempts", holds=job.attempts <= expectation.attempts_at_most)
    if expectation.skew is not None:
        total = 0 if point is None else sum(record.skew.total for record in point.disks)
        check(
            f"put back {total} bytes",
            holds=point is not None and (total > 0) == (expectation.skew == "some"),
        )


def wanted_of(expectation: Expectation, /) -> str:
    """Return in words what must come of a machine's jobs."""
    left_out = {"machine", "slot", "own_seed_only"}
    wanted = expectation.model_dump(mode="json", exclude_none=True, exclude=left_out)
    return (
        ", ".join(f"{key.replace('_', ' ')} {said_of(value)}" for key, value in wanted.items())
        or "runs"
    )


def said_of(value: object, /) -> str:
    """Return a scenario's value in words: of several, any will do."""
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)
