"""Ascending numbers without repetition.

Numpy's own functions for sets load its masked arrays when they are first called, and hash what is
mostly in order already: together a twentieth of a small backup.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.integer)


def distinct(values: npt.NDArray[Number], /) -> npt.NDArray[Number]:
    """Return every value once, ascending."""
    ordered = np.sort(values, axis=None)
    if not len(ordered):
        return ordered
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]


def absent(values: npt.NDArray[Number], others: npt.NDArray[Number], /) -> npt.NDArray[np.bool_]:
    """Return for each of `values` whether it is none of the ascending `others`."""
    if not len(others):
        return np.ones(len(values), np.bool_)
    at = np.minimum(np.searchsorted(others, values), len(others) - 1)
    found: npt.NDArray[np.bool_] = others[at] != values
    return found


def without(values: npt.NDArray[Number], others: npt.NDArray[Number], /) -> npt.NDArray[Number]:
    """Return those of `values` that are none of the ascending `others`."""
    return values[absent(values, others)]
