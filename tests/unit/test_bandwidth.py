"""A shared link: everybody gets an equal part, no byte is lost and none is moved for nothing."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from reference_engine.model.units import MILLISECOND, SECOND, ByteCount, Duration, Instant
from simulator.kernel.bandwidth import SharedLink
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimTask

Job = tuple[int, int]
"""When a transfer begins, in microseconds, and how many bytes it moves."""


def finished(jobs: list[Job], rate: int, *, seed: int = 1) -> list[Instant]:
    """Return when each transfer ends on a link of this rate."""
    sim = Simulation(seed)
    link = SharedLink(sim, ByteCount(rate))
    ends = [Instant(0)] * len(jobs)

    async def transfer(number: int, begins: int, amount: int) -> None:
        await sim.sleep(Duration(begins))
        await link.transfer(ByteCount(amount))
        ends[number] = sim.now()

    async def main() -> None:
        tasks = [
            sim.spawn(transfer(number, *job), name=f"transfer {number}")
            for number, job in enumerate(jobs)
        ]
        for task in tasks:
            await task
        assert link.busy == 0

    sim.run(main())
    return ends


def ideal(jobs: list[Job], rate: int) -> list[Fraction]:
    """Return when each transfer would end if bytes could be divided without limit."""
    left = {number: Fraction(amount) for number, (_, amount) in enumerate(jobs)}
    ends = [Fraction(0)] * len(jobs)
    now = Fraction(0)
    while left:
        active = [number for number in left if jobs[number][0] <= now]
        coming = [jobs[number][0] for number in left if jobs[number][0] > now]
        if not active:
            now = Fraction(min(coming))
            continue
        share = Fraction(rate, SECOND * len(active))
        steps = [left[number] / share for number in active]
        step = min([*steps, *(begins - now for begins in coming)])
        for number in active:
            left[number] -= share * step
            if left[number] <= 0:
                ends[number] = now + step
                del left[number]
        now += step
    return ends


def jobs() -> st.SearchStrategy[list[Job]]:
    """Transfers that begin within a second and take up to some seconds."""
    return st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 5000)), min_size=1, max_size=6)


def test_alone_a_transfer_has_the_whole_link() -> None:
    """Bytes divided by the rate, rounded up to the microsecond."""
    assert finished([(0, 1000)], 1000) == [SECOND]
    assert finished([(0, 1)], 3) == [333_334]


def test_equal_transfers_end_together() -> None:
    """Three that begin together share alike, and take three times as long."""
    assert finished([(0, 1000)] * 3, 1000) == [3 * SECOND] * 3


def test_a_late_comer_slows_the_first_down() -> None:
    """Half a second alone, then shared until the shorter one is through."""
    assert finished([(0, 1000), (SECOND // 2, 250)], 1000) == [1_250_000, SECOND]


def test_a_transfer_takes_time() -> None:
    """Nothing passes in the instant in which it begins, however fast the link."""
    assert finished([(0, 1)], 10**12) == [1]


@given(jobs(), st.integers(100, 100_000), st.integers(0, 3))
def test_bytes_are_conserved(given_jobs: list[Job], rate: int, seed: int) -> None:
    """Every transfer ends when exact sharing says so, but for some rounded-up microseconds."""
    ends, wanted = finished(given_jobs, rate, seed=seed), ideal(given_jobs, rate)

    slack = 2 * len(given_jobs) + 1
    for end, exact in zip(ends, wanted, strict=True):
        assert exact - slack <= end <= exact + slack


@given(jobs(), st.integers(100, 100_000))
def test_the_order_of_one_instant_does_not_show(given_jobs: list[Job], rate: int) -> None:
    """Who of two that begin together is first is chance, and makes no difference."""
    slack = 2 * len(given_jobs)
    for one, other in zip(
        finished(given_jobs, rate, seed=1), finished(given_jobs, rate, seed=2), strict=True
    ):
        assert abs(one - other) <= slack


def test_a_cancelled_transfer_frees_its_part() -> None:
    """From the instant in which one gives up, the other has the whole link."""
    sim = Simulation(1)
    link = SharedLink(sim, ByteCount(1000))

    async def main() -> Instant:
        impatient: SimTask = sim.spawn(link.transfer(ByteCount(10_000)), name="impatient")
        patient = sim.spawn(link.transfer(ByteCount(1000)), name="patient")
        await sim.sleep(SECOND)
        assert link.busy == 2
        impatient.cancel(sim)
        await patient
        assert link.busy == 0
        return sim.now()

    # 500 bytes of it passed in the first second, the other 500 in half a second more.
    assert sim.run(main()) == 1_500_000


def test_a_rate_that_changes_counts_from_its_instant() -> None:
    """What has passed has passed; what is left goes at the new rate."""
    sim = Simulation(1)
    link = SharedLink(sim, ByteCount(1000))

    async def main() -> Instant:
        task = sim.spawn(link.transfer(ByteCount(1000)), name="transfer")
        await sim.sleep(Duration(500 * MILLISECOND))
        link.change_rate(ByteCount(100))
        await task
        return sim.now()

    assert sim.run(main()) == 500 * MILLISECOND + 5 * SECOND


def test_a_link_that_rested_owes_nothing() -> None:
    """Time without transfers is not saved up for the next one."""
    sim = Simulation(1)
    link = SharedLink(sim, ByteCount(1000))

    async def main() -> Instant:
        await link.transfer(ByteCount(10))
        await sim.sleep(Duration(10 * SECOND))
        before = sim.now()
        await link.transfer(ByteCount(1000))
        return Instant(sim.now() - before)

    assert sim.run(main()) == SECOND
