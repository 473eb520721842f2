"""A page of bar charts: figures of the same kind side by side, with their range, and a table.

Bars are plain HTML: the page needs no script, and shows every figure as text beside its bar.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Final

import msgspec

from reference_engine.reporting.rendering import template_environment

PACKAGE: Final = "reference_engine.reporting"


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One figure; `least` and `most` are its range over all runs."""

    label: str
    median: float
    least: float
    most: float
    said: str
    note: str
    is_ours: bool


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Figures that are compared with each other."""

    title: str
    bars: tuple[Bar, ...]
    scale: float | None = None
    """Where the bars end; None: where the longest does."""

    @property
    def most(self) -> float:
        """Return the end of the scale."""
        if self.scale is not None:
            return self.scale
        return max((bar.most for bar in self.bars), default=0.0) or 1.0


class BarPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page shows."""

    title: str
    under: str
    holds: bool
    verdict: str
    alarms: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    heading: str = "Medians, with the range of all runs"


def render_bars(page: BarPage, /) -> str:
    """Return the page: one HTML document that loads nothing."""
    environment = template_environment(PACKAGE)
    environment.filters |= {"per_cent": _per_cent}
    style = resources.files(PACKAGE).joinpath("assets", "page.css").read_text("utf-8")
    return environment.get_template("bars.html.j2").render(
        page=page, pairs=_paired(page.charts), style=style
    )


def _per_cent(value: float, most: float) -> str:
    return f"{max(min(value / most, 1.0), 0.0) * 100:.1f}"


def _paired(charts: Sequence[Chart]) -> list[Sequence[Chart]]:
    return [charts[place : place + 2] for place in range(0, len(charts), 2)]
