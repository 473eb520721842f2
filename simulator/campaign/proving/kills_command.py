"""`twinshot prove kills` and `prove errors`: real processes, and every call that they make."""

import errno
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from time import monotonic  # noqa: TID251 - the rate is real time
from typing import Annotated, Final, TypeVar

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.naming import named
from simulator.campaign.proving.care_operations import CARE_OPERATIONS
from simulator.campaign.proving.children import Ended
from simulator.campaign.proving.deaths import Bench, Calls, Outcome, Strike, deaths, workshop
from simulator.campaign.proving.domain_operations import DOMAIN_OPERATIONS
from simulator.campaign.proving.key_operations import KEY_OPERATIONS
from simulator.campaign.proving.mutants import removed
from simulator.campaign.proving.operations import PLAIN_OPERATIONS, Operation
from simulator.campaign.proving.os_calls import Death, Failure, kinds_failing

OPERATIONS: Final = (*PLAIN_OPERATIONS, *CARE_OPERATIONS, *KEY_OPERATIONS, *DOMAIN_OPERATIONS)
GIVING_UP_S: Final = 10
"""How long a command may take on a disk that is full and stays full."""

ERRORS: Final = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
    errno.EMFILE,
    errno.ENOMEM,
    errno.EINTR,
)
_ALARMS_SHOWN: Final = 10
_Fault = TypeVar("_Fault", Death, Failure)


class _Tally:
    """What came of the tries of one operation."""

    def __init__(self, operation: str, calls: int, /) -> None:
        self.operation, self.calls = operation, calls
        self.points = self.restored = self.succeeded = 0
        self.slowest_s = 0.0
        self.broken: list[str] = []


def kills(
    *operations: str,
    every: int = 1,
    mutant: str | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Kill a process before, inside and after each call that changes a file; then go on.

    Args:
        operations: What the process does: `init-and-backup`, `prune`, `repair-pages`, `copy`,
            `key-rotate` and so on; all by default. A wrong name lists them.
        every: Try only every n-th of the moments.
        mutant: A safety rule to take away first; `mutants --of repository` names them all.
        output: Where results go.
    """
    return _prove(
        "kills",
        operations,
        every=every,
        mutant=mutant,
        output=output,
        calls_of=lambda calls: calls.changing,
        faults_of=deaths,
        judge=_judge_kill,
    )


def errors(
    *operations: str,
    every: int = 1,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Let each call fail with each error, once and for ever; then let the next command go on.

    Args:
        operations: What the process does: `init-and-backup`, `prune`, `repair-pages`, `copy`,
            `key-rotate` and so on; all by default. A wrong name lists them.
        every: Try only every n-th of the failures.
        output: Where results go.
    """
    return _prove(
        "errors",
        operations,
        every=every,
        mutant=None,
        output=output,
        calls_of=lambda calls: len(calls.kinds),
        faults_of=_failures,
        judge=_judge_error,
    )


def _prove(
    what: str,
    operations: tuple[str, ...],
    *,
    every: int,
    mutant: str | None,
    output: Output,
    calls_of: Callable[[Calls], int],
    faults_of: Callable[[Calls], Iterable[_Fault]],
    judge: Callable[[_Tally, _Fault, Ended, Outcome], str],
) -> ExitCode:
    """Try each operation with every n-th of its faults; tell what came of them.

    `judge` notes how the process ended, and returns which fault it was, in words.
    """
    chosen = _chosen(operations, every)
    missing = removed(mutant)
    tallies: list[_Tally] = []
    began = monotonic()
    with workshop() as root, missing, output.steps(f"prove {what}", len(chosen)) as advance:
        for operation in chosen:
            bench = Bench(operation, root)
            before, calls = bench.prepare()
            tally = _Tally(operation.name, calls_of(calls))
            tallies.append(tally)
            if calls.changing and not operation.changes:
                tally.broken.append(f"it changes files in {calls.changing} calls")
            if operation.changes and not calls.changing:
                tally.broken.append("it changes no file")
            for fault in itertools.islice(faults_of(calls), None, None, every):
                ended = bench.strike(fault)
                outcome = bench.judge(before)
                tally.points += 1
                tally.restored += len(before.points)
                _note(tally, judge(tally, fault, ended, outcome), outcome)
                advance(len(tallies), f"{operation.name}: {tally.points} {what}")
    return _tell(tallies, monotonic() - began, what, output)


def _chosen(names: tuple[str, ...], every: int) -> list[Operation]:
    chosen = [named(name, OPERATIONS, kind="operation") for name in names]
    if every < 1:
        raise InputRefusedError(f"every {every}-th is none", "give at least 1")
    if not hasattr(os, "fork"):
        raise InputRefusedError("this system cannot fork", "run this on Linux")
    return chosen or list(OPERATIONS)


def _failures(calls: Calls) -> Iterator[Failure]:
    for call, kind in enumerate(calls.kinds, start=1):
        for number in ERRORS:
            if kind in kinds_failing(number):
                yield Failure(call=call, number=number, for_ever=False)
                yield Failure(call=call, number=number, for_ever=True)


def _judge_kill(tally: _Tally, death: Death, ended: Ended, _: Outcome) -> str:
    where = f"killed {death.moment.value} call {death.call}"
    if ended.code >= 0:
        tally.broken.append(f"{where}: it came to its end with {ended.code}")
    return where


def _judge_error(tally: _Tally, failure: Failure, ended: Ended, outcome: Outcome) -> str:
    """Look at how a command ended whose calls failed."""
    how = "for ever" if failure.for_ever else "once"
    where = f"{errno.errorcode[failure.number]} {how} at call {failure.call}"
    complaint = ended.complaint.strip()
    if ended.code == 0:
        tally.succeeded += 1
        if not outcome.made:
            tally.broken.append(f"{where}: it claims success and has none")
    elif ended.code not in {int(code) for code in ExitCode} or ended.code in {70, 130}:
        tally.broken.append(f"{where}: it ends with {ended.code}: {complaint[-300:]}")
    elif len(complaint.splitlines()) > 2 or "Traceback" in complaint:
        tally.broken.append(f"{where}: it says {complaint[:300]!r}")
    if ended.report:
        strike = msgspec.json.decode(ended.report, type=Strike)
        if failure.for_ever and failure.number in {errno.ENOSPC, errno.EDQUOT}:
            tally.slowest_s = max(tally.slowest_s, strike.slept_s)
            if strike.slept_s > GIVING_UP_S:
                tally.broken.append(f"{where}: it tries for {strike.slept_s:.0f} s")
    return where


def _note(tally: _Tally, where: str, outcome: Outcome) -> None:
    for title, found in outcome.amiss:
        tally.broken.append(f"{where}: {title}: {'; '.join(found)[:300]}")


def _tell(tallies: list[_Tally], wall_s: float, what: str, output: Output) -> ExitCode:
    output.table(
        ("OPERATION", "CALLS", what.upper(), "OLD POINTS RESTORED", "SUCCEEDED", "FINDINGS"),
        [
            (
                tally.operation,
                str(tally.calls),
                f"{tally.points:,}",
                f"{tally.restored:,}",
                f"{tally.succeeded:,}" if what == "errors" else "-",
                str(len(tally.broken)),
            )
            for tally in tallies
        ],
    )
    broken = [(tally.operation, each) for tally in tallies for each in tally.broken]
    for operation, each in broken:
        output.record("failure", operation=operation, what=each)
    for operation, each in broken[:_ALARMS_SHOWN]:
        output.say(f"FAIL {operation}, {each}")
    if len(broken) > _ALARMS_SHOWN:
        output.say(f"     and {len(broken) - _ALARMS_SHOWN} more")
    points = sum(tally.points for tally in tallies)
    output.say(
        f"{points:,} {what} in {wall_s:.0f} s; "
        + (f"{len(broken):,} findings" if broken else "nothing lost, and every next command works")
    )
    code = ExitCode.FINDING if broken else ExitCode.OK
    output.summary(
        operations=len(tallies),
        points=points,
        findings=len(broken),
        slowest_giving_up_s=max((tally.slowest_s for tally in tallies), default=0.0),
        wall_s=round(wall_s, 3),
        exit_code=int(code),
    )
    return code
