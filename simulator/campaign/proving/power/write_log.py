"""What reached a disk, in its order: writes, and flushes after which all earlier writes survive.

A record is a letter, an offset and a length (little-endian, 13 bytes), and then the bytes.
"""

import functools
import struct
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

_JOURNAL_MAGICS: Final = (b"\xc0\x3b\x39\x98", b"\xfe\xed\xba\xbe")
"""How a block of ext4's journal begins, and a record of XFS's log."""

WRITE: Final = b"W"
FLUSH: Final = b"F"
_HEADER: Final = struct.Struct("<cQI")


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that reached the disk, perhaps only its cache."""

    offset: int
    content: bytes


def header(kind: bytes, offset: int, length: int, /) -> bytes:
    """Return how a record begins."""
    return _HEADER.pack(kind, offset, length)


class WriteLog:
    """All that reached a disk; a flush is a None among the writes."""

    def __init__(self, content: bytes, /) -> None:
        self.records: list[Write | None] = []
        self._ends: list[int] = []
        """Where each record ends, in bytes of the log."""

        self._flushes: list[int] = []
        """How many records there were with each flush, ascending."""

        at = 0
        while at + _HEADER.size <= len(content):
            kind, offset, length = _HEADER.unpack_from(content, at)
            at += _HEADER.size + length
            if at > len(content):
                break  # not noted whole, and so never answered
            self._ends.append(at)
            if kind == FLUSH:
                self.records.append(None)
                self._flushes.append(len(self.records))
            else:
                self.records.append(Write(offset=offset, content=content[at - length : at]))

    @classmethod
    def read(cls, path: Path, /) -> "WriteLog":
        """Return the log of a file."""
        return cls(path.read_bytes())

    @functools.cached_property
    def journal(self) -> range:
        """Which bytes of the disk are its journal, as far as it was written; empty without one."""
        writes = [
            each
            for each in self.records
            if each is not None and each.content.startswith(_JOURNAL_MAGICS)
        ]
        if not writes:
            return range(0)
        return range(
            min(each.offset for each in writes),
            max(each.offset + len(each.content) for each in writes),
        )

    def flushes_within(self, first: int, last: int, /) -> Sequence[int]:
        """Return how many records there were with each flush, more than `first`, at most `last`."""
        flushes = self._flushes
        return flushes[bisect_right(flushes, first) : bisect_right(flushes, last)]

    @property
    def flushes(self) -> int:
        """How often the disk was flushed."""
        return len(self._flushes)

    def records_before(self, position: int, /) -> int:
        """Return how many records there were when the log was `position` bytes long."""
        return bisect_right(self._ends, position)

    def position(self, records: int, /) -> int:
        """Return how long the log was, in bytes, with so many records."""
        return self._ends[records - 1] if records else 0

    def flushed(self, records: int, /) -> int:
        """Return how many of the first so many records have survived for certain."""
        index = bisect_right(self._flushes, records) - 1
        return self._flushes[index] if index >= 0 else 0
