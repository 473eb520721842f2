"""A point's story as a page with a timeline: steps, Tg and Th, and what fell between them."""

from typing import Final

import msgspec

from reference_engine.model.units import Instant
from reference_engine.reporting.figures import precise_clock, tick_label, ticks
from reference_engine.reporting.rendering import template_environment
from simulator.campaign.explaining.story import Moment, Story
from simulator.campaign.sweep.page import page_style

_WIDTH: Final = 1000
_MARGIN: Final = 20
_STRETCHED: Final = 12
"""Part of the width that what came before the run may take: one in so many."""


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """Something at a place of the picture."""

    x: float
    width: float
    text: str
    look: str


def render_story(story: Story, /) -> str:
    """Return the page."""
    environment = template_environment("simulator.campaign")
    environment.filters["precise_clock"] = precise_clock
    axis = _Axis(story)
    marks = [
        Spot(x=axis.x(at), width=0, text=text, look=text.lower())
        for text, at in (("Tg", story.guest_at), ("Th", story.host_at))
        if at is not None
    ]
    return environment.get_template("story.html.j2").render(
        story=story,
        style=page_style(),
        width=_WIDTH + 2 * _MARGIN,
        steps=[
            Spot(x=axis.x(start), width=axis.x(end) - axis.x(start), text=text, look="step")
            for start, end, text in story.steps
        ],
        marks=marks,
        events=[
            Spot(x=axis.x(each.at), width=0, text=_tip(each), look="event")
            for each in story.moments
            if each.lane == "cluster"
        ],
        ticks=[(axis.x(at), tick_label(at)) for at in ticks(axis.run, story.end)],
    )


def _tip(moment: Moment) -> str:
    return f"{precise_clock(moment.at)} {moment.text}"


class _Axis:
    """Time from left to right; the hour before the run is pressed into a small part."""

    def __init__(self, story: Story, /) -> None:
        self._start, self._end = story.start, story.end
        self.run: Instant = story.steps[0][0] if story.steps else story.start
        self._before = _WIDTH / _STRETCHED if self.run > self._start else 0.0

    def x(self, at: int, /) -> float:
        """Return how far right an instant is drawn."""
        if at < self.run:
            share = (at - self._start) / max(1, self.run - self._start)
            return round(_MARGIN + share * self._before, 2)
        share = (at - self.run) / max(1, self._end - self.run)
        return round(_MARGIN + self._before + share * (_WIDTH - self._before), 2)
