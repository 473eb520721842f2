"""`twinshot bench compare`: what became slower or larger from one result to the next."""

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from reference_engine.app.bench.amounts import fraction
from reference_engine.app.bench.comparing import Compared, Judgement, compare_results
from reference_engine.app.bench.results import read_result
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, sized
from reference_engine.model.errors import InputRefusedError


def compare(
    before: Path,
    after: Path,
    /,
    *,
    fail_above: str = "5%",
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Hold two results against each other; more CPU time or stored bytes of ours is a finding.

    Args:
        before: A `result.json` of `bench sync`, or a file of pytest-benchmark.
        after: The later one.
        fail_above: By how much a median may grow.
        output: Where results go.
    """
    limit = fraction(fail_above)
    comparison = compare_results(read_result(before), read_result(after), limit)
    if not comparison.figures:
        raise InputRefusedError(
            f"{before} and {after} have no benchmark in common", "compare runs of the same jobs"
        )
    for figure in comparison.figures:
        output.record("figure", **msgspec.to_builtins(figure))
    output.table(
        ("BENCHMARK", "METRIC", "BEFORE", "AFTER", "CHANGE", "JUDGEMENT"),
        [_cells(figure) for figure in comparison.figures],
    )
    if not comparison.same_image:
        output.say("the disk images differ, so the figures do not tell of the engine alone")
    for name in comparison.only_before:
        output.say(f"only in {before}: {name}")
    for name in comparison.only_after:
        output.say(f"only in {after}: {name}")
    worse = comparison.worse
    output.say(f"{len(worse)} of {len(comparison.figures)} figures worse by more than {limit:.1%}")
    code = ExitCode.FINDING if worse else ExitCode.OK
    output.summary(
        figures=len(comparison.figures),
        worse=[f"{each.name}: {each.metric}" for each in worse],
        same_image=comparison.same_image,
        only_before=comparison.only_before,
        only_after=comparison.only_after,
        exit_code=int(code),
    )
    return code


def _cells(figure: Compared) -> tuple[str, ...]:
    said = figure.judgement.value
    if figure.judgement is Judgement.WORSE and figure.overlaps:
        said += ", though single runs overlap"
    return (
        figure.name,
        figure.metric,
        _amount(figure.before, figure.metric),
        _amount(figure.after, figure.metric),
        f"{figure.change:+.1%}",
        said,
    )


def _amount(value: float, metric: str) -> str:
    return f"{value:.3f}" if metric.endswith(" s") else sized(round(value))
