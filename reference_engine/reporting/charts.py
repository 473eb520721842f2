"""Vega-Lite specifications of the charts that the page's script draws.

Colours are the page's own custom properties, so that one drawing suits light, dark and paper.
"""

from typing import Any, Final

from reference_engine.model.units import MILLISECOND, SECOND
from reference_engine.reporting.figures import clock, precise_clock, size, span, ticks, unit_for
from reference_engine.reporting.night import Night, PointRow, names_of
from reference_engine.reporting.swimlane import point_shape

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

FAR: Final = 4
"""A limit this many times above all values would squeeze them flat on a linear axis."""

LABELS: Final = ("application", "over the limit", "crash (no Tg)", "failed")
COLOURS: Final = ("var(--good)", "var(--bad-ink)", "var(--crash)", "var(--bad-ink)")
SHAPES: Final = ("circle", "diamond", "triangle-up", "cross")
BARS: Final = ("read", "sent", "truly changed")


def charts_of(night: Night, /) -> dict[str, Spec]:
    """Return the specification of each chart by the name of its place in the page."""
    rows = _skew_rows(night)
    return {
        "skew-time": _skew_over_time(night, rows),
        "skew-machine": _skew_by_machine(night, rows),
        "bytes": _bytes(night),
    }


def _frame(**parts: Any) -> Spec:
    axis = {
        "labelColor": "var(--ink-soft)",
        "titleColor": "var(--ink-soft)",
        "titleFontWeight": "normal",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "labelLimit": 110,
    }
    legend = {
        "labelColor": "var(--ink)",
        "titleColor": "var(--ink-soft)",
        "orient": "top",
        "title": None,
        "labelFontSize": 12,
        "symbolSize": 90,
        "labelLimit": 400,
        "columns": 2,
    }
    return {
        "width": "container",
        "background": "transparent",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": {
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "axis": axis,
            "legend": legend,
        },
        **parts,
    }


def _kind(row: PointRow, night: Night) -> str:
    shape = point_shape(row)
    if shape == "failed":
        return "failed"
    if row.skew is None:
        return "crash (no Tg)"
    is_over = night.skew_limit is not None and row.skew > night.skew_limit
    return "over the limit" if is_over else "application"


def _skew_rows(night: Night) -> list[Spec]:
    names = names_of(night)
    return [
        {
            "second": row.instant / SECOND,
            "skew": (row.skew or 0) / MILLISECOND,
            "kind": _kind(row, night),
            "machine": names.get(row.machine, row.machine),
            "point": row.point,
            "when": precise_clock(row.instant),
            "said": "no Tg" if row.skew is None else span(row.skew),
        }
        for row in night.point_rows
    ]


def _points() -> Spec:
    domain = {"domain": list(LABELS)}
    return {
        "mark": {
            "type": "point",
            "filled": True,
            "size": 70,
            "opacity": 0.9,
            "stroke": "var(--page)",
            "strokeWidth": 1,
        },
        "encoding": {
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {**domain, "range": list(COLOURS)},
            },
            "shape": {
                "field": "kind",
                "type": "nominal",
                "scale": {**domain, "range": list(SHAPES)},
            },
            "tooltip": [
                {"field": "machine", "type": "nominal", "title": "machine"},
                {"field": "point", "type": "nominal", "title": "point"},
                {"field": "when", "type": "nominal", "title": "instant"},
                {"field": "said", "type": "nominal", "title": "Th - Tg"},
                {"field": "kind", "type": "nominal", "title": "kind"},
            ],
        },
    }


def _skew_axis(night: Night, rows: list[Spec]) -> Spec:
    limit = (night.skew_limit or 0) / MILLISECOND
    is_far = limit > FAR * max((row["skew"] for row in rows), default=0)
    scale = {"type": "symlog", "constant": 100} if is_far else {"type": "linear", "zero": True}
    return {
        "field": "skew",
        "type": "quantitative",
        "title": "Th - Tg in ms",
        "scale": scale,
        "axis": {"tickCount": 6},
    }


def _limit(night: Night, channel: str) -> list[Spec]:
    if night.skew_limit is None:
        return []
    value = {channel: {"datum": night.skew_limit / MILLISECOND, "type": "quantitative"}}
    is_level = channel == "y"
    text = {
        "type": "text",
        "text": f"limit {span(night.skew_limit)}",
        "align": "right" if is_level else "left",
        "baseline": "bottom" if is_level else "top",
        "dx": -4 if is_level else 4,
        "dy": -3 if is_level else 2,
        "color": "var(--bad-ink)",
        **({"x": "width"} if is_level else {"y": 0}),
    }
    rule = {"type": "rule", "color": "var(--bad)", "strokeDash": [6, 4], "strokeWidth": 1.5}
    # With the points' data, the rule and its words would be drawn once for every point.
    once: Spec = {"values": [{}]}
    return [{"data": once, "mark": drawn, "encoding": value} for drawn in (rule, text)]


def _skew_over_time(night: Night, rows: list[Spec]) -> Spec:
    x = {
        "field": "second",
        "type": "quantitative",
        "title": "simulated time",
        "scale": {"domain": [night.start / SECOND, night.end / SECOND], "nice": False},
        "axis": {
            "values": [at // SECOND for at in ticks(night.start, night.end)],
            "labelExpr": "format(floor(datum.value / 3600), '02') + ':' "
            "+ format(floor(datum.value / 60) % 60, '02') "
            "+ (datum.value % 60 ? ':' + format(datum.value % 60, '02') : '')",
        },
    }
    points = _points()
    points["encoding"] |= {"x": x, "y": _skew_axis(night, rows)}
    return _frame(
        height=250,
        description=f"Skew of {len(rows)} points from {clock(night.start)} to {clock(night.end)}",
        data={"values": rows},
        layer=[*_limit(night, "y"), points],
    )


def _skew_by_machine(night: Night, rows: list[Spec]) -> Spec:
    points = _points()
    points["encoding"] |= {
        "x": _skew_axis(night, rows),
        "y": {
            "field": "machine",
            "type": "nominal",
            "title": None,
            "sort": list(names_of(night).values()),
            "axis": {"grid": True},
        },
    }
    for channel in ("color", "shape"):
        points["encoding"][channel]["legend"] = None
    return _frame(
        height={"step": 22},
        description="Skew of each machine's points",
        data={"values": rows},
        layer=[*_limit(night, "x"), points],
    )


def _bytes(night: Night) -> Spec:
    names = names_of(night)
    largest = max(
        (
            max(row.bytes_read, row.bytes_sent, row.bytes_truly_changed)
            for row in night.machine_rows
        ),
        default=0,
    )
    unit_name, unit = unit_for(largest)
    rows = [
        {
            "machine": names.get(row.machine, row.machine),
            "what": what,
            "amount": amount / unit,
            "said": size(amount),
        }
        for row in night.machine_rows
        for what, amount in zip(
            BARS, (row.bytes_read, row.bytes_sent, row.bytes_truly_changed), strict=True
        )
    ]
    return _frame(
        height={"step": 9},
        description="Bytes read, sent and truly changed by machine",
        data={"values": rows},
        mark={"type": "bar", "cornerRadiusEnd": 1},
        encoding={
            "y": {
                "field": "machine",
                "type": "nominal",
                "title": None,
                "sort": list(names.values()),
            },
            "yOffset": {"field": "what", "type": "nominal", "sort": list(BARS)},
            "x": {
                "field": "amount",
                "type": "quantitative",
                "title": f"{unit_name} over the night",
                "axis": {"tickCount": 6},
            },
            "color": {
                "field": "what",
                "type": "nominal",
                "sort": list(BARS),
                "scale": {
                    "domain": list(BARS),
                    "range": ["var(--n0)", "var(--n1)", "var(--good)"],
                },
                "legend": {"columns": 3},
            },
            "tooltip": [
                {"field": "machine", "type": "nominal", "title": "machine"},
                {"field": "what", "type": "nominal", "title": "what"},
                {"field": "said", "type": "nominal", "title": "bytes"},
            ],
        },
    )
