"""Which trackers hold a part of the change since the base, and when each is switched."""

import enum

import msgspec

from reference_engine.model.identity import NodeName
from reference_engine.ports.change_tracking import TrackerState


class SwitchMoment(enum.StrEnum):
    """When a node's map is frozen."""

    NOW = "now"
    """The machine does not write through this node: any instant before the snapshot will do."""

    IN_HOLD = "in-hold"
    """It does: only inside the hold of the host snapshot is nothing counted twice or missed."""


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """One node whose map belongs to the delta."""

    node: NodeName
    moment: SwitchMoment


def contributions(
    trackers: tuple[TrackerState, ...], owner: NodeName, /
) -> tuple[Contribution, ...]:
    """Return every node whose map has to be asked: all that wrote the disk, and the owner."""
    others = sorted({tracker.node for tracker in trackers if tracker.reachable} - {owner})
    return (
        *(Contribution(node=node, moment=SwitchMoment.NOW) for node in others),
        Contribution(node=owner, moment=SwitchMoment.IN_HOLD),
    )
