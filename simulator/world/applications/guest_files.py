"""A guest's file system, as small as can be: each file has its own cells, the first its header.

What a program writes is in memory first, and goes to the disk when the program syncs or truncates:
content before the header, so that a file never ends behind what is there.
"""

import struct
from collections.abc import Callable
from typing import Final

import google_crc32c

from reference_engine.model.errors import CorruptionError

_MAGIC: Final = b"TWFILE01"
_ABSENT: Final = (1 << 64) - 1
_CRC: Final = struct.Struct("<I")


class FileHeaderError(CorruptionError):
    """A file's header in an image is not what its file system wrote."""

    def __init__(self, name: str, /) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the header of the file {self.name} is damaged"


class FileFullError(Exception):
    """A file would outgrow its cells."""


Flush = Callable[[str, int, bytes], None]
"""Takes a file's name, a cell counted from its header, and the cell's new content."""


class GuestFile:
    """One file, as the programs in the guest see it."""

    def __init__(self, name: str, /, *, cell: int, cells: int, flush: Flush) -> None:
        """`cells` counts the header's."""
        self.name, self._cell, self._flush = name, cell, flush
        self._room = (cells - 1) * cell
        self.content: bytearray | None = None
        """None: there is no such file."""

        self._dirty: dict[int, None] = {}
        self._length_on_disk: int | None = -1

    @property
    def length(self) -> int:
        """How many bytes it has; 0 where it is not."""
        return len(self.content or b"")

    def create(self) -> None:
        """Be there, empty; nothing happens to a file that is there."""
        if self.content is None:
            self.content = bytearray()

    def read(self, amount: int, offset: int, /) -> bytes:
        """Return the bytes at an offset, fewer at the end."""
        return bytes((self.content or b"")[offset : offset + amount])

    def write(self, data: bytes, offset: int, /) -> None:
        """Put bytes at an offset; the file grows where they end behind it.

        Raises:
            FileFullError: there are no cells for that.
        """
        self.create()
        assert self.content is not None
        end = offset + len(data)
        if end > self._room:
            raise FileFullError(self.name)
        if end > len(self.content):
            self.content.extend(bytes(end - len(self.content)))
        self.content[offset:end] = data
        self._dirty |= dict.fromkeys(range(offset // self._cell, -(-end // self._cell)))

    def truncate(self, length: int, /) -> None:
        """End at `length`, on the disk too."""
        self.create()
        assert self.content is not None
        del self.content[length:]
        self.content.extend(bytes(max(0, length - len(self.content))))
        self.sync()

    def remove(self) -> None:
        """Be no more, on the disk too."""
        self.content = None
        self.sync()

    def sync(self) -> None:
        """Write to the disk what is not there yet."""
        for number in sorted(self._dirty):
            piece = self.read(self._cell, number * self._cell)
            if piece:
                self._flush(self.name, 1 + number, piece.ljust(self._cell, b"\0"))
        self._dirty.clear()
        length = None if self.content is None else len(self.content)
        if length != self._length_on_disk:
            self._length_on_disk = length
            self._flush(self.name, 0, _encode(length, self._cell))

    def load(self, read: Callable[[int], bytes], /) -> None:
        """Be what the disk says, `read` returning the file's cells.

        Raises:
            FileHeaderError: the header is damaged.
        """
        length = _decode(read(0))
        if length is not None and not 0 <= length <= self._room:
            raise FileHeaderError(self.name)
        self._dirty.clear()
        self._length_on_disk = length
        self.content = None
        if length is not None:
            cells = -(-length // self._cell)
            self.content = bytearray(b"".join(read(1 + at) for at in range(cells)))[:length]


def _encode(length: int | None, cell: int) -> bytes:
    stated = _ABSENT if length is None else length
    body = _MAGIC + struct.pack("<Q", stated)
    return (body + _CRC.pack(google_crc32c.value(body))).ljust(cell, b"\0")


def _decode(raw: bytes) -> int | None:
    """Return the length that a header states, None for no file, -1 for a damaged header."""
    magic, length, crc = struct.unpack_from("<8sQI", raw)
    if magic != _MAGIC or crc != google_crc32c.value(raw[:16]):
        return -1
    return None if length == _ABSENT else int(length)
