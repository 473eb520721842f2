"""The repository loses no point, whatever its storage loses at a power cut."""

import pytest

from reference_engine.repository.envelope import TAG
from reference_engine.repository.index_cache import _Run
from simulator.campaign.proving.random_runs import RandomRun, RunResult
from simulator.campaign.proving.storage import small_objects
from simulator.world.file_system import Durability


def result_of(
    seed: int, durability: Durability | None = None, *, cached: bool = False
) -> RunResult:
    """Run one seed."""
    with small_objects():
        return RandomRun(seed, durability, cached=cached).result()


@pytest.mark.parametrize("durability", Durability)
def test_no_seed_loses_a_point(durability: Durability) -> None:
    """Whatever was acknowledged before a power cut restores bit for bit after it."""
    results = [result_of(seed, durability) for seed in range(40)]

    assert [result for result in results if result.violations] == []
    assert sum(result.acknowledged for result in results) > 40


def test_a_cache_that_cannot_be_trusted_loses_nothing() -> None:
    """Damaged, cut off, lost or outliving a power cut, what is cached harms no point."""
    results = [result_of(seed, cached=True) for seed in range(60)]

    assert [result for result in results if result.violations] == []


def test_a_cache_that_is_believed_as_it_is_loses_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof above has teeth: without the tags of its buckets a damaged cache loses points."""

    def opened(run: _Run, bucket: int, sealed: bytes) -> bytearray:
        del run, bucket
        return bytearray(sealed[:-TAG])

    def loses(seed: int) -> bool:
        try:
            return bool(result_of(seed, cached=True).violations)
        except IndexError:
            return False  # the damage names a pack that there never was

    monkeypatch.setattr(_Run, "opened", opened)

    assert any(loses(seed) for seed in range(200))


def test_a_seed_is_a_run() -> None:
    """The same seed makes the same calls in the same order, and another seed does not."""
    assert result_of(5) == result_of(5)
    assert result_of(5).digest != result_of(6).digest


@pytest.mark.parametrize("seed", [191, 373])
def test_a_visible_entry_is_not_taken_for_a_durable_one(seed: int) -> None:
    """A point that another process had made visible was acknowledged, and the power cut took it."""
    assert result_of(seed).violations == ()
