"""`twinshot prove repository`: random runs of engine processes, power cuts, and nothing lost."""

import itertools
import re
from time import monotonic  # noqa: TID251 - the rate is real time
from typing import Annotated, Final, Literal

import msgspec
from blake3 import blake3
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.processes import spread
from simulator.campaign.proving.mutants import removed, repository_mutant
from simulator.campaign.proving.random_runs import RandomRun, RunResult
from simulator.campaign.proving.storage import small_objects
from simulator.world.file_system import Durability

_DEFAULT: Final = "1..500"
_CHUNK: Final = 20
_SEEDS_MOST: Final = 10_000_000
_ALARMS_SHOWN: Final = 10

Mode = Literal["both", "journal", "posix"]


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """The seeds that one process is given at a time."""

    seeds: tuple[int, ...]
    durability: str | None
    mutant: str | None
    cached: bool


def repository(
    *,
    seeds: str = _DEFAULT,
    mode: Mode = "both",
    jobs: Annotated[int, Parameter(name=("--jobs", "-j"))] = 1,
    mutant: str | None = None,
    cache: Annotated[bool, Parameter(negative=())] = False,
    steps: Annotated[bool, Parameter(negative=())] = False,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Run engine processes on storage whose power is cut, and restore all that was acknowledged.

    Args:
        seeds: First and last seed, as `1..1000`; each is a run of its own, and always the same.
        mode: What survives of names that were not flushed: those before the cut in their order, as
            with a journal, or any of them. By default each seed has one of the two.
        jobs: Worker processes on this machine.
        mutant: A safety rule to take away first; `mutants --of repository` names them all.
        cache: Let engines look blocks up in a cache that is damaged, cut off, lost and stale.
        steps: Write every call of every process, of one seed.
        output: Where results go.
    """
    wanted = span_of(seeds)
    check_jobs(jobs)
    if mutant is not None:
        repository_mutant(mutant)
    if steps and len(wanted) > 1:
        raise InputRefusedError(f"{seeds} are many seeds", "ask for the --steps of one")
    durability = None if mode == "both" else mode
    if steps:
        with removed(mutant), small_objects():
            RandomRun(
                wanted[0],
                durability and Durability(durability),
                trace=output.say,
                cached=cache,
            ).result()
    planted = f"{' --cache' * cache}{'' if mutant is None else f' --mutant {mutant}'}"
    began = monotonic()
    found: list[RunResult] = []
    with output.steps("prove repository", len(wanted)) as advance:
        chunks = [
            Chunk(seeds=tuple(part), durability=durability, mutant=mutant, cached=cache)
            for part in _parts(wanted, _CHUNK if len(wanted) > jobs * _CHUNK else 1)
        ]
        for results in spread(try_chunk, chunks, jobs=jobs):
            found += results
            rate = len(found) / max(monotonic() - began, 1e-3)
            broken = sum(bool(result.violations) for result in results)
            advance(
                len(found), f"{rate:.1f} seeds/s{f', {broken} broke something' if broken else ''}"
            )
            for result in results:
                _tell_failure(result, planted, output)
    return _tell(sorted(found, key=lambda each: each.seed), monotonic() - began, planted, output)


def span_of(text: str, /) -> range:
    """Return the seeds that a range such as `1..1000` names.

    Raises:
        InputRefusedError: it is none, or names too many to be kept in memory.
    """
    span = re.fullmatch(r"(\d{1,18})(?:\.\.(\d{1,18}))?", text)
    if span is None or not int(span[1]) <= int(span[2] or span[1]):
        raise InputRefusedError(f"{text!r} is no range of seeds", "give it as 1..1000")
    wanted = range(int(span[1]), int(span[2] or span[1]) + 1)
    if len(wanted) > _SEEDS_MOST:
        raise InputRefusedError(f"{text} are too many seeds", f"do {_SEEDS_MOST:,} at a time")
    return wanted


def check_jobs(jobs: int, /) -> None:
    """Make sure that there is somebody to work.

    Raises:
        InputRefusedError: there is nobody.
    """
    if jobs < 1:
        raise InputRefusedError(f"{jobs} processes cannot work", "give at least one with -j")


def _parts(seeds: range, size: int) -> list[tuple[int, ...]]:
    left = iter(seeds)
    return list(iter(lambda: tuple(itertools.islice(left, size)), ()))


def try_chunk(chunk: Chunk, /) -> list[RunResult]:
    """Return the result of each seed."""
    durability = None if chunk.durability is None else Durability(chunk.durability)
    with removed(chunk.mutant), small_objects():
        return [RandomRun(seed, durability, cached=chunk.cached).result() for seed in chunk.seeds]


def _tell_failure(result: RunResult, planted: str, output: Output) -> None:
    if not result.violations:
        return
    output.record(
        "failure",
        seed=result.seed,
        mode=result.durability,
        violations=result.violations,
        replay=_replay(result, planted),
    )


def _replay(result: RunResult, planted: str) -> str:
    mode = f" --mode {result.durability}" if result.forced else ""
    return f"twinshot prove repository --seeds {result.seed}{mode}{planted} --steps"


def _tell(results: list[RunResult], wall_s: float, planted: str, output: Output) -> ExitCode:
    broken = [result for result in results if result.violations]
    rows: list[tuple[str, ...]] = []
    for durability in Durability:
        own = [result for result in results if result.durability == durability.value]
        if own:
            rows.append(
                (
                    durability.value,
                    f"{len(own):,}",
                    f"{sum(result.cuts for result in own):,}",
                    f"{sum(result.steps for result in own):,}",
                    f"{sum(result.acknowledged for result in own):,}",
                    f"{sum(bool(result.violations) for result in own):,}",
                )
            )
    columns = ("MODE", "SEEDS", "POWER CUTS", "CALLS", "POINTS ACKNOWLEDGED", "SEEDS WITH A LOSS")
    output.table(columns, rows)
    for result in broken[:_ALARMS_SHOWN]:
        first = result.violations[0]
        output.say(f"FAIL seed {result.seed}: {first.rule}: {first.detail[:300]}")
        output.say(f"     replay: {_replay(result, planted)}")
    if len(broken) > _ALARMS_SHOWN:
        output.say(f"     and {len(broken) - _ALARMS_SHOWN} more seeds")
    digest = blake3()
    for result in results:
        digest.update(f"{result.seed} {result.digest}\n".encode())
    output.say(
        f"{len(results) - len(broken):,} of {len(results):,} seeds lose nothing, "
        f"in {wall_s:.0f} s; digest {digest.hexdigest()[:32]}"
    )
    code = ExitCode.FINDING if broken else ExitCode.OK
    output.summary(
        seeds=len(results),
        cuts=sum(result.cuts for result in results),
        calls=sum(result.steps for result in results),
        acknowledged=sum(result.acknowledged for result in results),
        failures=[result.seed for result in broken],
        digest=digest.hexdigest()[:32],
        wall_s=round(wall_s, 3),
        exit_code=int(code),
    )
    return code
