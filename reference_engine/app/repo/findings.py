"""What a check found, said to people and programs."""

from typing import Final

from reference_engine.app.output import Output, sized
from reference_engine.model.extents import ExtentSet
from reference_engine.verification.check import CheckResult
from reference_engine.verification.findings import PointDamage

_LISTED_MAX: Final = 20
"""Rows and ranges that people are shown; programs get all of them."""


def report(result: CheckResult, output: Output, /) -> None:
    """Write every finding."""
    rows: list[tuple[str, ...]] = [
        (each.object, each.problem.value, each.cause)
        for each in sorted(result.objects, key=lambda each: not each.problem.is_fault)
    ]
    for name, problem, cause in rows:
        output.record("object", name=name, problem=problem, cause=cause)
    if rows:
        output.table(("OBJECT", "PROBLEM", "DETAIL"), _cut(rows))
    report_damage(result.damage, output)
    if result.wanted:
        output.say(
            f"{result.wanted} damaged blocks will be stored anew by the next backup that reads them"
        )
    if result.given_up:
        output.say(f"not all was looked at: {result.given_up}")


def report_damage(damage: tuple[PointDamage, ...], output: Output, /) -> None:
    """Write what of which point cannot be read back."""
    rows: list[tuple[str, ...]] = []
    for each in damage:
        ranges = [list(pair) for pair in each.extents.bounds.tolist()]
        output.record(
            "damage",
            point=each.point,
            vm=each.machine,
            disk=each.disk,
            ranges=ranges,
            cause=each.cause,
        )
        rows.append(
            (each.point, each.machine, each.disk or "all", _ranges(each.extents), each.cause)
        )
    if rows:
        output.table(("POINT", "VM", "DISK", "LOST", "CAUSE"), _cut(rows))


def _ranges(extents: ExtentSet) -> str:
    if not extents:
        return "all"
    start, end = extents.bounds[0].tolist()
    more = len(extents.bounds) - 1
    rest = f" and {more} more" if more else ""
    return f"{sized(extents.total)} at {start}-{end}{rest}"


def _cut(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    if len(rows) <= _LISTED_MAX:
        return rows
    rest = ("...", f"{len(rows) - _LISTED_MAX} more (--json lists all)")
    return [*rows[:_LISTED_MAX], (*rest, *[""] * (len(rows[0]) - 2))]
