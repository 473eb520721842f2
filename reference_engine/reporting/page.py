"""The report of one night as a single page that needs nothing but itself."""

from importlib import resources
from typing import Any, Final

import msgspec

from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.recovery_point import Consistency
from reference_engine.model.units import Instant
from reference_engine.model.wording import counted
from reference_engine.reporting import figures
from reference_engine.reporting.charts import charts_of
from reference_engine.reporting.heat_map import block_map, png_address, sent_in_vain, stretch_of
from reference_engine.reporting.history import History, history_of
from reference_engine.reporting.lanes import node_colours
from reference_engine.reporting.night import HeatRow, Night, PointRow, names_of, night_holds
from reference_engine.reporting.rendering import template_environment
from reference_engine.reporting.swimlane import point_shape, swimlane_of

PACKAGE: Final = "reference_engine.reporting"


class HeatLine(msgspec.Struct, frozen=True, kw_only=True):
    """One point's row of a heat map, in numbers."""

    point: RecoveryPointId
    clock: str
    shape: str
    """The point's symbol; empty for a point that the night does not list."""

    changed: int
    reconciled: int
    sent: int
    in_vain: int


class HeatPanel(msgspec.Struct, frozen=True, kw_only=True):
    """One disk's heat map, ready to be shown."""

    machine: str
    disk: str
    size: int
    stretch: int
    columns: int
    address: str
    lines: tuple[HeatLine, ...]


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table under the swimlane."""

    start: Instant
    end: Instant
    kind: str
    who: str
    what: str


def render_report(night: Night, /) -> str:
    """Return the page: one HTML document that loads nothing and shows everything."""
    panels = [_panel(row, night) for row in night.heat]
    environment = template_environment(PACKAGE)
    environment.filters |= {
        "counted": counted,
        "clock": figures.clock,
        "precise_clock": figures.precise_clock,
        "span": figures.span,
        "ms": figures.milliseconds,
        "bytes": figures.size,
        "shape": point_shape,
    }
    return environment.get_template("report.html.j2").render(
        night=night,
        holds=night_holds(night),
        tiles=_tiles(night),
        broken=[row for row in night.verdicts if row.holds is False],
        broken_points=[row for row in night.point_rows if row.holds is False],
        names=names_of(night),
        colours=node_colours(night),
        lanes=swimlane_of(night),
        incidents=_incidents(night, history_of(night)),
        panels=panels,
        panel_names=list(dict.fromkeys(panel.machine for panel in panels)),
        data=_script_data(night, panels),
        style=_asset("page.css"),
        script=_asset("page.js"),
        library=_asset("vega.min.js"),
    )


def _asset(name: str) -> str:
    return resources.files(PACKAGE).joinpath("assets", name).read_text("utf-8")


def _script_data(night: Night, panels: list[HeatPanel]) -> str:
    """Return the data of the page's scripts as JSON that cannot end its own element."""
    data: dict[str, Any] = {"charts": charts_of(night), "panels": _explained(panels)}
    return msgspec.json.encode(data).decode().replace("<", "\\u003c")


def _explained(panels: list[HeatPanel]) -> list[dict[str, Any]]:
    """Return what the script has to know of each panel to explain the place under the pointer."""
    return [
        {
            "size": panel.size,
            "stretch": panel.stretch,
            "points": [f"{line.point} at {line.clock}" for line in panel.lines],
        }
        for panel in panels
    ]


def _panel(row: HeatRow, night: Night) -> HeatPanel:
    points = {point.point: point for point in night.point_rows}
    drawn = block_map(row)
    return HeatPanel(
        machine=names_of(night).get(row.machine, row.machine),
        disk=row.disk,
        size=row.size,
        stretch=stretch_of(row),
        columns=drawn.shape[1],
        address=png_address(drawn),
        lines=tuple(
            HeatLine(
                point=point.point,
                clock=_clock(points.get(point.point)),
                shape=_shape(points.get(point.point)),
                changed=point.changed.total,
                reconciled=point.reconciled.total,
                sent=point.sent.total,
                in_vain=sent_in_vain(point).total,
            )
            for point in row.points
        ),
    )


def _clock(row: PointRow | None) -> str:
    return "" if row is None else figures.clock(row.instant)


def _shape(row: PointRow | None) -> str:
    return "" if row is None else point_shape(row)


def _tiles(night: Night) -> list[tuple[str, str, str]]:
    """Return the numbers at the top: figure, what it counts, what to know about it."""
    points = night.point_rows
    judged = [row for row in night.verdicts if row.holds is not None]
    application = sum(row.consistency is Consistency.APPLICATION for row in points)
    proved = sum(row.holds is True for row in points)
    skews = [row.skew for row in points if row.skew is not None]
    runs = history_of(night).runs
    repeated = sum(row.outcome == "RETRY-OK" for row in points)
    return [
        (
            f"{sum(row.holds is True for row in judged)} / {len(judged)}",
            "verdicts hold",
            f"{len(night.verdicts) - len(judged)} not judged",
        ),
        (f"{proved} / {len(points)}", "points proved", "restored and compared"),
        (
            str(application),
            "application-consistent",
            f"{len(points) - application} crash-consistent",
        ),
        (str(len(runs)), "runs", f"{counted(repeated, 'point')} took more than one"),
        (
            figures.span(max(skews)) if skews else "none",
            "longest skew",
            "no limit set"
            if night.skew_limit is None
            else f"limit {figures.span(night.skew_limit)}",
        ),
        (
            figures.size(sum(row.bytes_sent for row in points)),
            "sent",
            f"{figures.size(sum(row.bytes_truly_changed for row in points))} truly changed",
        ),
    ]


def _incidents(night: Night, history: History) -> list[Incident]:
    names = names_of(night)
    found = [
        Incident(
            start=move.start,
            end=move.end,
            kind="live migration",
            who=names.get(move.machine, move.machine),
            what=f"{move.source} to {move.target}"
            + {True: "", False: ", failed", None: ", never ended"}[move.succeeded],
        )
        for move in history.migrations
    ]
    found += [
        Incident(
            start=run.start,
            end=run.end,
            kind="run",
            who=names.get(run.run.machine, run.run.machine),
            what=f"run {run.run.epoch}: {run.outcome or 'no end reported'}"
            + (f", {run.cause}" if run.cause else ""),
        )
        for run in history.runs
    ]
    found += [
        Incident(start=fault.at, end=fault.at, kind="fault", who=fault.kind, what=fault.what)
        for fault in history.faults
    ]
    for kind, spans in (
        ("placement", history.residency),
        ("coordinator", history.ownership),
        ("redirected", history.redirections),
        ("outage", history.outages),
        ("freeze", history.freezes),
    ):
        shown = {str(key): name for key, name in names.items()}
        if kind not in {"placement", "freeze"}:
            shown = {}
        found += [
            Incident(
                start=span.start,
                end=span.end,
                kind=kind,
                who=shown.get(span.who, span.who),
                what=f"{span.state or 'no node'}: {span.why}"
                if kind in {"placement", "coordinator"}
                else span.why,
            )
            for span in spans
        ]
    return sorted(found, key=lambda entry: (entry.start, entry.end, entry.kind, entry.who))
