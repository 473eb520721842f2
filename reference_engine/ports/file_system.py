"""What a store in a directory asks of an operating system, one call at a time.

Below this port lies nothing but the file system, and above it every rule about what has to be
flushed before what: whoever answers it can cut the power between any two calls, let a flush fail or
lose what was not flushed, and so find out whether the rules are the right ones.

Paths are strings with `/` between their parts. Every call raises OSError with its number.
"""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol, TypeVar

Result = TypeVar("Result")


class DirectoryEntry(NamedTuple):
    """One name in a directory. A tuple and no struct: a large repository has millions."""

    name: str
    is_directory: bool


class FileSystem(Protocol):
    """Files that are written once, and directories. Source: POSIX.1-2017, `open` to `write`."""

    async def apart(self, work: Callable[[], Coroutine[Any, Any, Result]], /) -> Result:
        """Return what `work` returns, done where its calls of this port may block."""

    def token(self) -> str:
        """Return 16 hexadecimal digits, fit for a name that nobody else uses."""

    async def create(self, path: str, /) -> int:
        """Return the descriptor of a new, empty file; a link is not followed."""

    async def write(self, descriptor: int, content: memoryview, /) -> int:
        """Write behind what was written before; return how many bytes were, perhaps not all."""

    async def flush(self, descriptor: int, /) -> None:
        """Make the file's content durable, but not its name.

        After an error nothing is known of what was written: a second call may succeed although the
        bytes are lost. Source: Rebello et al., "Can Applications Recover from fsync Failures?",
        USENIX ATC 2020.
        """

    async def close(self, descriptor: int, /) -> None:
        """Give the descriptor back."""

    async def link(self, path: str, name: str, /) -> None:
        """Let the file at `path` have another name too; what has that name is never replaced."""

    async def unlink(self, path: str, /) -> None:
        """Take a file's name away."""

    async def exists(self, path: str, /) -> bool:
        """Return whether anything has this name."""

    async def size(self, path: str, /) -> int:
        """Return how many bytes a file holds."""

    async def read(self, path: str, /, *, offset: int, length: int | None) -> bytes:
        """Return up to `length` bytes of a file from `offset`, or all from there."""

    async def entries(self, directory: str, /) -> list[DirectoryEntry]:
        """Return what is in a directory, in any order."""

    async def make_directory(self, path: str, /) -> None:
        """Make one directory in one that exists."""

    async def remove_directory(self, path: str, /) -> None:
        """Remove an empty directory."""

    async def flush_directory(self, path: str, /) -> None:
        """Make the names in a directory durable, and those that were taken away stay away."""
