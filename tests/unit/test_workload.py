"""How a guest writes: a function of seed, name and profile, whoever looks and however often."""

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.model.units import HOUR, MINUTE, Instant
from simulator.world.stamps import Cells
from simulator.world.workload import Burst, Profile, Workload

PROFILE = Profile(
    bursts_per_hour=600,
    burst_cells=8,
    hot_share=400,
    sequential_share=200,
    rewrite_share=100,
    trim_share=100,
)
WRITABLE = (np.arange(10, 200), np.arange(0, 500, 3))

Written = tuple[int, int, tuple[int, ...], bool]


def workload(
    *,
    seed: int = 1,
    machine: str = "x",
    profile: Profile = PROFILE,
    writable: tuple[Cells, ...] = WRITABLE,
) -> Workload:
    """Return a workload of which nobody has seen anything yet."""
    return Workload(seed, machine, profile, writable)


def written(bursts: list[Burst]) -> list[Written]:
    """Return bursts as values that can be compared."""
    return [(b.at, b.disk, tuple(b.cells.tolist()), b.trim) for b in bursts]


def profiles() -> st.SearchStrategy[Profile]:
    """Laws of every kind, quiet and busy ones."""
    share = st.integers(0, 333)
    return st.builds(
        Profile,
        bursts_per_hour=st.sampled_from((1, 60, 7200, 100_000)),
        burst_cells=st.integers(1, 64),
        hot_share=share,
        sequential_share=share,
        rewrite_share=share,
        trim_share=st.integers(0, 1000),
    )


def instants() -> st.SearchStrategy[list[Instant]]:
    """Instants at which somebody looks, ascending."""
    each = st.integers(0, 10 * MINUTE).map(Instant)
    return st.lists(each, min_size=1, max_size=8).map(sorted)


def test_the_same_seed_and_name_write_the_same() -> None:
    """Nothing else has a say in what a machine writes."""
    assert written(workload().until(HOUR)) == written(workload().until(HOUR))


def test_another_seed_or_name_writes_something_else() -> None:
    """Machines of one cluster are not in step, and neither are two runs."""
    mine = written(workload().until(HOUR))

    assert written(workload(seed=2).until(HOUR)) != mine
    assert written(workload(machine="y").until(HOUR)) != mine


@given(profiles(), instants())
def test_looking_more_often_changes_nothing(profile: Profile, looks: list[Instant]) -> None:
    """However many observations come in between, the writes are those of a single one."""
    observed = workload(profile=profile)
    parts = [burst for instant in looks for burst in observed.until(instant)]

    assert written(parts) == written(workload(profile=profile).until(looks[-1]))


@given(profiles(), instants())
def test_what_is_skipped_is_not_written_later(profile: Profile, looks: list[Instant]) -> None:
    """A machine that was off goes on with the writes of its own time, not with those it missed."""
    skipping = workload(profile=profile)
    skipping.skip(looks[0])

    whole = written(workload(profile=profile).until(looks[-1]))

    assert written(skipping.until(looks[-1])) == [b for b in whole if b[0] > looks[0]]


@given(profiles())
def test_bursts_ascend_and_stay_where_they_may(profile: Profile) -> None:
    """Each burst is one instant, on one disk, on writable cells, each named once."""
    bursts = workload(profile=profile).until(Instant(2 * MINUTE))

    instants_of = [burst.at for burst in bursts]
    assert instants_of == sorted(instants_of)
    for burst in bursts:
        cells = burst.cells.tolist()
        assert 0 < len(cells) <= profile.burst_cells
        assert len(set(cells)) == len(cells)
        assert set(cells) <= set(WRITABLE[burst.disk].tolist())


def test_nothing_is_due_twice() -> None:
    """A second look at the same instant sees nothing new."""
    looked_at = workload()

    assert looked_at.until(HOUR)
    assert looked_at.until(HOUR) == []


def test_a_burst_is_due_in_its_own_instant() -> None:
    """Neither a microsecond earlier nor a microsecond later."""
    first = workload().until(HOUR)[0].at
    looked_at = workload()

    assert looked_at.until(Instant(first - 1)) == []
    assert [burst.at for burst in looked_at.until(first)] == [first]


def test_the_rate_is_the_profiles() -> None:
    """Over ten hours a machine makes about as many bursts as its profile says, trims among them."""
    bursts = workload().until(Instant(10 * HOUR))

    assert 5400 <= len(bursts) <= 6600
    assert 400 <= sum(burst.trim for burst in bursts) <= 800


def test_a_quiet_machine_writes_nothing() -> None:
    """Neither without bursts nor without a cell to write to; and nobody waits for either."""
    quiet = msgspec.structs.replace(PROFILE, bursts_per_hour=0)
    nowhere = (np.empty(0, np.int64), np.empty(0, np.int64))

    assert workload(profile=quiet).until(HOUR) == []
    assert workload(writable=nowhere).until(HOUR) == []


def test_a_full_disk_beside_a_free_one_is_never_written() -> None:
    """Where one disk of several has no writable cell, the others get all the bursts."""
    one_free = (np.empty(0, np.int64), np.arange(50))

    assert {burst.disk for burst in workload(writable=one_free).until(HOUR)} == {1}
