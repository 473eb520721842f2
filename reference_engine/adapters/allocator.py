"""How the C library keeps freed memory: megabytes that come and go are not given back each time.

Without this every window that is read is new memory, which the kernel has to clear and map page by
page: a quarter of the processor time of a full backup.
"""

import ctypes
import sys
from typing import Final

from reference_engine.model.units import MIB

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_ARENAS: Final = 1
_MAPPED_FROM: Final = 32 * MIB
_KEPT_MAX: Final = 64 * MIB


def keep_freed_memory() -> None:
    """Let freed memory be used again; where the C library cannot be told, nothing changes."""
    if sys.platform != "linux":
        return
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        tell(_ARENA_MAX, _ARENAS)
        tell(_MMAP_THRESHOLD, _MAPPED_FROM)
        tell(_TRIM_THRESHOLD, _KEPT_MAX)
