"""Another program on the same file system: it flushes what it writes after each call of ours.

A journal is one for all. Whoever flushes makes the names durable that others have made so far, and
not their bytes; a command alone on its file system seldom meets that in its middle. Where a flush
concerns one file only, it is the whole file system that is flushed, as for a snapshot.
"""

import ctypes
import os
from pathlib import Path

from simulator.campaign.proving.os_calls import Watch


class Neighbour:
    """Writes a byte after every changing call below a directory, and flushes it."""

    def __init__(self, disk: Path, /, *, journal_shared: bool) -> None:
        self._disk = disk
        self._descriptor = os.open(disk / "neighbour", os.O_RDWR | os.O_CREAT, 0o600)
        # The watch replaces them; these calls are not ours.
        self._write = os.pwrite
        self._flush = os.fsync if journal_shared else ctypes.CDLL(None).syncfs
        self._size = 0

    def move_in(self) -> None:
        """Follow every call of this process from now on, for good."""
        Watch(str(self._disk), fault=None, after=self._write_and_flush).install()

    def move_out(self) -> None:
        """Hold nothing open any more, so that the file system can be unmounted."""
        os.close(self._descriptor)

    def _write_and_flush(self, kind: str) -> None:
        if kind != "fsync":  # that has just flushed the journal itself
            self._write(self._descriptor, b"n", self._size)
            self._flush(self._descriptor)
            self._size += 1
