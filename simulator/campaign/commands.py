"""`twinshot simulate`: run scenarios, say what came of them, draw it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, sized
from reference_engine.model.units import HOUR, Duration, Instant
from reference_engine.model.wording import counted
from reference_engine.reporting.night import MachineRow, Tally
from simulator.campaign.images import file_digest, opened_images
from simulator.campaign.repetition import Repetition
from simulator.campaign.report_files import ReportDirectory
from simulator.campaign.sources import Source, parse_seed
from simulator.campaign.telling import SCHEMA, machine_rows, point_record, point_rows, result_record
from simulator.campaign.trial import Subject, Trial, run_trial, subjects_of
from simulator.scenario.library import library, one_scenario_file, scenario_files
from simulator.scenario.reading import read_scenario
from simulator.scenario.schema import Scenario
from simulator.scenario.topology import Disk

REPORTS: Final = Path("reports") / "latest"
_MOST_REPORTS: Final = 4
"""With more trials than this, only those that failed get a report each."""


def simulate(
    *scenarios: str,
    seed: str | None = None,
    out: Path = REPORTS,
    disk: Annotated[tuple[Path, ...], Parameter(negative=(), show_default=False)] = (),
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Run scenarios against a simulated cluster and prove every recovery point bit-exact.

    Without a scenario: a night of twelve hours in a cluster of three nodes.

    Args:
        scenarios: Scenario files, directories of them, or names and catalogue numbers of
            Twinshot's own, as `twinshot scenario list` shows them.
        seed: Seed of every run, in place of the scenarios' own.
        out: Directory of the report; an earlier report there is replaced.
        disk: Disk image to put into a simulated guest; it is only read. May be repeated.
        output: Where results go.
    """
    with _prepared(scenarios, disk, None if seed is None else parse_seed(seed)) as prepared:
        return try_all(prepared, out, output, mutant=None)


@contextmanager
def _prepared(
    names: tuple[str, ...], disks: tuple[Path, ...], seed: int | None
) -> Iterator[Source]:
    if disks:
        own = library() / "baseline" / "real_disk.toml"
        place = one_scenario_file(names[0]) if names else own
        given = [_with_disks(read_scenario(place), disks)]
        files = [Path.cwd() / place.name]
    else:
        files = scenario_files(names or (library() / "baseline" / "first_night.toml",))
        given = [read_scenario(file) for file in files]
    with ExitStack() as stack:
        subjects: list[Subject] = []
        found: dict[str, Path] = {}
        for file, scenario in zip(files, given, strict=True):
            images, sources = stack.enter_context(opened_images(scenario, file.parent))
            found |= sources
            subjects += subjects_of(scenario, name=file.stem, path=file, seed=seed, images=images)
        yield Source(tuple(subjects), found, (), stack.pop_all())


def _with_disks(scenario: Scenario, disks: tuple[Path, ...]) -> Scenario:
    """Return the scenario with its first machine's disks replaced by real images."""
    first = scenario.machines[0]
    volume = first.disks[0].volume
    held = [Disk(volume=volume, image=str(disk.absolute())) for disk in disks]
    machine = first.model_copy(update={"disks": held})
    return scenario.model_copy(update={"machines": [machine, *scenario.machines[1:]]})


def try_all(prepared: Source, out: Path, output: Output, /, *, mutant: str | None) -> ExitCode:
    """Run and judge everything, write the report, and say what came of it.

    `mutant` is planted already; only the repetition in another process has to be told of it.
    """
    directory = ReportDirectory(out)
    failed: list[str] = []
    records: list[dict[str, Any]] = []
    repetition: Repetition | None = None
    try:
        directory.begin()
        repetition = Repetition(prepared.subjects, mutant=mutant)
        before = {name: file_digest(path) for name, path in prepared.files.items()}
        for index, subject in enumerate(prepared.subjects):
            trial = _try_one(subject, prepared, before, repetition, output)
            single = len(prepared.subjects) == 1
            if single or not trial.holds or len(prepared.subjects) <= _MOST_REPORTS:
                directory.write_trial(
                    trial, within="." if single else _folder(trial), images=before
                )
            _tell(trial, output) if single else _tell_briefly(trial, output)
            if not trial.holds:
                failed.append(trial.subject.title)
            if prepared.digests and trial.digest != prepared.digests[index]:
                output.say(
                    f"FAIL {subject.title}: trace digest {prepared.digests[index]} was recorded"
                )
                failed.append(trial.subject.title)
            elif prepared.digests:
                output.say(f"ok   {subject.title}: event for event as recorded")
            records.append(_trial_record(trial))
        if len(records) > 1:
            directory.write_summary({"schema": SCHEMA, "trials": records})
        directory.publish()
    finally:
        if repetition is not None:
            repetition.stop()
        directory.abandon()
    code = ExitCode.FINDING if failed else ExitCode.OK
    if len(records) > 1:
        output.say(f"{len(records) - len(failed)} of {len(records)} hold; report in {out}")
    else:
        output.say(f"report   {out / 'report.html'}")
        output.say(f"restore  twinshot points --repo {out / 'repository'}")
        output.say(f"again    twinshot replay {out / 'result.json'}")
    output.summary(
        trials=len(records),
        failed=failed,
        trace_digest=records[0]["trace_digest"] if len(records) == 1 else None,
        report=str(out),
        exit_code=int(code),
    )
    return code


def _try_one(
    subject: Subject,
    prepared: Source,
    before: dict[str, str],
    repetition: Repetition,
    output: Output,
) -> Trial:
    def unchanged() -> dict[str, bool]:
        return {name: file_digest(path) == before[name] for name, path in prepared.files.items()}

    # The night itself is about two thirds of the work, restoring everything again the rest.
    hours = subject.scenario.duration
    with output.steps(subject.title, 3 * hours) as advance:

        def progress(now: Instant) -> None:
            advance(2 * min(now, hours), f"{now / HOUR:.1f} h simulated, every point restored")

        def restored(done: int, total: int) -> None:
            advance(2 * hours + hours * done // total, f"{done} of {total} points restored again")

        return run_trial(
            subject,
            restore_again=True,
            progress=progress,
            restored=restored,
            second_digest=repetition.digest,
            sources_unchanged=unchanged,
        )


def _folder(trial: Trial) -> str:
    return trial.subject.title.replace("[", "-").replace("]", "")


def _trial_record(trial: Trial) -> dict[str, Any]:
    return result_record(trial, point_rows(trial), images={})


def _tell_briefly(trial: Trial, output: Output) -> None:
    broken = [verdict for verdict in trial.verdicts if verdict.holds is False]
    points = counted(len(trial.evidence.visible), "point")
    output.say(f"{'FAIL' if broken else 'ok  '} {trial.subject.title}: {points}")
    for verdict in broken:
        output.say(f"       {verdict.invariant} {verdict.title}: {verdict.detail}")
    output.record(
        "trial",
        name=trial.subject.title,
        seed=trial.subject.seed,
        holds=trial.holds,
        points=points,
        trace_digest=trial.digest,
        broken=[verdict.invariant for verdict in broken],
    )


def _tell(trial: Trial, output: Output) -> None:
    rows = point_rows(trial)
    points = {point.id: point for point in trial.evidence.points()}
    for row in rows:
        output.record("point", **point_record(points[row.point], row))
    scenario = trial.subject.scenario
    output.say(f"{trial.subject.title} · seed {trial.subject.seed} · {scenario.why}")
    output.table(
        (
            "VM",
            "POINTS",
            "LABELS",
            "TRANSFERS",
            "READ",
            "SENT",
            "CHANGED",
            "SKEW MIN/MED/MAX",
            "R MAX",
            "OUTCOMES",
        ),
        [_machine_line(row) for row in machine_rows(trial, rows)],
    )
    for verdict in trial.verdicts:
        word = {True: "ok  ", False: "FAIL", None: "-   "}[verdict.holds]
        detail = f": {verdict.detail}" if verdict.detail else ""
        output.say(
            f"{word} {verdict.invariant:<4} {verdict.title} ({verdict.checked:,} checks){detail}"
        )
        output.record(
            "verdict",
            id=verdict.invariant,
            title=verdict.title,
            holds=verdict.holds,
            checked=verdict.checked,
            detail=verdict.detail,
        )
    output.say(f"trace digest {trial.digest} (seed {trial.subject.seed})")


def _machine_line(row: MachineRow) -> tuple[str, ...]:
    return (
        row.machine,
        str(row.points),
        _tally(row.labels),
        _tally(row.transfers),
        sized(row.bytes_read),
        sized(row.bytes_sent),
        sized(row.bytes_truly_changed),
        "/".join(_seconds(skew) for skew in (row.skew_min, row.skew_median, row.skew_max)),
        sized(row.skew_bytes_max),
        _tally(row.outcomes),
    )


def _tally(entries: tuple[Tally, ...]) -> str:
    return ", ".join(f"{entry.count} {entry.label}" for entry in entries) or "-"


def _seconds(amount: Duration | None) -> str:
    return "-" if amount is None else f"{amount / 1e6:.1f}s"
