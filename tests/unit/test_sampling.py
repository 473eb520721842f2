"""A sample of untracked blocks finds a lie with the probability that is computed for it."""

from itertools import combinations

import numpy as np
import pytest

from reference_engine.tracking.sampling import detection_probability, draw, miss_rate_bound
from simulator.kernel.streams import Stream


@pytest.mark.parametrize("population", range(1, 8))
def test_the_probability_is_that_of_all_samples(population: int) -> None:
    """Counted over every sample there is, the share that holds a wrong block is as computed."""
    for wrong in range(population + 1):
        for size in range(population + 1):
            samples = list(combinations(range(population), size))
            hits = sum(min(sample, default=population) < wrong for sample in samples)

            computed = detection_probability(population=population, wrong=wrong, sample=size)

            assert computed * len(samples) == hits


def test_a_drawn_sample_finds_as_often_as_computed() -> None:
    """Over 4,000 draws the share of finds is within four standard deviations of the computed."""
    population, wrong, size, draws = np.arange(200), 7, 24, 4000
    expected = float(detection_probability(population=200, wrong=wrong, sample=size))

    hits = sum(bool((draw(population, size, Stream(n)) < wrong).any()) for n in range(draws))

    assert abs(hits / draws - expected) < 4 * (expected * (1 - expected) / draws) ** 0.5


@pytest.mark.parametrize("size", [0, 1, 5, 9, 10, 11])
def test_a_sample_is_of_different_blocks_in_order(size: int) -> None:
    """No block is drawn twice, none from outside, and no more than there are."""
    population = np.arange(3, 33, 3)

    drawn = draw(population, size, Stream("sample", size))

    assert len(drawn) == min(size, len(population))
    assert np.array_equal(np.unique(drawn), drawn)
    assert np.isin(drawn, population).all()


def test_a_clean_sample_bounds_the_miss_rate() -> None:
    """The bound is the smallest share that would have been found with the asked confidence."""
    bound = miss_rate_bound(population=1000, sample=64, confidence=0.95)
    wrong = round(bound * 1000)

    assert detection_probability(population=1000, wrong=wrong, sample=64) >= 0.95
    assert detection_probability(population=1000, wrong=wrong - 1, sample=64) < 0.95


def test_a_sample_of_everything_leaves_no_doubt() -> None:
    """Whoever looked at every block knows that none is wrong."""
    assert miss_rate_bound(population=64, sample=64, confidence=0.95) == 0
