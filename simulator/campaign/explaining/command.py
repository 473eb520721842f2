"""`twinshot explain`: why a recovery point is what it is."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.catalogue.points import PointLabel, select_point
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.identity import RunTag
from reference_engine.trace.engine import RunOpened
from simulator.campaign.commands import REPORTS
from simulator.campaign.explaining.page import render_story
from simulator.campaign.explaining.story import story_of
from simulator.campaign.mutants import with_mutant
from simulator.campaign.sources import source_named
from simulator.campaign.trial import Trial, run_trial


def explain(
    point: str,
    /,
    *,
    source: Annotated[str, Parameter(name="--from")] = str(REPORTS / "result.json"),
    page: Path | None = None,
    mutant: str | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Tell how a recovery point came about, or a run that made none.

    The run is repeated for it: a result or a scenario file is all that is needed.

    Args:
        point: Id of the point or its beginning, a machine's name for its newest, `latest`, or a
            run such as vm1#3.
        source: result.json of a report or the directory that it is in, scenario file, name or
            catalogue number of one of Twinshot's own, or the number of a seed.
        page: HTML file to write with a timeline.
        mutant: The bug that was planted in the engine.
        output: Where results go.
    """
    with source_named(source) as named, with_mutant(mutant):
        if len(named.subjects) != 1:
            raise InputRefusedError(
                f"{source} holds {len(named.subjects)} runs of a scenario",
                "name the result.json of one of them with --from",
            )
        trial = run_trial(named.subjects[0], restore_again=False)
    story = story_of(trial, _run_named(trial, point))
    for line in story.lines():
        output.say(line)
    if page is not None:
        try:
            page.write_text(render_story(story), encoding="utf-8")
        except OSError as error:
            reason = (error.strerror or "no reason given").lower()
            raise InputRefusedError(
                f"{page} cannot be written: {reason}", "name another file with --page"
            ) from None
        output.say(f"page     {page}")
    output.record("story", **msgspec.structs.asdict(story))
    output.summary(title=story.title, exit_code=int(ExitCode.OK))
    return ExitCode.OK


def _run_named(trial: Trial, text: str) -> RunTag:
    if re.fullmatch(r".+#\d+", text):
        runs = [fact.run for fact in trial.evidence.facts if isinstance(fact, RunOpened)]
        found = next((run for run in runs if str(run) == text), None)
        if found is None:
            listed = ", ".join(map(str, runs[:8])) + (", ..." if len(runs) > 8 else "")
            raise InputRefusedError(f"there is no run {text!r}", f"choose from {listed or 'none'}")
        return found
    points = {point.id: point for point in trial.evidence.points()}
    labels = [
        PointLabel(point=point.id, machine=point.machine.id, name=point.machine.name)
        for point in points.values()
    ]
    return points[select_point(labels, text).point].run
