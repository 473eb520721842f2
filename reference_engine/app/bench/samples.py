"""What was measured, and the figures that are told of it."""

import statistics
from collections.abc import Iterable, Sequence

import msgspec

from reference_engine.app.bench.contestants import Job
from reference_engine.app.bench.measuring import Cost
from reference_engine.app.bench.own import OWN, is_ours
from reference_engine.app.repositories import Requests
from reference_engine.model.units import MIB, SECOND, ByteCount


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One measured call."""

    tool: str
    job: Job
    run: int
    cost: Cost
    stored: ByteCount | None
    """By how much the repository grew; None where the job stores nothing."""

    objects: int
    """How many files the repository has afterwards."""

    requests: Requests | None = None
    """What was asked of the store; None where the tool does not say."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A restore that was wrong, or a call that failed."""

    tool: str
    job: Job
    run: int
    what: str
    is_wrong_restore: bool


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The median of some runs, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float], /) -> "Spread":
        """Return the spread of at least one value."""
        return cls(median=statistics.median(values), least=min(values), most=max(values))


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One tool at one job, over all runs."""

    tool: str
    job: Job
    runs: int
    wall_s: Spread
    cpu_s: Spread
    peak_memory: ByteCount
    stored: ByteCount | None
    objects: int
    speed: float
    """MiB of the whole disk for each second of wall time."""

    wall_ratio: float | None
    """This tool's median through ours; None for our own."""

    cpu_ratio: float | None
    stored_ratio: float | None
    exact: bool | None
    """Whether every restore was bit-exact; None for other jobs."""


def rows_of(
    samples: Sequence[Sample], findings: Sequence[Finding], size: ByteCount, /
) -> tuple[Row, ...]:
    """Return a row for every job and tool: ours first, the others in the order of their turns."""
    # Ours come first, also those that join after the first backup.
    tools = sorted(dict.fromkeys(each.tool for each in samples), key=lambda tool: not is_ours(tool))
    groups = {
        (job, tool): [each for each in samples if (each.job, each.tool) == (job, tool)]
        for job in Job
        for tool in tools
    }
    return tuple(
        _row(group, groups.get((job, OWN), []), findings, size)
        for (job, _), group in groups.items()
        if group
    )


def _row(
    group: Sequence[Sample], ours: Sequence[Sample], findings: Sequence[Finding], size: ByteCount
) -> Row:
    first = group[0]
    wrong = [each for each in findings if each.is_wrong_restore and each.tool == first.tool]
    held = [] if first.tool == OWN else ours
    return Row(
        tool=first.tool,
        job=first.job,
        runs=len(group),
        wall_s=Spread.of(_walls(group)),
        cpu_s=Spread.of(_cpus(group)),
        peak_memory=ByteCount(max(each.cost.peak_memory for each in group)),
        stored=_stored(group),
        objects=first.objects,
        speed=size / MIB / max(statistics.median(_walls(group)), 1e-6),
        wall_ratio=_ratio(_walls(group), _walls(held)),
        cpu_ratio=_ratio(_cpus(group), _cpus(held)),
        stored_ratio=_ratio(_bytes(group), _bytes(held)),
        exact=not wrong if first.job is Job.RESTORE else None,
    )


def _walls(group: Iterable[Sample]) -> list[float]:
    return [each.cost.wall / SECOND for each in group]


def _cpus(group: Iterable[Sample]) -> list[float]:
    return [each.cost.cpu / SECOND for each in group]


def _bytes(group: Iterable[Sample]) -> list[float]:
    return [float(each.stored) for each in group if each.stored is not None]


def _stored(group: Sequence[Sample]) -> ByteCount | None:
    values = _bytes(group)
    return ByteCount(round(statistics.median(values))) if values else None


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> float | None:
    if not theirs or not ours or statistics.median(ours) <= 0:
        return None
    return statistics.median(theirs) / statistics.median(ours)
