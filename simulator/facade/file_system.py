"""The `FileSystem` port over simulated storage: every call is a step, and may fail."""

import errno
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from reference_engine.ports.file_system import DirectoryEntry, FileSystem
from simulator.faults.storage import SHORT, StorageFaults
from simulator.kernel.stepping import PowerLostError, step
from simulator.kernel.streams import Stream
from simulator.world.file_system import CrashableFiles

Result = TypeVar("Result")


class FileSystemFacade(FileSystem):
    """One process's view of the storage; `die` ends the process, not the storage."""

    def __init__(self, files: CrashableFiles, faults: StorageFaults, chance: Stream, /) -> None:
        self._files, self._faults, self._chance = files, faults, chance
        self._dead = False
        self.last = ""
        """The call that was made last, for whoever looks on."""

    def die(self) -> None:
        """Refuse every call from now on, also what a process would do on its way out."""
        self._dead = True

    async def _before(self, kind: str, path: str) -> int:
        """Wait for this call's turn; return whether it has to be short."""
        if self._dead:
            raise PowerLostError
        await step(kind)
        fault = self._faults.strike(kind, path)
        self.last = f"{kind} {path}{f' fails: {fault}' if fault else ''}"
        if fault > 0:
            raise OSError(fault, errno.errorcode[fault], path)
        return fault

    async def apart(self, work: Callable[[], Coroutine[Any, Any, Result]], /) -> Result:
        """Return what `work` returns, done in place."""
        return await work()

    def token(self) -> str:
        """Return 16 hexadecimal digits."""
        return f"{self._chance.bits():016x}"

    async def create(self, path: str, /) -> int:
        """Return the descriptor of a new, empty file."""
        await self._before("create", path)
        return self._files.create(path)

    async def write(self, descriptor: int, content: memoryview, /) -> int:
        """Write behind what was written before; a short write does half of it."""
        short = await self._before("write", "") == SHORT
        amount = max(1, len(content) // 2) if short else len(content)
        return self._files.write(descriptor, bytes(content[:amount]))

    async def flush(self, descriptor: int, /) -> None:
        """Make the file's content durable; where that fails, it never will be."""
        try:
            await self._before("flush", "")
        except OSError:
            self._files.lose_writes(descriptor)
            raise
        self._files.flush(descriptor)

    async def close(self, descriptor: int, /) -> None:
        """Give the descriptor back."""
        await self._before("close", "")
        self._files.close(descriptor)

    async def link(self, path: str, name: str, /) -> None:
        """Let the file at `path` have another name too."""
        await self._before("link", name)
        self._files.link(path, name)

    async def unlink(self, path: str, /) -> None:
        """Take a file's name away."""
        await self._before("unlink", path)
        self._files.unlink(path)

    async def exists(self, path: str, /) -> bool:
        """Return whether anything has this name."""
        await self._before("exists", path)
        return self._files.exists(path)

    async def size(self, path: str, /) -> int:
        """Return how many bytes a file holds."""
        await self._before("size", path)
        return len(self._files.read(path, offset=0, length=None))

    async def read(self, path: str, /, *, offset: int, length: int | None) -> bytes:
        """Return up to `length` bytes of a file from `offset`."""
        await self._before("read", path)
        return self._files.read(path, offset=offset, length=length)

    async def entries(self, directory: str, /) -> list[DirectoryEntry]:
        """Return what is in a directory."""
        await self._before("entries", directory)
        return self._files.entries(directory)

    async def make_directory(self, path: str, /) -> None:
        """Make one directory in one that exists."""
        await self._before("make-directory", path)
        self._files.make_directory(path)

    async def remove_directory(self, path: str, /) -> None:
        """Remove an empty directory."""
        await self._before("remove-directory", path)
        self._files.remove_directory(path)

    async def flush_directory(self, path: str, /) -> None:
        """Make the names in a directory durable."""
        await self._before("flush-directory", path)
        self._files.flush_directory(path)
