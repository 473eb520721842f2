"""A disk that says of itself that it is incomplete, until it is not.

The first bytes of what is restored stay a mark in plain words from before anything else is written
until all else is durable. A disk whose restore was cut off begins with that mark: it has neither a
partition table nor a boot sector, nobody takes it for whole, and the next restore finishes it.
"""

from typing import Final

from reference_engine.formats.target import DiskTarget

MARK_SIZE: Final = 4096
MARK: Final = b"TWINSHOT: THIS RESTORE IS INCOMPLETE; RUN IT AGAIN TO FINISH IT\n"


class MarkedTarget:
    """The part `[start, end)` of a target, while it is restored."""

    def __init__(self, target: DiskTarget, /, *, start: int, end: int) -> None:
        """Take what is there for what should be there, wherever nothing is written."""
        self._target, self._start = target, start
        self._size = min(MARK_SIZE, end - start)
        self._head = bytearray(target.read(start, self._size))
        self.is_marked = False
        self.bytes_written = 0

    @property
    def target(self) -> DiskTarget:
        """What is written to."""
        return self._target

    def write(self, offset: int, data: bytes | memoryview, /) -> None:
        """Put `data` at `offset` of the target."""
        view = memoryview(data)
        held = self._held(offset, len(view))
        at = offset - self._start
        self._head[at : at + held] = view[:held]
        if held < len(view):
            self._target.write(offset + held, view[held:])

    def zero(self, offset: int, length: int, /) -> None:
        """Let this part of the target be zero."""
        held = self._held(offset, length)
        at = offset - self._start
        self._head[at : at + held] = bytes(held)
        if held < length:
            self._target.zero(offset + held, length - held)

    def _held(self, offset: int, length: int) -> int:
        """Return how much of what begins at `offset` belongs to the head; mark the target."""
        if not self.is_marked:
            self._target.write(self._start, MARK[: self._size].ljust(self._size, b"\0"))
            self._target.sync()
            self.is_marked = True
        self.bytes_written += length
        return max(0, min(length, self._start + self._size - offset))

    def finish(self) -> None:
        """Make all else durable, then the head in place of the mark."""
        if self.is_marked:
            self._target.sync()
            self._target.write(self._start, bytes(self._head))
            self._target.sync()
            self.is_marked = False
