"""Writing large files past the operating system's cache.

A restored image and a pack are written once and not read soon. In the cache they push out what
others use, and finding room for them there costs more processor time than decompressing them does.
Neighbouring writes are gathered in one aligned buffer; where the file system has no direct writes,
and for what is not aligned, they go through the cache as ever.
"""

import mmap
import os
from typing import Final

try:
    import fcntl
except ImportError:  # Windows: every write goes through its cache
    _DIRECT = 0
else:
    _DIRECT = getattr(os, "O_DIRECT", 0)

from reference_engine.model.units import MIB

BUFFER: Final = 2 * MIB
ALIGNMENT: Final = 4096
"""The largest logical block of a disk in use."""

DIRECT_MIN: Final = 64 * 1024
"""Less than this at once is quicker through the cache."""


def write_whole(descriptor: int, content: bytes | bytearray | memoryview, /) -> None:
    """Have an empty file hold `content`; its durability is the caller's.

    Raises:
        OSError: the storage is full or faulty.
    """
    writer = DirectWriter(descriptor)
    writer.write(content, 0)
    writer.flush()


class DirectWriter:
    """Writes to an open file; what it returned from is perhaps still in its buffer."""

    __slots__ = ("_buffer", "_descriptor", "_direct", "_filled", "_start")

    def __init__(self, descriptor: int, /) -> None:
        """Write to `descriptor`, which stays the caller's to close."""
        self._descriptor = descriptor
        self._direct = _DIRECT
        self._buffer: mmap.mmap | None = None
        self._start = self._filled = 0

    def write(self, data: bytes | bytearray | memoryview, offset: int, /) -> None:
        """Put all of `data` at `offset`.

        Raises:
            OSError: the storage is full or faulty; this may be about an earlier write.
        """
        rest = memoryview(data)
        while rest:
            if offset != self._start + self._filled or self._filled == BUFFER:
                self.flush()
                self._start = offset
            if self._buffer is None:
                self._buffer = mmap.mmap(-1, BUFFER)
            part = rest[: BUFFER - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            offset += len(part)
            rest = rest[len(part) :]

    def flush(self) -> None:
        """Hand everything to the operating system, of which `fsync` can be asked then.

        Raises:
            OSError: the storage is full or faulty.
        """
        if self._buffer is None or not self._filled:
            return
        filled, self._filled = self._filled, 0
        with memoryview(self._buffer) as view:
            done = 0
            aligned = filled - filled % ALIGNMENT
            if self._direct and aligned >= DIRECT_MIN and self._start % ALIGNMENT == 0:
                done = self._write_direct(view[:aligned])
            while done < filled:
                done += os.pwrite(self._descriptor, view[done:filled], self._start + done)

    def _write_direct(self, view: memoryview) -> int:
        """Return how much was written past the cache: nothing where that cannot be done."""
        before = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, before | self._direct)
            return os.pwrite(self._descriptor, view, self._start)
        except OSError:
            # The way through the cache works, or tells the reason.
            self._direct = 0
            return 0
        finally:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, before)
