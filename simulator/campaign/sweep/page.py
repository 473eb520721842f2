"""The page of a campaign: one HTML file, in the looks of the reports, that loads nothing."""

from importlib import resources

import jinja2

from simulator.campaign.sweep.summary import WANTED, Summary


def render_campaign(summary: Summary, /) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("simulator.campaign", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    counts = [count for row in summary.coverage for count in row.counts[:10]]
    return environment.get_template("campaign.html.j2").render(
        summary=summary,
        style=page_style(),
        wanted=WANTED,
        cells_enough=sum(count >= WANTED for count in counts),
        cells_hit=sum(count > 0 for count in counts),
        cells=len(counts),
    )


def page_style() -> str:
    """Return the style that every page shares."""
    source = resources.files("reference_engine.reporting").joinpath("assets", "page.css")
    return source.read_text("utf-8")
