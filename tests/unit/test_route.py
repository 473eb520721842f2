"""Which way a volume is read: directly where that costs nothing, moved only where it lasts."""

from itertools import pairwise

import pytest

from reference_engine.jobs.surroundings import VolumeLedger
from reference_engine.model.identity import NodeName, VolumeName
from reference_engine.model.machine import BackEnd, VolumeState
from reference_engine.model.units import MIB, MINUTE, ByteCount, Duration, Instant
from reference_engine.sync.route import Route, RouteKind, choose_route

OWNER, OTHER = NodeName("owner"), NodeName("other")
VOLUME = VolumeName("CSV1")
HYSTERESIS = Duration(20 * MINUTE)
NOW = Instant(1000 * MINUTE)


def volume_of(coordinator: NodeName, *, direct: int = 200, redirected: int = 60) -> VolumeState:
    """Return a volume with these rates in MiB a second."""
    return VolumeState(
        volume=VOLUME,
        coordinator=coordinator,
        preferred=coordinator,
        redirected=False,
        direct_rate=ByteCount(direct * MIB),
        redirected_rate=ByteCount(redirected * MIB),
    )


def route_to(
    state: VolumeState,
    *,
    back_end: BackEnd = BackEnd.HOST_SNAPSHOT,
    last_move: Instant | None = None,
    in_use: int = 0,
    now: Instant = NOW,
) -> Route:
    """Return the route that the machine's owner takes."""
    return choose_route(
        state,
        OWNER,
        back_end=back_end,
        now=now,
        last_move=last_move,
        in_use=in_use,
        hysteresis=HYSTERESIS,
    )


@pytest.mark.parametrize("back_end", BackEnd)
@pytest.mark.parametrize("in_use", [0, 3])
def test_the_coordinator_itself_reads_directly(back_end: BackEnd, in_use: int) -> None:
    """Where the owner coordinates the volume there is nothing to decide."""
    route = route_to(volume_of(OWNER), back_end=back_end, in_use=in_use, last_move=NOW)

    assert route.kind is RouteKind.DIRECT


@pytest.mark.parametrize("back_end", [BackEnd.REFERENCE_POINT, BackEnd.DISK_FILE])
def test_a_file_is_read_directly_from_any_node(back_end: BackEnd) -> None:
    """Only a host snapshot lives on the coordinator."""
    assert route_to(volume_of(OTHER), back_end=back_end).kind is RouteKind.DIRECT


def test_an_idle_volume_is_moved_for_speed() -> None:
    """Nobody uses it, nobody moved it lately, and direct reading is faster."""
    route = route_to(volume_of(OTHER))

    assert route == Route(volume=VOLUME, kind=RouteKind.MOVE, reason="direct reading is faster")


def test_a_volume_in_use_stays_where_it_is() -> None:
    """Moving the coordinator would take another run's snapshot away."""
    assert route_to(volume_of(OTHER), in_use=1).kind is RouteKind.REDIRECTED


@pytest.mark.parametrize(("redirected", "kind"), [(199, "move"), (200, "redirected")])
def test_a_move_must_be_worth_it(redirected: int, kind: str) -> None:
    """A volume that is read as fast through the network stays where it is."""
    assert route_to(volume_of(OTHER, redirected=redirected)).kind.value == kind


@pytest.mark.parametrize(
    ("since", "kind"), [(0, "redirected"), (HYSTERESIS - 1, "redirected"), (HYSTERESIS, "move")]
)
def test_a_volume_rests_after_a_move(since: int, kind: str) -> None:
    """Up to the last microsecond of the hysteresis it is not moved again."""
    route = route_to(volume_of(OTHER), last_move=Instant(NOW - since))

    assert route.kind.value == kind


def test_two_owners_do_not_drag_a_volume_to_and_fro() -> None:
    """With backups every minute from two nodes, a coordinator moves once in a hysteresis."""
    ledger, coordinator, moves = VolumeLedger(), OTHER, list[Instant]()

    for minute in range(100):
        now = Instant(NOW + minute * MINUTE)
        owner = (OWNER, OTHER)[minute % 2]
        route = choose_route(
            volume_of(coordinator),
            owner,
            back_end=BackEnd.HOST_SNAPSHOT,
            now=now,
            last_move=ledger.last_move(VOLUME),
            in_use=ledger.in_use(VOLUME),
            hysteresis=HYSTERESIS,
        )
        if route.kind is RouteKind.MOVE:
            coordinator = owner
            ledger.note_move(VOLUME, now)
            moves.append(now)

    assert 4 <= len(moves) <= 6
    assert all(b - a >= HYSTERESIS for a, b in pairwise(moves))


def test_every_reason_is_said() -> None:
    """A decision without a reason could not be told to anybody."""
    routes = [
        route_to(volume_of(OWNER)),
        route_to(volume_of(OTHER), back_end=BackEnd.REFERENCE_POINT),
        route_to(volume_of(OTHER), in_use=1),
        route_to(volume_of(OTHER), last_move=NOW),
        route_to(volume_of(OTHER, redirected=300)),
        route_to(volume_of(OTHER)),
    ]

    assert len({route.reason for route in routes}) == len(routes)
    assert all(route.volume == VOLUME and route.reason for route in routes)


def test_the_ledger_knows_who_needs_a_volume() -> None:
    """It counts who uses a volume, and knows which ones the engine moved until they are home."""
    ledger = VolumeLedger()

    ledger.note_move(VOLUME, NOW)
    ledger.use(VOLUME)
    ledger.use(VOLUME)
    ledger.leave(VOLUME)

    assert ledger.last_move(VOLUME) == NOW
    assert ledger.in_use(VOLUME) == 1
    assert ledger.moved() == (VOLUME,)
    ledger.forget_move(VOLUME)
    assert ledger.moved() == ()
    assert ledger.last_move(VOLUME) is None


def test_only_the_last_run_ends_a_redirection() -> None:
    """Two runs that need a volume redirected do not end it for each other."""
    ledger = VolumeLedger()
    ledger.redirect(VOLUME)
    ledger.redirect(VOLUME)

    assert not ledger.unredirect(VOLUME)
    assert ledger.redirected(VOLUME)
    assert ledger.unredirect(VOLUME)
    assert not ledger.redirected(VOLUME)
    assert ledger.unredirect(VOLUME)
