"""What a campaign has come to: sums over its seeds, whatever process or machine did them."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.model.outcome import Step
from reference_engine.model.units import HOUR
from simulator.campaign.sweep.coverage import CLASSES, MORE_CLASSES
from simulator.campaign.sweep.must_hit import MUST_HIT
from simulator.campaign.sweep.seeds import SeedResult
from simulator.oracle.registry import INVARIANTS

WANTED: Final = 100
"""How often each cell of the table should be hit before a campaign says much about it."""


class CoverageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step and how often each class of events fell into it."""

    step: str
    counts: tuple[int, ...]


class OutcomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """How often jobs of one back end and transfer came to one outcome."""

    back_end: str
    transfer: str
    outcome: str
    count: int


class JudgedRow(msgspec.Struct, frozen=True, kw_only=True):
    """How often one invariant was judged: one that holds because nothing asked it shows nothing."""

    invariant: str
    title: str
    seeds: int
    checks: int


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A seed that broke something, and the commands that go on from it."""

    seed: int
    broken: tuple[str, ...]
    detail: str
    replay: str
    shrink: str


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How fast this call was; earlier calls had their own rate."""

    seeds: int
    wall_s: float

    @property
    def per_second(self) -> float:
        """Seeds per second of wall-clock time."""
        return self.seeds / self.wall_s if self.wall_s else 0.0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the campaign's page and its last lines show."""

    title: str
    program: str
    seeds: int
    points: int
    simulated_h: float
    cpu_s: float
    rate: Rate
    columns: tuple[str, ...]
    coverage: tuple[CoverageRow, ...]
    outcomes: tuple[OutcomeRow, ...]
    hit: tuple[tuple[str, int], ...]
    """The must-hit list, each with the number of seeds that showed it."""

    judged: tuple[JudgedRow, ...]
    """Every invariant, but for I19: a campaign runs each seed once."""

    failures: tuple[Failure, ...]
    digest: str
    """The same for the same seeds, however many processes did them, and in which order."""

    @property
    def never_hit(self) -> tuple[str, ...]:
        """What of the must-hit list no seed showed."""
        return tuple(name for name, count in self.hit if count == 0)

    @property
    def never_judged(self) -> tuple[str, ...]:
        """The invariants that no seed put to the test."""
        return tuple(f"{row.invariant}, {row.title}" for row in self.judged if row.checks == 0)

    @property
    def compression(self) -> float:
        """Simulated hours per second of processor time."""
        return self.simulated_h / self.cpu_s if self.cpu_s else 0.0


def failure_file(directory: Path, seed: int, /) -> Path:
    """Return where a failing seed's scenario lies."""
    return directory / "failures" / f"seed-{seed}.toml"


def summary_of(
    results: Iterable[SeedResult],
    directory: Path,
    /,
    *,
    program: str,
    mutant: str | None,
    rate: Rate,
    digest: str,
) -> Summary:
    """Return what the results add up to."""
    ordered = sorted(results, key=lambda result: result.seed)
    cells: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    marks: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    checks: Counter[str] = Counter()
    for result in ordered:
        asked.update(result.checks.keys())
        checks.update(result.checks)
        cells.update(result.cells)
        outcomes.update(result.outcomes)
        marks.update(result.marks)
    columns = CLASSES + MORE_CLASSES
    return Summary(
        title=_title(ordered, mutant),
        program=program,
        seeds=len(ordered),
        points=sum(result.points for result in ordered),
        simulated_h=sum(result.simulated_us for result in ordered) / HOUR,
        cpu_s=sum(result.cpu_s for result in ordered),
        rate=rate,
        columns=columns,
        coverage=tuple(
            CoverageRow(
                step=f"S{int(step)} {step.name.lower().replace('_', ' ')}",
                counts=tuple(cells[f"{int(step)}:{name}"] for name in columns),
            )
            for step in Step
        ),
        outcomes=tuple(_outcome(key, count) for key, count in sorted(outcomes.items())),
        hit=tuple((name, marks[name]) for name in MUST_HIT),
        judged=tuple(
            JudgedRow(
                invariant=each.id,
                title=each.title,
                seeds=asked[each.id],
                checks=checks[each.id],
            )
            for each in INVARIANTS
            if each.id != "I19"
        ),
        failures=tuple(
            _failure(result, directory, mutant) for result in ordered if result.breaches
        ),
        digest=digest,
    )


def _title(results: list[SeedResult], mutant: str | None) -> str:
    if not results:
        return "Campaign without a seed"
    first, last = results[0].seed, results[-1].seed
    planted = f", mutant {mutant} planted" if mutant else ""
    return f"Campaign of {len(results):,} seeds, {first} to {last}{planted}"


def _outcome(key: str, count: int) -> OutcomeRow:
    back_end, transfer, outcome = key.split(":")
    return OutcomeRow(back_end=back_end, transfer=transfer, outcome=outcome, count=count)


def _failure(result: SeedResult, directory: Path, mutant: str | None) -> Failure:
    with_mutant = f" --mutant {mutant}" if mutant else ""
    file = failure_file(directory, result.seed)
    return Failure(
        seed=result.seed,
        broken=tuple(breach.invariant for breach in result.breaches),
        detail="; ".join(breach.detail for breach in result.breaches),
        replay=f"twinshot replay {file}{with_mutant}",
        shrink=f"twinshot shrink {file}{with_mutant}",
    )
