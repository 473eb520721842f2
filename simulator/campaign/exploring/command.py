"""`twinshot explore`: every schedule of a few happenings in the smallest world."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic  # noqa: TID251 - `--minutes` and the rate are real time
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.exploring.descent import Tally
from simulator.campaign.exploring.search import Explored, Failure, Mode, Task, explored
from simulator.campaign.exploring.small_world import BackEndName, Scope
from simulator.campaign.exploring.vocabulary import COMMON, check_kinds
from simulator.campaign.mutants import mutant_named
from simulator.campaign.processes import spread
from simulator.scenario.schema import Scenario
from simulator.scenario.writing import as_toml

_OUT: Final = Path("reports") / "explore"
_SHOWN: Final = 10
_CHUNK: Final = 25
_EVENTS_MOST: Final = 3


def explore(
    *,
    events: int = 1,
    kinds: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = COMMON,
    machines: int = 1,
    backups: int = 2,
    back_end: Annotated[tuple[BackEndName, ...], Parameter(negative=())] = ("E1", "E3"),
    seed: int = 1,
    random: Annotated[bool, Parameter(negative=())] = False,
    pct: int | None = None,
    schedules: int = 1000,
    minutes: float | None = None,
    jobs: Annotated[int, Parameter(name=("--jobs", "-j"))] = 1,
    mutant: str | None = None,
    out: Path = _OUT,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Run every order of a few happenings and the calls of backups, in the smallest world.

    Two nodes, one volume, one disk of eight blocks; nothing but virtual time and the engine as
    it is shipped. A schedule that breaks something becomes a scenario for `replay` and `shrink`.

    Args:
        events: How many happenings a schedule has at most, 1 to 3.
        kinds: Which happenings; what becomes of calls themselves is `call-disturbed`.
        machines: Machines that are backed up at the same time.
        backups: During how many backups something may happen; one more follows in peace.
        back_end: E1, E3, or both.
        seed: Draws latencies and which cells the guest writes.
        random: Draw --schedules at random instead of running them all.
        pct: Draw --schedules by priorities, for bugs of this depth.
        schedules: How many are drawn on each back end.
        minutes: End after this time, and say that not all was searched.
        jobs: Worker processes on this machine.
        mutant: A bug to plant in the engine first.
        out: Directory of the failing schedules' scenarios.
        output: Where results go.
    """
    _check(events=events, machines=machines, backups=backups, jobs=jobs, schedules=schedules)
    check_kinds(kinds)
    if minutes is not None and not minutes > 0:
        raise InputRefusedError(f"{minutes} minutes are over at once", "give more than none")
    if pct is not None and pct < 1:
        raise InputRefusedError(f"{pct} is no depth", "give at least 1 with --pct")
    if mutant is not None:
        mutant_named(mutant)
    began = monotonic()
    mode = Mode(name="exhaustive")
    if random:
        mode = Mode(name="random", count=schedules)
    elif pct is not None:
        mode = Mode(name="pct", depth=pct, count=schedules)
    tasks = [
        Task(
            scope=Scope(
                back_end=each, seed=seed, events=events, machines=machines, backups=backups
            ),
            mode=part,
            first=first,
            kinds=tuple(dict.fromkeys(kinds)),
            mutant=mutant,
            stop_at_first=False,
            until=None if minutes is None else began + 60 * minutes,
        )
        for each in dict.fromkeys(back_end)
        for part, first in _parts(mode, kinds)
    ]
    results: list[Explored] = []
    with output.steps("exploring", len(tasks)) as advance:
        for done in spread(explored, tasks, jobs=jobs):
            results.append(done)
            counted = sum(each.tally.schedules for each in results)
            rate = sum(each.runs for each in results) / (monotonic() - began)
            advance(len(results), f"{counted:,} schedules, {rate:.0f} runs/s")
    return _tell(results, len(tasks), monotonic() - began, out, output)


def _check(**amounts: int) -> None:
    for name, amount in amounts.items():
        most = {"events": _EVENTS_MOST, "machines": 4, "backups": 10}.get(name, 1 << 31)
        if not 1 <= amount <= most:
            raise InputRefusedError(
                f"{amount} {name} cannot be searched", f"give 1 to {most} with --{name}"
            )


def _parts(mode: Mode, kinds: tuple[str, ...]) -> Iterator[tuple[Mode, str]]:
    if mode.name == "exhaustive":
        for first in dict.fromkeys(kinds):
            yield mode, first
        return
    for start in range(0, mode.count, _CHUNK):
        count = min(_CHUNK, mode.count - start)
        yield msgspec.structs.replace(mode, first=start, count=count), ""


def _tell(
    results: list[Explored], tasks: int, wall_s: float, out: Path, output: Output
) -> ExitCode:
    results.sort(key=lambda done: (done.task.scope.back_end, done.task.first, done.task.mode.first))
    exhaustive = results[0].task.mode.name == "exhaustive"
    if exhaustive:
        output.table(
            ("BACK END", "FIRST HAPPENING", "SCHEDULES", "RUNS", "CUT", "STATES", "BROKEN"),
            [_row(done) for done in results],
        )
    whole = _whole(results) if exhaustive else _added(results)
    runs, cut = sum(done.runs for done in results), sum(done.cut for done in results)
    complete = all(done.complete for done in results) and len(results) == tasks
    failures = _distinct(results)
    for number, failure in enumerate(failures[:_SHOWN], start=1):
        _tell_failure(failure, number, results[0].task.mutant, out, output)
    output.say(
        f"{whole.schedules:,} schedules, {whole.broken:,} break something; "
        f"{runs:,} runs, {cut:,} of them cut at known states, {runs / wall_s:.0f} runs/s"
    )
    if not complete:
        output.say("not all was searched")
    code = ExitCode.FINDING if failures else ExitCode.OK if complete else ExitCode.PARTIAL
    output.summary(
        schedules=whole.schedules,
        broken=whole.broken,
        runs=runs,
        cut=cut,
        states=sum(done.states for done in results),
        complete=complete,
        wall_s=round(wall_s, 3),
        failures=[failure.signature for failure in failures],
        exit_code=int(code),
    )
    return code


def _added(results: list[Explored]) -> Tally:
    whole = Tally()
    for done in results:
        whole = whole.plus(done.tally)
    return whole


def _whole(results: list[Explored]) -> Tally:
    """Return all tasks together: that nothing happens is a part of each, and counts once."""
    whole = _added(results)
    for back_end in sorted({done.task.scope.back_end for done in results}):
        begun = [done for done in results if done.task.scope.back_end == back_end and done.runs]
        idle = [done for done in begun if any(_length(each) == 0 for each in done.failures)]
        again = Tally(schedules=-max(0, len(begun) - 1), broken=-max(0, len(idle) - 1))
        whole = whole.plus(again)
    return whole


def _row(done: Explored) -> tuple[str, ...]:
    scope = done.task.scope
    numbers = (done.tally.schedules, done.runs, done.cut, done.states, done.tally.broken)
    return scope.back_end, done.task.first, *(f"{number:,}" for number in numbers)


def _distinct(results: list[Explored]) -> list[Failure]:
    """Return one failure for each set of broken invariants on a back end, the shortest first."""
    found: dict[tuple[str, str], Failure] = {}
    for done in results:
        for failure in done.failures:
            key = (done.task.scope.back_end, failure.signature)
            known = found.get(key)
            if known is None or _length(failure) < _length(known):
                found[key] = failure
    return sorted(found.values(), key=_length)


def _length(failure: Failure) -> int:
    happenings: Any = failure.scenario.get("happenings", ())
    return len(happenings)


def _tell_failure(
    failure: Failure, number: int, mutant: str | None, out: Path, output: Output
) -> None:
    file = out / f"schedule-{number}.toml"
    happenings: Any = failure.scenario.get("happenings", ())
    planted = "" if mutant is None else f" --mutant {mutant}"
    comment = "".join(
        f"# {' '.join(f'{each.invariant}: {each.detail}'.split())}\n" for each in failure.breaches
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        scenario = Scenario.model_validate(failure.scenario)
        file.write_text(comment + as_toml(scenario), encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise InputRefusedError(
            f"{file} cannot be written: {reason}", "name another directory with --out"
        ) from None
    kinds = ", ".join(Counter(each["kind"] for each in happenings))
    output.say(f"FAIL {failure.signature}: {kinds or 'nothing at all'}")
    output.say(f"     {failure.breaches[0].detail[:300]}")
    output.say(f"     replay: twinshot replay {file}{planted}")
    output.say(f"     shrink: twinshot shrink {file}{planted}")
    output.record(
        "failure",
        broken=failure.signature,
        detail=failure.breaches[0].detail,
        scenario=str(file),
        replay=f"twinshot replay {file}{planted}",
        shrink=f"twinshot shrink {file}{planted}",
    )
