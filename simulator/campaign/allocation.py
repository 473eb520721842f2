"""What a run frees is kept for what it allocates next, and is looked for less often."""

import ctypes
import gc
import sys
from functools import cache
from typing import Final

from reference_engine.model.units import MIB

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Parameters of `mallopt`. Source: glibc, malloc.h."""

_FREE_MAX: Final = 64 * MIB
_MAPPED_FROM: Final = 4 * MIB

_OFTEN: Final = (700, 10, 10)
_SELDOM: Final = (5_000, 10, 10)
"""After how many new objects circles of garbage are looked for: by default, and in a run."""


@cache
def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MiB that this process has freed; elsewhere nothing changes.

    A run fills and frees images of a megabyte over and over. By default most of them are given back
    to the kernel, which then has to clear every page of the next one: four fifths of all page
    faults of a night, for nothing.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if option is not None:
        option(_TRIM_THRESHOLD, _FREE_MAX)
        option(_MMAP_THRESHOLD, _MAPPED_FROM)


def collect_seldom() -> None:
    """Look for circles of garbage less often, unless somebody has said how often that should be.

    Nearly all that a run makes goes without: looking as often as Python does by default costs a
    twentieth of a run, for some megabytes.
    """
    if gc.get_threshold() == _OFTEN:
        gc.set_threshold(*_SELDOM)
