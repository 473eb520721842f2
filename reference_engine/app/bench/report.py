"""What a comparison is told as: a table, JSON records, and a page."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from reference_engine.app.bench.contestants import WRITING, Job
from reference_engine.app.bench.own import is_ours
from reference_engine.app.bench.samples import Finding, Row, Spread
from reference_engine.app.bench.scaling import PerTib, Step
from reference_engine.app.output import Output, sized
from reference_engine.app.repositories import Requests
from reference_engine.model.units import MIB, SECOND
from reference_engine.reporting.bars import Bar, BarPage, Chart, render_bars

COLUMNS: Final = (
    *("JOB", "TOOL", "CPU S", "MIN..MAX", "/ OURS", "WALL S", "MIN..MAX", "/ OURS"),
    *("MIB/S", "STORED", "/ OURS", "MEMORY", "EXACT"),
)
SCALING_COLUMNS: Final = (
    *("SIZE", "DATA", "JOB", "CPU S", "WALL S", "MIB/S", "STORED", "OBJECTS", "MEMORY"),
)
PER_TIB_COLUMNS: Final = (
    *("JOB", "CPU S", "MEMORY", "OBJECTS", "STORED", "PUT", "GET", "LIST", "DELETE"),
)


def tell(rows: Sequence[Row], findings: Sequence[Finding], output: Output, /) -> None:
    """Write one line for each job and tool, and one for each finding."""
    for row in rows:
        output.record("measurement", **row_record(row))
    if rows:
        output.table(COLUMNS, [row_cells(row) for row in rows])
    for finding in findings:
        output.say(
            f"FAIL {finding.tool}, {finding.job.value}, run {finding.run + 1}: {finding.what}"
        )
        output.record(
            "finding",
            tool=finding.tool,
            job=finding.job.value,
            run=finding.run,
            what=finding.what,
            wrong_restore=finding.is_wrong_restore,
        )


def row_record(row: Row, /) -> dict[str, Any]:
    """Return a row for programs."""
    record: dict[str, Any] = msgspec.to_builtins(row)
    renamed = {"peak_memory": "peak_memory_bytes", "stored": "stored_bytes", "speed": "mib_per_s"}
    return {renamed.get(name, name): value for name, value in record.items()}


def row_cells(row: Row, /) -> tuple[str, ...]:
    """Return a row as people read it."""
    return (
        row.job.value,
        row.tool,
        f"{row.cpu_s.median:.2f}",
        _range(row.cpu_s),
        _times(row.cpu_ratio),
        f"{row.wall_s.median:.2f}",
        _range(row.wall_s),
        _times(row.wall_ratio),
        f"{row.speed:.0f}",
        "-" if row.stored is None else sized(row.stored),
        _times(row.stored_ratio),
        sized(row.peak_memory),
        {True: "yes", False: "NO", None: "-"}[row.exact],
    )


def render_page(
    rows: Sequence[Row],
    findings: Sequence[Finding],
    /,
    *,
    title: str,
    under: str,
    facts: Sequence[tuple[str, str]],
) -> str:
    """Return the page of a comparison."""
    jobs = tuple(job for job in Job if any(row.job is job for row in rows))
    charts: list[Chart] = []
    for job in jobs:
        of_job = [row for row in rows if row.job is job]
        charts.append(
            Chart(title=f"{job.value}: CPU seconds", bars=tuple(_cpu_bar(row) for row in of_job))
        )
        if job in WRITING:
            charts.append(
                Chart(title=f"{job.value}: stored", bars=tuple(_stored_bar(row) for row in of_job))
            )
        else:
            charts.append(
                Chart(title=f"{job.value}: memory", bars=tuple(_memory_bar(row) for row in of_job))
            )
    wrong = any(finding.is_wrong_restore for finding in findings)
    return render_bars(
        BarPage(
            title=title,
            under=under,
            holds=not findings,
            verdict="A restore was wrong"
            if wrong
            else ("A tool failed" if findings else "Every restore is bit-exact"),
            alarms=tuple(f"{each.tool}, {each.job.value}: {each.what}" for each in findings),
            facts=tuple(facts),
            charts=tuple(charts),
            columns=tuple(column.lower() for column in COLUMNS),
            rows=tuple(row_cells(row) for row in rows),
        )
    )


def tell_scaling(steps: Sequence[Step], costs: Sequence[PerTib], output: Output, /) -> None:
    """Write one line for each size and job, then what a TiB of data costs."""
    cells: list[tuple[str, ...]] = []
    for step in steps:
        for sample in step.samples:
            wall = sample.cost.wall / SECOND
            cells.append(
                (
                    sized(step.size),
                    sized(step.data),
                    sample.job.value,
                    f"{sample.cost.cpu / SECOND:.2f}",
                    f"{wall:.2f}",
                    f"{step.size / MIB / max(wall, 1e-6):.0f}",
                    "-" if sample.stored is None else sized(sample.stored),
                    str(sample.objects),
                    sized(sample.cost.peak_memory),
                )
            )
            output.record(
                "step",
                size=step.size,
                data=step.data,
                tool=sample.tool,
                job=sample.job.value,
                cpu_s=sample.cost.cpu / SECOND,
                wall_s=wall,
                stored_bytes=sample.stored,
                objects=sample.objects,
                peak_memory_bytes=sample.cost.peak_memory,
                requests=None if sample.requests is None else msgspec.to_builtins(sample.requests),
            )
    output.table(SCALING_COLUMNS, cells)
    if costs:
        output.say("for each TiB of data, from the smallest size to the largest:")
        output.table(PER_TIB_COLUMNS, [_cost_cells(cost) for cost in costs])
    for cost in costs:
        output.record("per-tib", **msgspec.to_builtins(cost))


def _cost_cells(cost: PerTib) -> tuple[str, ...]:
    return (
        cost.job.value,
        f"{cost.cpu_s:.0f}",
        sized(cost.memory),
        str(cost.objects),
        "-" if cost.stored is None else sized(cost.stored),
        *_asked(cost.requests),
    )


def _asked(requests: Requests | None) -> tuple[str, ...]:
    if requests is None:
        return ("-",) * 4
    asked = (requests.put, requests.get, requests.list, requests.delete)
    return tuple(str(count) for count in asked)


def _cpu_bar(row: Row) -> Bar:
    return Bar(
        label=row.tool,
        median=row.cpu_s.median,
        least=row.cpu_s.least,
        most=row.cpu_s.most,
        said=f"{row.cpu_s.median:.2f} s",
        note="" if row.cpu_ratio is None else f"{row.cpu_ratio:.2f} x ours",
        is_ours=is_ours(row.tool),
    )


def _stored_bar(row: Row) -> Bar:
    amount = row.stored or 0
    return Bar(
        label=row.tool,
        median=amount,
        least=amount,
        most=amount,
        said=sized(amount),
        note="" if row.stored_ratio is None else f"{row.stored_ratio:.2f} x ours",
        is_ours=is_ours(row.tool),
    )


def _memory_bar(row: Row) -> Bar:
    amount = row.peak_memory
    return Bar(
        label=row.tool,
        median=amount,
        least=amount,
        most=amount,
        said=sized(amount),
        note="",
        is_ours=is_ours(row.tool),
    )


def _range(spread: Spread) -> str:
    return f"{spread.least:.2f}..{spread.most:.2f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"
