"""`twinshot shrink`: a failing scenario, made as small as it can be and still fail."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.mutants import with_mutant
from simulator.campaign.shrinking.shrinker import RUNS_MOST, HoldsError, Shrinker
from simulator.campaign.sources import source_named
from simulator.campaign.trial import Subject
from simulator.scenario.schema import Scenario
from simulator.scenario.writing import as_toml


def shrink(
    failure: str,
    /,
    *,
    to: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    runs: int = RUNS_MOST,
    mutant: str | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Make a failing scenario as small as it can be while the same invariant breaks.

    Args:
        failure: Scenario file, result.json of a report or the directory that it is in, or the
            number of a seed.
        to: File for the smaller scenario; without it, beside the failure.
        runs: How many runs it may take.
        mutant: The bug that was planted in the engine when it failed.
        output: Where results go.
    """
    if runs < 1:
        raise InputRefusedError(f"{runs} runs show nothing", "give at least one with --runs")
    source = source_named(failure)
    file = to or _beside(failure)
    if file.exists() and to is None:
        raise InputRefusedError(f"{file} exists", "name another file with -o")
    with source, with_mutant(mutant), output.steps("shrinking", runs) as advance:
        try:
            shrunk = Shrinker(_whole(source.subjects), runs=runs, told=advance).shrink()
        except HoldsError:
            raise InputRefusedError(
                f"{failure} breaks nothing that could be shrunk",
                "name a scenario that fails, and the --mutant if there was one",
            ) from None
    comment = "" if mutant is None else f"# with the mutant {mutant} planted\n"
    try:
        file.write_text(comment + as_toml(shrunk.scenario), encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise InputRefusedError(
            f"{file} cannot be written: {reason}", "name another file with -o"
        ) from None
    planted = "" if mutant is None else f" --mutant {mutant}"
    output.say(shrunk.story)
    output.say(f"replay: twinshot replay {file}{planted}")
    if not shrunk.complete:
        output.remark(f"the {runs} runs are used up; more may be left out with more --runs")
    output.summary(
        scenario=str(file),
        story=shrunk.story,
        invariant=shrunk.breach.invariant,
        happenings=len(shrunk.scenario.happenings),
        nodes=len(shrunk.scenario.nodes),
        machines=len(shrunk.scenario.machines),
        runs=shrunk.runs,
        complete=shrunk.complete,
        exit_code=int(ExitCode.OK),
    )
    return ExitCode.OK


def _beside(failure: str) -> Path:
    path = Path(failure)
    return Path(f"seed-{failure}-shrunk.toml") if failure.isdecimal() else _shrunk_name(path)


def _shrunk_name(path: Path) -> Path:
    return path.with_name(f"{path.stem}-shrunk.toml")


def _whole(subjects: tuple[Subject, ...]) -> Scenario:
    """Return the one scenario to shrink, its variant's happenings among its own."""
    if len(subjects) != 1 or subjects[0].images:
        raise InputRefusedError(
            "only one trial without real disk images can be shrunk",
            "name the result.json of the trial that failed",
        )
    [subject] = subjects
    scenario, variant = subject.scenario, subject.variant
    return scenario.model_copy(
        update={
            "seed": subject.seed,
            "happenings": scenario.happenings + (() if variant is None else variant.happenings),
            "expect": scenario.expect + (() if variant is None else variant.expect),
            "variants": (),
        }
    )
