"""A blob store in a directory: one file an object, published whole by a hard link.

Rules, each of which the harness takes away to see that a point is lost without it:

- an object is written to a temporary file, all of it, and flushed before it gets its name;
- a flush that failed is never repeated: the file is given up, and written anew under a new name;
- the name is a hard link, which never replaces what is there: of two writers one succeeds;
- the directory is flushed before an answer is given, also to the one who found the name taken:
  what another writer has made visible need not be durable yet;
- a directory that others made is flushed in its parent before anybody relies on what is in it.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reference_engine.adapters.os_file_system import OsFileSystem
from reference_engine.adapters.store_errors import StoreUnusableError
from reference_engine.model.errors import (
    CorruptionError,
    OperationFailedError,
    RepositoryFullError,
)
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.file_system import FileSystem

_NAME: Final = re.compile(r"[a-z0-9-][a-z0-9.-]*(/[a-z0-9-][a-z0-9.-]*)*")
_TEMPORARY: Final = "~incoming-"
"""`~` is no part of any object's name, so a left-over temporary is never taken for an object."""

_TIDIED_MAX: Final = 4
"""How often a temporary that somebody tidied away is written again without a word."""

_REMEDIES: Final = {
    errno.EFBIG: "raise the limit on file sizes",
    errno.EROFS: "make it writable",
    errno.EACCES: "grant access to it",
    errno.EPERM: "use a file system that allows it",
    errno.EOPNOTSUPP: "use a file system that has hard links",
    errno.ENOTDIR: "name a directory",
    errno.EISDIR: "remove what is in the way",
    errno.ELOOP: "name a directory",
    errno.ENAMETOOLONG: "choose a shorter path",
}
"""What a person can do about it; every other failure may pass by itself."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

_UNFLUSHABLE: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL)
"""Why the directory around the repository cannot be flushed by everybody who may write inside."""


class DirectoryStore(BlobStore):
    """Write-once objects below `root`, which is made on the first create."""

    def __init__(self, root: Path, /, *, files: FileSystem | None = None) -> None:
        self._root = os.fspath(root)
        self._files = OsFileSystem() if files is None else files
        self._lasting: set[str] = set()
        """Directories below which we have published, and whose own names are durable."""

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store `content` durably under `name`; return False, changing nothing, if it exists.

        Raises:
            RepositoryFullError: no space, or none by a quota; nothing was created.
            StoreUnusableError: no permission, no directory; nothing was created.
            OperationFailedError: the object may or may not exist.
        """
        path = self._path(name)
        return await self._files.apart(lambda: self._create(path, content))

    async def make_durable(self, name: str, /) -> None:
        """Flush the name of the object; its content is durable, since before it got that name.

        Raises:
            OperationFailedError: it may not survive a power cut.
        """
        path = self._path(name)
        await self._files.apart(lambda: self._make_durable(path))

    async def tidy(self) -> None:
        """Remove temporary files; who is writing one begins anew under another name.

        Raises:
            StoreUnusableError, OperationFailedError: some of them are left.
        """
        await self._files.apart(self._tidy)

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None where there is none.

        Raises:
            StoreUnusableError: no permission, no directory.
            OperationFailedError: it could not be read this time.
        """
        path = self._path(name)
        return await self._files.apart(lambda: self._read(path))

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            CorruptionError: the object is missing or shorter.
            OperationFailedError: it could not be read this time.
        """
        path = self._path(name)
        return await self._files.apart(lambda: self._read_range(path, name, offset, length))

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending; temporaries are none."""
        return await self._files.apart(lambda: self._names(prefix))

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return the size of every object whose name starts with `prefix`, in bytes."""
        return await self._files.apart(lambda: self._sizes(prefix))

    async def delete(self, name: str, /) -> None:
        """Remove an object; true also where there is none."""
        path = self._path(name)
        await self._files.apart(lambda: self._delete(path))

    async def stranger(self) -> str | None:
        """Return the name of something in the directory that is no object of ours, if any."""
        return await self._files.apart(self._stranger)

    async def _stranger(self) -> str | None:
        with self._explained("listing", self._root):
            for name in sorted(await self._below("")):
                file = name.rpartition("/")[2]
                if not _NAME.fullmatch(name) and not file.startswith(_TEMPORARY):
                    return name
        return None

    def _path(self, name: str) -> str:
        assert _NAME.fullmatch(name), name
        return f"{self._root}/{name}"

    async def _create(self, path: str, content: bytes | bytearray) -> bool:
        with self._explained("writing", path):
            created = False
            if not await self._files.exists(path):
                created = await self._publish(path, content)
            # A name that was there already may be as young as one of ours: flush it too.
            await self._flush_name(path)
            await self._let_last(_parent(path))
            return created

    async def _tidy(self) -> None:
        with self._explained("tidying", self._root):
            for name in sorted(await self._below("")):
                if name.rpartition("/")[2].startswith(_TEMPORARY):
                    with contextlib.suppress(FileNotFoundError):
                        await self._files.unlink(self._root + "/" + name)

    async def _make_durable(self, path: str) -> None:
        with self._explained("flushing", path):
            await self._flush_name(path)
            await self._let_last(_parent(path))

    async def _read(self, path: str) -> bytes | None:
        with self._explained("reading", path):
            try:
                return await self._files.read(path, offset=0, length=None)
            except FileNotFoundError:
                return None

    async def _read_range(self, path: str, name: str, offset: int, length: int) -> bytes:
        with self._explained("reading", path):
            try:
                content = await self._files.read(path, offset=offset, length=length)
            except FileNotFoundError:
                raise CorruptionError(f"object {name} is missing") from None
        if len(content) < length:
            raise CorruptionError(f"object {name} ends at byte {offset + len(content)}")
        return content

    async def _names(self, prefix: str) -> tuple[str, ...]:
        with self._explained("listing", self._root):
            found = await self._below(prefix.rpartition("/")[0])
        return tuple(sorted(n for n in found if n.startswith(prefix) and _NAME.fullmatch(n)))

    async def _below(self, start: str) -> list[str]:
        """Return the names, below the root, of all files below `start`."""
        found: list[str] = []
        left = [start]
        while left:
            at = left.pop()
            try:
                entries = await self._files.entries(f"{self._root}/{at}" if at else self._root)
            except FileNotFoundError:
                continue
            for name, is_directory in entries:
                (left if is_directory else found).append(f"{at}/{name}" if at else name)
        return found

    async def _sizes(self, prefix: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in await self._names(prefix):
            # What is deleted meanwhile has no size any more.
            with self._explained("listing", self._root), contextlib.suppress(FileNotFoundError):
                found[name] = await self._files.size(self._path(name))
        return found

    async def _delete(self, path: str) -> None:
        with self._explained("deleting", path):
            try:
                await self._files.unlink(path)
            except FileNotFoundError:
                return
            await self._files.flush_directory(_parent(path))

    async def _publish(self, path: str, content: bytes | bytearray) -> bool:
        """Publish `content`, making directories as needed; a failure leaves no new root behind."""
        made: list[str] = []
        try:
            await self._make_directory(_parent(path), made)
            for _ in range(_TIDIED_MAX):
                with contextlib.suppress(FileNotFoundError):
                    return await self._link_whole(path, content)
            return await self._link_whole(path, content)
        except OSError:
            # Only who made the root too is alone in it, and may take directories away again.
            if self._root in made:
                with contextlib.suppress(OSError):
                    for directory in reversed(made):
                        await self._files.remove_directory(directory)
            raise

    async def _make_directory(self, directory: str, made: list[str]) -> None:
        """Make a directory and its parents, each durable before the next; note them in `made`."""
        missing: list[str] = []
        at = directory
        while not await self._files.exists(at):
            missing.append(at)
            at = _parent(at)
        for path in reversed(missing):
            try:
                await self._files.make_directory(path)
                made.append(path)
            except FileExistsError:
                pass  # another writer's, who may not have flushed it yet
            await self._files.flush_directory(_parent(path))

    async def _link_whole(self, path: str, content: bytes | bytearray) -> bool:
        """Publish `content` under `path` unless something is there; return whether it was done."""
        temporary = f"{_parent(path)}/{_TEMPORARY}{self._files.token()}"
        try:
            await self._write_whole(temporary, content)
            await self._files.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            # What cannot be removed is ignored by everybody; the first error is the one to report.
            with contextlib.suppress(OSError):
                await self._files.unlink(temporary)
        return True

    async def _write_whole(self, path: str, content: bytes | bytearray) -> None:
        """Write a new file to the last byte and make its content durable."""
        descriptor = await self._files.create(path)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[await self._files.write(descriptor, rest) :]
            await self._files.flush(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                await self._files.close(descriptor)
            raise
        # Some file systems report only here what could not be written.
        await self._files.close(descriptor)

    async def _flush_name(self, path: str) -> None:
        """Make the name of an object durable, whoever gave it."""
        await self._files.flush_directory(_parent(path))

    async def _let_last(self, directory: str) -> None:
        """Make durable the names of the directories from the root down to `directory`, once.

        Another writer may have made them a moment ago. Those above the root were flushed before
        the root was made.
        """
        if directory in self._lasting:
            return
        if directory != self._root:
            await self._let_last(_parent(directory))
            await self._files.flush_directory(_parent(directory))
        else:
            try:
                await self._files.flush_directory(_parent(directory))
            except OSError as error:
                # Who may not even open it has not made the root either.
                if error.errno not in _UNFLUSHABLE:
                    raise
        self._lasting.add(directory)

    @contextlib.contextmanager
    def _explained(self, doing: str, path: str) -> Iterator[None]:
        """Turn the operating system's errors into ours."""
        try:
            yield
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            if error.errno in _FULL:
                raise RepositoryFullError(self._root) from error
            remedy = _REMEDIES.get(error.errno or 0)
            if remedy is None:
                raise OperationFailedError(f"{doing} {path}", cause) from error
            raise StoreUnusableError(self._root, cause, remedy) from error


def _parent(path: str) -> str:
    return os.path.dirname(path) or "."  # noqa: PTH120 - the port's paths are strings
