"""A raw image file or a block device, written in place."""

import ctypes
import errno
import os
import stat
from pathlib import Path
from typing import Final, NoReturn

from reference_engine.formats.target import DiskTarget
from reference_engine.model.errors import InputRefusedError, OperationFailedError
from reference_engine.model.units import MIB, ByteCount

_ZEROS: Final = bytes(1 * MIB)
_PUNCH_HOLE: Final = 0x02
_KEEP_SIZE: Final = 0x01
"""fallocate(2). For a device it discards, and the range then reads as zeros, or it fails."""


class FileTarget(DiskTarget):
    """An existing file or device, open for as long as this lives."""

    def __init__(self, path: Path, /) -> None:
        """Open it; of a device, as the only one who has it.

        Raises:
            InputRefusedError: it is neither a file nor a block device, or somebody uses it.
        """
        self._path = path
        self.name = str(path)
        self._descriptor = -1
        try:
            kind = path.stat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
                raise InputRefusedError(
                    f"{path} is neither a file nor a block device", "name one that is"
                )
            # Linux refuses O_EXCL for a device that is mounted or otherwise in use.
            only = os.O_EXCL if stat.S_ISBLK(kind) else 0
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | only)
            self.size = ByteCount(os.lseek(self._descriptor, 0, os.SEEK_END))
        except OSError as error:
            self.close()
            words = (error.strerror or str(error)).lower()
            remedy = "name a disk that is there and may be written"
            if error.errno == errno.EBUSY:
                words, remedy = "it is in use", "unmount it, and stop whoever has it"
            raise InputRefusedError(f"{path} cannot be opened: {words}", remedy) from error

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly the `length` bytes at `offset`."""
        parts: list[bytes] = []
        try:
            while length:
                part = os.pread(self._descriptor, length, offset)
                if not part:
                    self._fail("reading", "it has become shorter")
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        except OSError as error:
            self._fail("reading", error)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: bytes | memoryview, /) -> None:
        """Put all of `data` at `offset`."""
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[written:], offset + written
        except OSError as error:
            self._fail("writing", error)

    def zero(self, offset: int, length: int, /) -> None:
        """Make a hole where the file system can, and write zeros where it cannot."""
        if length and not _punched(self._descriptor, offset, length):
            for at in range(offset, offset + length, len(_ZEROS)):
                self.write(at, memoryview(_ZEROS)[: offset + length - at])

    def sync(self) -> None:
        """Make durable what has been written."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._fail("writing", error)

    def close(self) -> None:
        """Give it back."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _fail(self, doing: str, cause: OSError | str) -> NoReturn:
        words = cause if isinstance(cause, str) else (cause.strerror or str(cause)).lower()
        raise OperationFailedError(f"{doing} {self.name}", words)


def _punched(descriptor: int, offset: int, length: int) -> bool:
    """Return whether the range is a hole now, on systems that know holes."""
    try:
        call = ctypes.CDLL(None, use_errno=True).fallocate
    except (AttributeError, OSError, TypeError):  # no such function, no such loader
        return False
    arguments = (ctypes.c_int64(offset), ctypes.c_int64(length))
    return bool(call(descriptor, _PUNCH_HOLE | _KEEP_SIZE, *arguments) == 0)
