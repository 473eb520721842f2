"""A disk that notes what is done to it: the process that serves it as the file `disk` (FUSE).

Run as a program: `logged_disk IMAGE LOG MOUNTPOINT`; it writes one line once it is mounted, serves
until it is unmounted, and ends with whoever started it.
"""

import ctypes
import errno
import os
import signal
import stat
import sys
from typing import Any, Final

from simulator.campaign.proving.power.write_log import FLUSH, WRITE, header

NAME: Final = "disk"
_PATH: Final = f"/{NAME}"
_DIE_WITH_PARENT: Final = 1
"""Linux: PR_SET_PDEATHSIG."""


class LoggedDisk:
    """One file of a fixed size, and the log of all writes to it and flushes of it."""

    use_ns = True

    def __init__(self, image: str, log: str, /) -> None:
        self._image = os.open(image, os.O_RDWR)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._image).st_size

    def init(self, _: str) -> None:
        """Say that the file is there."""
        os.write(1, b"ready\n")

    def getattr(self, path: str, _: int | None = None) -> dict[str, int]:
        """Return what the kernel wants to know of the directory or of the disk."""
        match path:
            case "/":
                return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
            case "/disk":
                return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._size}
            case _:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def readdir(self, _: str, __: int) -> list[str]:
        """Return the names in the directory."""
        return [".", "..", NAME]

    def open(self, _: str, __: int) -> int:
        """Let anybody who may mount open the disk."""
        return 0

    def read(self, _: str, size: int, offset: int, __: int) -> bytes:
        """Return what was written last."""
        return os.pread(self._image, size, offset)

    def write(self, _: str, data: bytes, offset: int, __: int) -> int:
        """Note the write, then do it."""
        os.writev(self._log, [header(WRITE, offset, len(data)), data])
        return os.pwrite(self._image, data, offset)

    def fsync(self, _: str, __: int, ___: int) -> int:
        """Note that all writes so far survive."""
        os.write(self._log, header(FLUSH, 0, 0))
        return 0


def main() -> None:
    """Serve the disk until it is unmounted."""
    image, log, mountpoint = sys.argv[1:]
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        return
    import mfusepy  # noqa: PLC0415 - an extra, and it looks for the system's library

    serve: Any = mfusepy.FUSE
    serve(LoggedDisk(image, log), mountpoint, foreground=True, nothreads=True)


if __name__ == "__main__":
    main()
