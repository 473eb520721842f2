"""The file below an image: opened for reading only, read at offsets, never past its end."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from reference_engine.formats.image import DamagedImageError
from reference_engine.model.errors import (
    InputRefusedError,
    OperationFailedError,
    SourceChangedError,
)
from reference_engine.model.extents import ExtentSet

READ_LIMIT: Final = 1 << 30
"""Linux returns at most 2 GiB - 4 KiB from one read, without an error."""

RANGES_MAX: Final = 1 << 18
"""A file in more pieces than this is taken as allocated from there on, to bound the search."""


class ImageFile:
    """An open file or block device of a fixed length."""

    __slots__ = ("_descriptor", "length", "path")

    def __init__(self, path: str | os.PathLike[str], /) -> None:
        """Open `path` for reading.

        Raises:
            InputRefusedError: there is no such file, or it is neither file nor block device.
            OperationFailedError: the storage reports a fault.
        """
        self.path = os.fspath(path)
        self._descriptor = -1
        try:
            # A pipe without a writer would block here for ever without O_NONBLOCK.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            self._descriptor = os.open(self.path, flags)
            kind = os.fstat(self._descriptor).st_mode
            if stat.S_ISREG(kind) or stat.S_ISBLK(kind):
                self.length = os.lseek(self._descriptor, 0, os.SEEK_END)
        except (OSError, ValueError) as fault:
            self.close()
            raise _refusal(self.path, fault) from fault
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            self.close()
            what = "a directory" if stat.S_ISDIR(kind) else "neither a file nor a block device"
            raise InputRefusedError(f"{self.path} is {what}", "give the path of a disk image")

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly the `length` bytes at `offset`, which lie inside the file."""
        assert 0 <= offset <= offset + length <= self.length, (offset, length, self.length)
        parts: list[bytes] = []
        missing = length
        while missing:
            try:
                part = os.pread(self._descriptor, min(missing, READ_LIMIT), offset)
            except OSError as fault:
                raise OperationFailedError(f"reading {self.path}", _words(fault)) from fault
            if not part:
                raise SourceChangedError(self.path)
            parts.append(part)
            offset += len(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, offset: int, target: memoryview, /) -> None:
        """Fill `target` with the bytes at `offset`, which lie inside the file."""
        assert 0 <= offset <= offset + len(target) <= self.length, (offset, len(target))
        rest = target
        while rest:
            try:
                done = os.preadv(self._descriptor, [rest[:READ_LIMIT]], offset)
            except OSError as fault:
                raise OperationFailedError(f"reading {self.path}", _words(fault)) from fault
            if not done:
                raise SourceChangedError(self.path)
            rest, offset = rest[done:], offset + done

    def part(self, offset: int, length: int, /, *, name: str) -> bytes:
        """Return the bytes of a structure that the file must hold.

        Raises:
            DamagedImageError: the file ends before the structure does.
        """
        if offset + length > self.length:
            raise DamagedImageError(
                self.path, f"it ends after {self.length} bytes, before the end of its {name}"
            )
        return self.read(offset, length)

    def data(self) -> ExtentSet:
        """Return the ranges of the file that are no holes; all of it where nobody can tell."""
        return ExtentSet.of(self._data())

    def _data(self) -> Iterator[tuple[int, int]]:
        at = 0
        for _ in range(RANGES_MAX):
            try:
                start = os.lseek(self._descriptor, at, os.SEEK_DATA)
                end = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            except OSError as fault:
                if fault.errno == errno.ENXIO:
                    return
                break
            if not at <= start < end:
                break
            yield start, end
            at = end
            if at >= self.length:
                return
        yield at, self.length

    def close(self) -> None:
        """Give the file back; closing twice does no harm."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # Nothing was written, so nothing can be lost by it.
            with suppress(OSError):
                os.close(descriptor)


def _refusal(path: str, fault: OSError | ValueError) -> InputRefusedError | OperationFailedError:
    if isinstance(fault, FileNotFoundError):
        return InputRefusedError(f"{path} does not exist", "give the path of a disk image")
    if isinstance(fault, PermissionError):
        return InputRefusedError(f"{path} may not be read", "grant read access to it")
    if isinstance(fault, ValueError) or fault.errno in {
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENXIO,
    }:
        return InputRefusedError(f"{Path(path)!s:.200} is no usable path", "correct the path")
    return OperationFailedError(f"opening {path}", _words(fault))


def _words(fault: OSError) -> str:
    return fault.strerror or type(fault).__name__
