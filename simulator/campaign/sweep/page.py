"""The page of a campaign: one HTML file, in the looks of the reports, that loads nothing."""

from importlib import resources

from reference_engine.reporting.rendering import template_environment
from simulator.campaign.sweep.summary import WANTED, Summary


def render_campaign(summary: Summary, /) -> str:
    """Return the page."""
    environment = template_environment("simulator.campaign")
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
