"""What a run frees is kept for what it allocates next."""

import ctypes
import sys
from functools import cache
from typing import Final

from reference_engine.model.units import MIB

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Parameters of `mallopt`. Source: glibc, malloc.h."""

_FREE_MAX: Final = 64 * MIB
_MAPPED_FROM: Final = 4 * MIB


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
