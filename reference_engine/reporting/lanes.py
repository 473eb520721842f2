"""What the picture of lanes is made of, and the canvas that stacks lanes from top to bottom.

Positions across are instants; positions down, and all heights, are pixels.
"""

from typing import Final

import msgspec

from reference_engine.model.identity import NodeName
from reference_engine.model.units import Instant
from reference_engine.reporting.figures import short
from reference_engine.reporting.night import Night, names_of

TOP: Final = 30
GAP: Final = 4
HEADING: Final = 26
NODE_COLOURS: Final = 6
LETTER: Final = 6.3
"""Pixels that a letter of a label takes, at most."""

LABEL_MOST: Final = 16
"""Letters of a lane's name that fit beside the lane."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A box that lasts from `start` to `end`; `text` is shown where the box is wide enough."""

    start: Instant
    end: Instant
    y: float
    height: float
    look: str
    tip: str
    text: str = ""
    text_y: float = 0
    """Where the text's letters stand."""

    indent: float = 5
    """How far right of the bar's start the text begins."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A sign at one instant; `shape` names a symbol of the page."""

    at: Instant
    y: float
    shape: str
    tip: str


class Arrow(msgspec.Struct, frozen=True, kw_only=True):
    """A move from one lane to another."""

    start: Instant
    end: Instant
    y_from: float
    y_to: float
    look: str
    tip: str


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the picture with its label."""

    label: str
    full_label: str
    y: float
    height: float


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """The title of a group of lanes."""

    text: str
    y: float


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A labelled instant of the time axis."""

    at: Instant
    text: str


class Swimlane(msgspec.Struct, frozen=True, kw_only=True):
    """The whole picture."""

    start: Instant
    end: Instant
    width: int
    gutter: int
    margin: int
    top: int
    height: float
    ticks: tuple[Tick, ...]
    headings: tuple[Heading, ...]
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    arrows: tuple[Arrow, ...]
    marks: tuple[Mark, ...]
    guides: tuple[Mark, ...]

    def x(self, at: Instant, /) -> float:
        """Return how far right an instant is drawn before anybody zooms."""
        reach = self.width - self.gutter - self.margin
        whole = max(self.end - self.start, 1)
        return round(self.gutter + (at - self.start) / whole * reach, 2)

    def fits(self, bar: Bar, /) -> bool:
        """Return whether the bar has room for its text before anybody zooms."""
        return self.x(bar.end) - self.x(bar.start) > len(bar.text) * LETTER + bar.indent + 3


def node_colours(night: Night, /) -> dict[NodeName, int]:
    """Return the number of each node's colour; names tell apart nodes that share one."""
    return {node: number % NODE_COLOURS for number, node in enumerate(night.nodes)}


class Canvas:
    """Gathers marks while lanes are stacked."""

    def __init__(self, night: Night) -> None:
        self.names = names_of(night)
        self.colours = node_colours(night)
        self.y: float = TOP
        self.headings: list[Heading] = []
        self.lanes: list[Lane] = []
        self.bars: list[Bar] = []
        self.arrows: list[Arrow] = []
        self.marks: list[Mark] = []

    def heading(self, text: str, /) -> None:
        """Leave room for a group's title."""
        self.y += HEADING
        self.headings.append(Heading(text=text, y=self.y - 7))

    def lane(self, label: str, height: float, /) -> float:
        """Add a lane at the bottom and return where it begins."""
        y = self.y
        self.lanes.append(
            Lane(label=short(label, LABEL_MOST), full_label=label, y=y, height=height)
        )
        self.y += height + GAP
        return y

    def look(self, node: str, /) -> str:
        """Return the class that colours what belongs to this node."""
        return f"n{self.colours.get(NodeName(node), 0)}"
