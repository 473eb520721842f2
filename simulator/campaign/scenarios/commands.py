"""`twinshot scenario`: list, show, check, new, schema."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Form, Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.processes import spread
from simulator.campaign.scenarios.around import Around, Subject, parse_seeds, titles, try_around
from simulator.campaign.scenarios.drawing import drawing_of
from simulator.campaign.scenarios.json_schema import FILE_NAME, json_schema, schema_text
from simulator.campaign.scenarios.template import TEMPLATE
from simulator.scenario.library import library, one_scenario_file, scenario_files
from simulator.scenario.reading import ScenarioRefusedError, read_scenario
from simulator.scenario.schema import Scenario
from simulator.scenario.writing import as_data

Shown = Annotated[Output, Parameter(parse=False)]


def list_(
    *scenarios: str,
    tag: tuple[str, ...] = (),
    output: Shown,
) -> ExitCode:
    """List scenarios: catalogue number, why, what must come of them, tags.

    Args:
        scenarios: Scenario files, directories of them, or names and catalogue numbers of
            Twinshot's own; without any, all of these.
        tag: Only scenarios with this tag (theme, back end, application or kind of happening). May
            be repeated: then all of them.
        output: Where results go.
    """
    places = scenarios or (library(),)
    rows = []
    for file in scenario_files(places):
        scenario = read_scenario(file)
        tags = tags_of(scenario, file)
        if all(wanted in tags for wanted in tag):
            rows.append((file, scenario, tags))
    for file, scenario, tags in rows:
        output.record(
            "scenario",
            name=file.stem,
            file=str(file),
            catalogue=scenario.catalogue,
            why=scenario.why,
            expected=expected_of(scenario),
            variants=[variant.id for variant in scenario.variants],
            tags=tags,
        )
    if rows:
        output.table(
            ("NAME", "NUMBER", "EXPECTED", "WHY", "TAGS"),
            [
                (
                    file.stem,
                    scenario.catalogue or "-",
                    ", ".join(expected_of(scenario)) or "-",
                    scenario.why,
                    " ".join(tags),
                )
                for file, scenario, tags in rows
            ],
        )
    code = ExitCode.OK if rows else ExitCode.NOTHING
    output.summary(scenarios=len(rows), exit_code=int(code))
    if not rows:
        output.remark("no scenario has these tags; leave --tag out to see which there are")
    return code


def tags_of(scenario: Scenario, file: Path, /) -> list[str]:
    """Return what a scenario is about: its theme, back ends, applications, kinds of happenings."""
    happenings = [*scenario.happenings]
    happenings += [each for variant in scenario.variants for each in variant.happenings]
    ends = sorted({scenario.back_end, *(node.back_end or "" for node in scenario.nodes)} - {""})
    programs = sorted({each.application for each in scenario.machines if each.application})
    kinds = sorted({each.kind for each in happenings})
    return list(dict.fromkeys([file.parent.name, *ends, *programs, *kinds]))


def expected_of(scenario: Scenario, /) -> list[str]:
    """Return the outcomes that the scenario's expectations allow, in the order in which it does."""
    expectations = [*scenario.expect]
    expectations += [each for variant in scenario.variants for each in variant.expect]
    allowed = [outcome for each in expectations for outcome in each.outcome or ()]
    return [outcome.value for outcome in dict.fromkeys(allowed)]


def show(scenario: str, /, *, output: Shown) -> ExitCode:
    """Draw a scenario: who is where, what happens when, what must come of it.

    Args:
        scenario: A scenario file, or the name or catalogue number of one of Twinshot's own.
        output: Where results go.
    """
    found = read_scenario(one_scenario_file(scenario))
    for line in drawing_of(found):
        output.say(line)
    output.record("scenario", **as_data(found))
    output.summary(exit_code=int(ExitCode.OK))
    return ExitCode.OK


def check(
    *files: str,
    seeds: str | None = None,
    jobs: Annotated[int, Parameter(name=("--jobs", "-j"))] = 1,
    output: Shown,
) -> ExitCode:
    """Say whether scenario files can be run, and all that is wrong with those that cannot.

    With `--seeds`, run each of them under every seed, and say what does not hold.

    Args:
        files: Scenario files, directories of them, or names and catalogue numbers of Twinshot's
            own.
        seeds: First and last seed, as `1..50`: other draws of chance around the same schedule.
        jobs: Worker processes.
        output: Where results go.
    """
    if jobs < 1:
        raise InputRefusedError(f"{jobs} processes cannot work", "give at least one with -j")
    around = None if seeds is None else parse_seeds(seeds)
    if not files:
        raise InputRefusedError("no file was named", "name scenario files or directories of them")
    checked = scenario_files(files)
    refused = 0
    for file in checked:
        complaints = _complaints(file)
        refused += bool(complaints)
        output.record("file", file=str(file), usable=not complaints, complaints=list(complaints))
        for complaint in complaints:
            output.say(complaint)
        if not complaints:
            output.say(f"{file}: can be run")
    if around is not None and not refused:
        return _check_around(checked, around, jobs, output)
    code = ExitCode.INPUT if refused else ExitCode.OK
    output.summary(files=len(checked), refused=refused, exit_code=int(code))
    return code


def _check_around(files: list[Path], seeds: range, jobs: int, output: Output) -> ExitCode:
    work = [Subject(file, title, seeds) for file, title in titles(files)]
    order = {each.title: number for number, each in enumerate(work)}
    results: list[Around] = []
    with output.steps("scenarios", len(work)) as advance:
        for result in spread(try_around, work, jobs=jobs):
            results.append(result)
            advance(len(results), f"{sum(len(each.breaches) for each in results)} seeds broken")
    results.sort(key=lambda each: order[each.title])
    for each in results:
        output.record("scenario", **msgspec.to_builtins(each))
    output.table(
        ("SCENARIO", "SEEDS", "HOLD", "BROKEN", "CPU"),
        [
            (
                each.title,
                str(each.seeds),
                str(each.seeds - len(each.breaches)),
                " ".join(str(breach.seed) for breach in each.breaches) or "-",
                f"{each.cpu_s:.1f}s",
            )
            for each in results
        ],
    )
    broken = [each for each in results if each.breaches]
    for each in broken:
        first = each.breaches[0]
        output.say(f"FAIL {each.title}: {'; '.join(first.broken)}")
        output.say(f"     twinshot simulate {each.file} --seed {first.seed}")
    code = ExitCode.FINDING if broken else ExitCode.OK
    output.summary(
        scenarios=len(results),
        seeds=len(seeds),
        runs=len(results) * len(seeds),
        broken=sum(len(each.breaches) for each in results),
        exit_code=int(code),
    )
    return code


def _complaints(file: Path) -> tuple[str, ...]:
    try:
        read_scenario(file)
    except ScenarioRefusedError as refused:
        return refused.complaints
    return ()


def new(file: Path, /, *, output: Shown) -> ExitCode:
    """Write a scenario to begin with, which runs as it is, and the schema for editors beside it.

    Args:
        file: The file to write; nothing is overwritten.
        output: Where results go.
    """
    schema = file.parent / FILE_NAME
    written = [file]
    _write_new(file, TEMPLATE)
    if not schema.exists():
        _write_new(schema, schema_text())
        written.append(schema)
    _say_written(written, output)
    output.say(f"run      twinshot simulate {file}")
    output.summary(files=[str(each) for each in written], exit_code=int(ExitCode.OK))
    return ExitCode.OK


def _say_written(files: Iterable[Path], output: Output) -> None:
    for each in files:
        output.say(f"wrote    {each}")


def _write_new(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputRefusedError(f"{file} is there already", "name another file") from None
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "no usable name").lower()
        raise InputRefusedError(f"{file} cannot be written: {reason}", "name another") from None


def schema(*, to: Path | None = None, output: Shown) -> ExitCode:
    """Write the JSON Schema of scenario files, which editors complete and check them by.

    A file whose first line is `#:schema scenario.schema.json` is checked in editors that know
    Taplo, such as Even Better TOML.

    Args:
        to: A file for it; it is replaced. Without one it goes to standard output.
        output: Where results go.
    """
    described: dict[str, Any] = json_schema()
    if to is None:
        if output.form is Form.PEOPLE:
            output.say(schema_text().rstrip())
        output.record("schema", schema=described)
    else:
        try:
            to.write_text(schema_text(), encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or "no usable name").lower()
            raise InputRefusedError(f"{to} cannot be written: {reason}", "name another") from None
        _say_written([to], output)
    output.summary(exit_code=int(ExitCode.OK))
    return ExitCode.OK
