"""`twinshot campaign`: many seeds, on all the processors there are, added up over many calls."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic  # noqa: TID251 - `--minutes` and the rate are real time
from typing import Annotated, Final, Literal

import msgspec
from blake3 import blake3
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.mutants import mutant_named
from simulator.campaign.sweep.page import render_campaign
from simulator.campaign.sweep.results_log import heading, opened_log, read_results
from simulator.campaign.sweep.seeds import SeedResult
from simulator.campaign.sweep.summary import Rate, Summary, failure_file, summary_of
from simulator.campaign.sweep.workers import Backend, Chunk, tried
from simulator.scenario.swarm import draw_scenario
from simulator.scenario.writing import as_toml

_OUT: Final = Path("reports") / "campaign"
_DEFAULT: Final = "1..200"
_CHUNK_MOST: Final = 16
"""Seeds in one task: some seconds of work, against milliseconds of handing it over."""

_TASKS_LEAST: Final = 12
"""Into how many tasks a few seeds are cut, so that every worker has some."""

_ALARMS_SHOWN: Final = 10
_ENDLESS: Final = 2**63


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which seeds a call may do, and until when."""

    first: int
    last: int
    shard: int
    shards: int
    minutes: float | None

    def seeds(self) -> Iterator[int]:
        """Yield the seeds of this shard, ascending."""
        start = self.first + (self.shard - self.first) % self.shards
        return iter(range(start, self.last + 1, self.shards))


def campaign(
    *,
    seeds: str | None = None,
    minutes: float | None = None,
    jobs: Annotated[int, Parameter(name=("--jobs", "-j"))] = 1,
    dask: str | None = None,
    shard: str = "1/1",
    on_failure: Literal["collect", "stop"] = "collect",
    mutant: str | None = None,
    out: Path = _OUT,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Run random scenarios, one a seed, and add the results to those of earlier calls.

    Args:
        seeds: First and last seed, as `1..1000`; seeds that are done already are not done again.
        minutes: Take up new seeds for this long; without `--seeds`, from 1 upwards.
        jobs: Worker processes on this machine.
        dask: Address of a Dask scheduler, such as tcp://10.0.0.1:8786, whose workers do the work.
        shard: Do the i-th of n parts of the seeds, as `2/5`; each part has a log of its own.
        on_failure: Whether to go on after a seed that broke something.
        mutant: A bug to plant in the engine first; the campaign has to find it.
        out: Directory of the log, the page and the failures' scenarios.
        output: Where results go.
    """
    if jobs < 1:
        raise InputRefusedError(f"{jobs} processes cannot work", "give at least one with -j")
    if mutant is not None:
        mutant_named(mutant)
    span, backend = _span(seeds, minutes, shard), Backend(jobs=jobs, dask=dask)
    first = heading(mutant)
    results = read_results(out, first)
    before = len(results)
    name = "results.jsonl" if span.shards == 1 else f"results-{span.shard}-of-{span.shards}.jsonl"
    began = monotonic()
    with opened_log(out, name, first) as log:
        chunks = _Chunks(span, results, backend, until=_end(began, minutes))
        with output.steps("campaign", _total(span, results)) as advance:
            for batch in tried(chunks.remaining, backend, mutant=mutant):
                fresh = [result for result in batch if result.seed not in results]
                log.append(fresh)
                results |= {result.seed: result for result in fresh}
                done, broken = len(results) - before, sum(bool(r.breaches) for r in fresh)
                advance(_progress(span, done, began), _speed(done, results, began))
                _tell_failures(fresh, out, output)
                if broken and on_failure == "stop":
                    break
    rate = Rate(seeds=len(results) - before, wall_s=monotonic() - began)
    summary = summary_of(
        results.values(),
        out,
        program=first.program,
        mutant=mutant,
        rate=rate,
        digest=_digest(results),
    )
    (out / "report.html").write_text(render_campaign(summary), encoding="utf-8")
    return _tell(summary, out, output)


def _span(seeds: str | None, minutes: float | None, shard: str) -> Span:
    text = seeds or (_DEFAULT if minutes is None else f"1..{_ENDLESS - 1}")
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", text)
    if found is None or not int(found[1]) <= int(found[2] or found[1]) < _ENDLESS:
        raise InputRefusedError(f"{text!r} is no range of seeds", "give it as 1..1000")
    part = re.fullmatch(r"(\d+)/(\d+)", shard)
    if part is None or not 1 <= int(part[1]) <= int(part[2]):
        raise InputRefusedError(f"{shard!r} is no part of a whole", "give it as 2/5")
    if minutes is not None and not minutes > 0:
        raise InputRefusedError(f"{minutes} minutes are over at once", "give more than none")
    return Span(
        first=int(found[1]),
        last=int(found[2] or found[1]),
        shard=int(part[1]),
        shards=int(part[2]),
        minutes=minutes,
    )


def _end(began: float, minutes: float | None) -> float | None:
    return None if minutes is None else began + 60 * minutes


class _Chunks:
    """The seeds still to be done, in chunks, until time is up."""

    def __init__(
        self,
        span: Span,
        results: dict[int, SeedResult],
        backend: Backend,
        /,
        *,
        until: float | None,
    ) -> None:
        self._span, self._results, self._until = span, results, until
        left = min(span.last - span.first, _CHUNK_MOST * _TASKS_LEAST * span.shards)
        alone = backend.jobs == 1 and backend.dask is None
        self._size = 1 if alone else max(1, left // (_TASKS_LEAST * span.shards))

    def remaining(self) -> Iterator[Chunk]:
        """Yield chunks of seeds that have no result yet."""
        left = (seed for seed in self._span.seeds() if seed not in self._results)
        while chunk := tuple(itertools.islice(left, self._size)):
            if self._until is not None and monotonic() >= self._until:
                return
            yield chunk


def _total(span: Span, results: dict[int, SeedResult]) -> int:
    if span.minutes is not None:
        return round(60 * span.minutes)
    return sum(seed not in results for seed in span.seeds())


def _progress(span: Span, done: int, began: float) -> int:
    return done if span.minutes is None else round(monotonic() - began)


def _speed(done: int, results: dict[int, SeedResult], began: float) -> str:
    broken = sum(bool(result.breaches) for result in results.values())
    found = f", {broken} broke something" if broken else ""
    return f"{len(results):,} seeds, {done / (monotonic() - began):.1f} seeds/s{found}"


def _digest(results: dict[int, SeedResult]) -> str:
    digest = blake3()
    for seed in sorted(results):
        digest.update(f"{seed} {results[seed].digest}\n".encode())
    return digest.hexdigest()[:32]


def _tell_failures(results: list[SeedResult], out: Path, output: Output) -> None:
    """Write the scenario of each seed that broke something, and say that it did."""
    for result in results:
        if not result.breaches:
            continue
        file = failure_file(out, result.seed)
        file.parent.mkdir(exist_ok=True)
        found = [f"# {each.invariant}: {each.detail}" for each in result.breaches]
        comment = "\n".join(line.replace("\n", " ") for line in found)
        file.write_text(f"{comment}\n{as_toml(draw_scenario(result.seed))}", encoding="utf-8")
        broken = " ".join(breach.invariant for breach in result.breaches)
        output.remark(f"seed {result.seed} breaks {broken}")


def _tell(summary: Summary, out: Path, output: Output) -> ExitCode:
    output.say(f"{summary.title}, {summary.points:,} points restored and compared")
    output.say(
        f"{summary.simulated_h:,.0f} simulated hours, {summary.compression:,.0f} for each second "
        f"of a processor; this call: {summary.rate.seeds:,} seeds in {summary.rate.wall_s:.0f} s, "
        f"{summary.rate.per_second:.1f} seeds/s"
    )
    output.table(
        ("STEP", *(name.upper() for name in summary.columns)),
        [(row.step, *map(str, row.counts)) for row in summary.coverage],
    )
    output.table(
        ("BACK END", "TRANSFER", "OUTCOME", "JOBS"),
        [(row.back_end, row.transfer, row.outcome, str(row.count)) for row in summary.outcomes],
    )
    output.table(
        ("INVARIANT", "SEEDS", "CHECKS", ""),
        [(row.invariant, str(row.seeds), str(row.checks), row.title) for row in summary.judged],
    )
    for name in summary.never_judged:
        output.say(f"never judged: {name}")
    for name in summary.never_hit:
        output.say(f"never seen: {name}")
    for failure in summary.failures[:_ALARMS_SHOWN]:
        output.say(f"FAIL seed {failure.seed}: {' '.join(failure.broken)}: {failure.detail[:300]}")
        output.say(f"     replay: {failure.replay}")
        output.say(f"     shrink: {failure.shrink}")
    for failure in summary.failures:
        output.record("failure", **msgspec.structs.asdict(failure))
    left = len(summary.failures) - _ALARMS_SHOWN
    if left > 0:
        output.say(f"     and {left} more seeds, each with its scenario in {out / 'failures'}")
    output.say(
        f"{summary.seeds - len(summary.failures):,} of {summary.seeds:,} seeds hold; "
        f"report in {out / 'report.html'}"
    )
    code = ExitCode.FINDING if summary.failures else ExitCode.OK
    output.summary(
        **{
            key: value
            for key, value in msgspec.structs.asdict(summary).items()
            if key not in {"failures", "rate", "coverage", "outcomes", "judged"}
        },
        failures=[failure.seed for failure in summary.failures],
        coverage=[msgspec.structs.asdict(row) for row in summary.coverage],
        outcomes=[msgspec.structs.asdict(row) for row in summary.outcomes],
        judged=[msgspec.structs.asdict(row) for row in summary.judged],
        seeds_this_call=summary.rate.seeds,
        wall_s=round(summary.rate.wall_s, 3),
        exit_code=int(code),
    )
    return code
