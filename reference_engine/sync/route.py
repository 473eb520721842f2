"""Direct, redirected, or move the coordinator: which way a volume is read."""

import enum

import msgspec

from reference_engine.model.identity import NodeName, VolumeName
from reference_engine.model.machine import BackEnd, VolumeState
from reference_engine.model.units import Duration, Instant


class RouteKind(enum.StrEnum):
    """What a run does about a volume before it takes its snapshot."""

    DIRECT = "direct"
    MOVE = "move"
    REDIRECTED = "redirected"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The decision for one volume, and why."""

    volume: VolumeName
    kind: RouteKind
    reason: str


def choose_route(
    state: VolumeState,
    owner: NodeName,
    /,
    *,
    back_end: BackEnd,
    now: Instant,
    last_move: Instant | None,
    in_use: int,
    hysteresis: Duration,
) -> Route:
    """Return how the machine's owner gets at the volume.

    Moving the coordinator helps a host snapshot only (it lives on the coordinator). A volume that
    other runs use, or that was moved less than `hysteresis` ago, stays where it is: two machines
    with different owners would otherwise drag it to and fro.
    """
    for reason, holds in (
        ("the owner coordinates", state.coordinator == owner),
        ("the storage takes the snapshot", state.one_host),
        ("a checkpoint is a file", back_end is not BackEnd.HOST_SNAPSHOT),
    ):
        if holds:
            return Route(volume=state.volume, kind=RouteKind.DIRECT, reason=reason)
    if in_use > 0:
        return Route(
            volume=state.volume, kind=RouteKind.REDIRECTED, reason="another run uses the volume"
        )
    if last_move is not None and now - last_move < hysteresis:
        return Route(
            volume=state.volume, kind=RouteKind.REDIRECTED, reason="it was moved a while ago"
        )
    if state.redirected_rate >= state.direct_rate:
        return Route(volume=state.volume, kind=RouteKind.REDIRECTED, reason="redirected is as fast")
    return Route(volume=state.volume, kind=RouteKind.MOVE, reason="direct reading is faster")
