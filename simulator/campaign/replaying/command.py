"""`twinshot replay`: the same run again, whole, up to an instant, step by step, or compared."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Form, Output
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import Instant
from simulator.campaign.commands import REPORTS, try_all
from simulator.campaign.mutants import with_mutant
from simulator.campaign.night import Watcher
from simulator.campaign.replaying.difference import first_difference
from simulator.campaign.replaying.facts import fact_line, facts_of
from simulator.campaign.replaying.state import State, state_of
from simulator.campaign.replaying.stepping import (
    HELP,
    Breakpoint,
    Stepper,
    StopAt,
    breakpoint_named,
)
from simulator.campaign.sources import source_named
from simulator.campaign.trial import Subject, night_of
from simulator.faults.quantities import parse_duration


def replay(
    run: str,
    /,
    *,
    until: str | None = None,
    stop: Annotated[str | None, Parameter(name="--break")] = None,
    step: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    diff: str | None = None,
    mutant: str | None = None,
    out: Path = REPORTS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Repeat a run exactly: a scenario, the result.json of an earlier run, or a seed.

    Args:
        run: Scenario file, name or catalogue number of one of Twinshot's own, result.json or the
            directory that it is in, or the number of a campaign's seed.
        until: Show how everything stands at this instant, such as 31m20s, and end there.
        stop: Show how everything stands at a step (S5) or a kind of fact (MigrationStarted);
            with a machine before it (vm1:S5) and a number behind it (S5#2) where that matters.
        step: Go from fact to fact, from the first or from `--break` on.
        diff: Another run; show the first fact in which the two differ.
        mutant: A bug to plant in the engine first; not for the run behind `--diff`.
        out: Directory of the report of a whole run; an earlier report there is replaced.
        output: Where results go.
    """
    chosen = [
        name
        for name, given in (("--until", until), ("--diff", diff), ("--step", step or None))
        if given is not None
    ]
    if len(chosen) > 1 or (stop is not None and chosen not in ([], ["--step"])):
        names = " and ".join([*chosen, *(["--break"] if stop else [])])
        raise InputRefusedError(f"{names} do not go together", "leave all but one out")
    where = None if stop is None else breakpoint_named(stop)
    with source_named(run) as source, with_mutant(mutant):
        if not chosen and where is None:
            return try_all(source, out, output, mutant=mutant)
        subject = _only(source.subjects, run)
        if until is not None:
            return _show_until(subject, until, output)
        if step:
            return _step_through(subject, where, output)
        if where is not None:
            return _show_break(subject, where, output)
        facts, digest = facts_of(subject)
    assert diff is not None
    with source_named(diff) as other:
        theirs, other_digest = facts_of(_only(other.subjects, diff))
    found = first_difference(facts, theirs)
    if found is None:
        calls = "" if digest == other_digest else "; the calls between them are not"
        output.say(f"all {len(facts)} facts are the same{calls}")
        code = ExitCode.OK if digest == other_digest else ExitCode.FINDING
    else:
        for line in found.lines():
            output.say(line)
        output.record("difference", **msgspec.structs.asdict(found))
        code = ExitCode.FINDING
    output.summary(same=code is ExitCode.OK, facts=len(facts), exit_code=int(code))
    return code


def _only(subjects: tuple[Subject, ...], name: str) -> Subject:
    if len(subjects) != 1:
        raise InputRefusedError(
            f"{name} holds {len(subjects)} runs", "name the result.json of one of them"
        )
    return subjects[0]


def _show_until(subject: Subject, until: str, output: Output) -> ExitCode:
    try:
        instant = Instant(parse_duration(until))
    except ValueError as error:
        raise InputRefusedError(f"{until!r} is no instant: it {error}", "try 31m20s") from None
    night = night_of(subject, Watcher(), lambda _: None)
    night.run_until(instant)
    if not night.finished:
        night.sim.env._now = instant  # noqa: SLF001 - nothing happens between the last event and then
    for machine in night.world.machines.values():
        machine.advance()
    state = state_of(night)
    for fact in night.facts[-5:]:
        output.say(fact_line(fact))
    _tell(state, output)
    night.sim.close()
    return ExitCode.OK


def _show_break(subject: Subject, where: Breakpoint, output: Output) -> ExitCode:
    stop = StopAt(where)
    night_of(subject, stop, lambda _: None).run()
    if stop.stopped is None:
        output.say("the run never comes there")
        output.summary(reached=False, exit_code=int(ExitCode.NOTHING))
        return ExitCode.NOTHING
    fact, state = stop.stopped
    output.say(fact_line(fact))
    _tell(state, output)
    return ExitCode.OK


def _step_through(subject: Subject, where: Breakpoint | None, output: Output) -> ExitCode:
    if output.form is not Form.PEOPLE or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputRefusedError(
            "there is nobody at a terminal to step", "use --break or --until in a program"
        )
    output.remark(HELP)
    night_of(subject, Stepper(lambda: input("? "), output.say, start=where), lambda _: None).run()
    return ExitCode.OK


def _tell(state: State, output: Output) -> None:
    for line in state.lines():
        output.say(line)
    for row in state.rows:
        output.record("standing", **msgspec.structs.asdict(row))
    output.summary(reached=True, at=state.at, exit_code=int(ExitCode.OK))
