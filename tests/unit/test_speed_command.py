"""What `bench simulate` says: a fleet is what was asked for, and extrapolation follows its law."""

import pytest

from reference_engine.app.command_line import run
from simulator.campaign.long_proof import LongProver
from simulator.campaign.speed_command import Measured, fleet_of, measured


def night(*, points: int, first_half: float, whole: float) -> Measured:
    """Return what a night of one hour came to."""
    return Measured(
        name="night",
        simulated_h=1,
        cpu_s=whole,
        wall_s=whole,
        events=1,
        jobs=points,
        points=points,
        whole=points,
        kept=points,
        wrong=(),
        memory_mib=1,
        half_cpu_s=first_half,
        last_cpu_s=whole,
    )


def test_a_fleet_makes_every_point_that_is_due() -> None:
    """Three machines, two hours: six points, all compared, and read whole again in the end."""
    hours: list[int] = []

    done = measured("fleet", fleet_of(2, 3, 2), LongProver(), hours.append)

    assert done.points == done.jobs == done.kept == 6
    assert done.wrong == ()
    assert hours == [1]
    assert done.events > 1000
    assert 0 < done.half_cpu_s < done.last_cpu_s < done.cpu_s


def test_a_steady_cost_grows_with_the_points_alone() -> None:
    """Both halves cost the same: thirty days cost 720 times an hour, however one looks at it."""
    month = night(points=100, first_half=1.0, whole=2.0).month_cpu_s()

    assert month == pytest.approx((720 * 2.0, 720 * 2.0))


def test_a_growing_cost_is_not_hidden() -> None:
    """A cost of a second for each point that there is already: half the square of the points."""
    month = night(points=100, first_half=50**2 / 2, whole=100**2 / 2).month_cpu_s()

    assert month == pytest.approx((720 * 7500, (720 * 100) ** 2 / 2))


def test_a_first_half_that_warms_up_does_not_make_the_month_cheaper() -> None:
    """The second half counts where the first cost more."""
    month = night(points=100, first_half=3.0, whole=5.0).month_cpu_s()

    assert month == pytest.approx((720 * 4.0, 720 * 4.0))


def test_too_little_is_not_extrapolated() -> None:
    """A handful of points says nothing about a month."""
    assert night(points=5, first_half=1.0, whole=2.0).month_cpu_s() is None


def test_an_impossible_fleet_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence that says what can be simulated."""
    code = run(["bench", "simulate", "--machines", "5000"])

    assert code == 2
    assert "give 1 to 1000" in capsys.readouterr().err


def test_a_month_is_not_exceeded_by_much(capsys: pytest.CaptureFixture[str]) -> None:
    """The longest fleet is two months."""
    code = run(["bench", "simulate", "--hours", "5000"])

    assert code == 2
    assert "give 1 to 1440" in capsys.readouterr().err
