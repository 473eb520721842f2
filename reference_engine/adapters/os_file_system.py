"""The file system of this machine."""

import asyncio  # noqa: TID251 - adapters are where blocking calls meet the event loop
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from reference_engine.formats.direct_write import DIRECT_MIN, write_whole
from reference_engine.ports.file_system import DirectoryEntry, FileSystem

Result = TypeVar("Result")

NEW: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)
"""How a file is made that nobody else has; bytes are bytes on Windows too."""

READ: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def _driven(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Return what `work` returns; nothing that it awaits here ever suspends it."""
    coroutine = work()
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    coroutine.close()
    raise AssertionError("a call of the file system suspended its caller")


class OsFileSystem(FileSystem):
    """Calls of the operating system. They block, and so are made in a thread of their own."""

    async def apart(self, work: Callable[[], Coroutine[Any, Any, Result]], /) -> Result:
        """Return what `work` returns, done in a thread from its first call to its last."""
        return await asyncio.to_thread(_driven, work)

    def token(self) -> str:
        """Return 16 hexadecimal digits."""
        return os.urandom(8).hex()

    async def create(self, path: str, /) -> int:
        """Return the descriptor of a new, empty file."""
        return os.open(path, NEW, 0o666)

    async def write(self, descriptor: int, content: memoryview, /) -> int:
        """Write behind what was written before; return how many bytes were."""
        if len(content) < DIRECT_MIN or os.lseek(descriptor, 0, os.SEEK_CUR):
            return os.write(descriptor, content)
        write_whole(descriptor, content)
        return os.lseek(descriptor, len(content), os.SEEK_SET)

    async def flush(self, descriptor: int, /) -> None:
        """Make the file's content durable."""
        os.fsync(descriptor)

    async def close(self, descriptor: int, /) -> None:
        """Give the descriptor back."""
        os.close(descriptor)

    async def link(self, path: str, name: str, /) -> None:
        """Let the file at `path` have another name too."""
        os.link(path, name)

    async def unlink(self, path: str, /) -> None:
        """Take a file's name away."""
        os.unlink(path)  # noqa: PTH108 - the port's paths are strings

    async def exists(self, path: str, /) -> bool:
        """Return whether anything has this name."""
        try:
            os.stat(path)  # noqa: PTH116 - the port's paths are strings
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    async def read(self, path: str, /, *, offset: int, length: int | None) -> bytes:
        """Return up to `length` bytes of a file from `offset`, or all from there."""
        descriptor = os.open(path, READ)
        try:
            if offset:
                os.lseek(descriptor, offset, os.SEEK_SET)
            left = os.fstat(descriptor).st_size - offset if length is None else length
            parts: list[bytes] = []
            while left > 0 and (part := os.read(descriptor, left)):
                parts.append(part)
                left -= len(part)
        finally:
            os.close(descriptor)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def size(self, path: str, /) -> int:
        """Return how many bytes a file has."""
        return os.stat(path).st_size  # noqa: PTH116 - the port's paths are strings

    async def entries(self, directory: str, /) -> list[DirectoryEntry]:
        """Return what is in a directory, in any order; a link is not followed."""
        with os.scandir(directory) as found:
            return [DirectoryEntry(each.name, each.is_dir(follow_symlinks=False)) for each in found]

    async def make_directory(self, path: str, /) -> None:
        """Make one directory in one that exists."""
        os.mkdir(path)  # noqa: PTH102 - the port's paths are strings

    async def remove_directory(self, path: str, /) -> None:
        """Remove an empty directory."""
        os.rmdir(path)  # noqa: PTH106 - the port's paths are strings

    async def flush_directory(self, path: str, /) -> None:
        """Make the names in a directory durable. Windows has no such call and needs none."""
        if os.name == "nt":
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
