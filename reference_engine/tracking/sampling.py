"""Trackers lie: how likely a sample finds it, and what a clean sample proves.

A sample of k out of N untracked blocks, of which m were written all the same, finds at least one of
them with probability 1 - C(N-m, k) / C(N, k).
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from reference_engine.ports.runtime import RandomStream


def detection_probability(*, population: int, wrong: int, sample: int) -> Fraction:
    """Return how likely `sample` of `population` blocks hold one of the `wrong` ones."""
    assert 0 <= wrong <= population, (wrong, population)
    clean = Fraction(1)
    for drawn in range(min(sample, population)):
        clean *= Fraction(max(0, population - wrong - drawn), population - drawn)
    return 1 - clean


def miss_rate_bound(*, population: int, sample: int, confidence: float) -> float:
    """Return the share of wrong blocks that a clean sample rules out, at this confidence.

    No greater share would have left so large a sample clean with more than 1 - `confidence`.
    """
    assert 0 < confidence < 1, confidence
    if population == 0 or sample >= population:
        return 0.0
    low, high = 0, population
    while low < high:
        middle = (low + high) // 2
        found = detection_probability(population=population, wrong=middle, sample=sample)
        if found >= confidence:
            high = middle
        else:
            low = middle + 1
    return low / population


def draw(
    population: npt.NDArray[np.int64], size: int, stream: RandomStream, /
) -> npt.NDArray[np.int64]:
    """Return `size` different ones of `population`, ascending; all where there are no more."""
    if size >= len(population):
        return population
    chosen: dict[int, int] = {}
    left = len(population)
    for place in range(size):
        # Fisher and Yates, with only those places in memory that were exchanged.
        other = place + stream.below(left - place)
        chosen[place], chosen[other] = chosen.get(other, other), chosen.get(place, place)
    picked = np.array([chosen[place] for place in range(size)], np.int64)
    return population[np.sort(picked)]
