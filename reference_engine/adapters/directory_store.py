"""A blob store in a directory: one file an object, published whole by a hard link.

An object is written to a temporary file, flushed to the disk, and then linked to its name. A link
never replaces what is there, so two writers of one name cannot both succeed, and a crash leaves
either no object or a whole one. The directory is flushed before an answer is given.
"""

import asyncio  # noqa: TID251 - adapters are where blocking calls meet the event loop
import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reference_engine.adapters.store_errors import StoreUnusableError
from reference_engine.model.errors import CorruptionError, OperationFailedError
from reference_engine.ports.blob_store import BlobStore

_NAME: Final = re.compile(r"[a-z0-9-][a-z0-9.-]*(/[a-z0-9-][a-z0-9.-]*)*")
_TEMPORARY: Final = "~incoming-"
"""`~` is no part of any object's name, so a left-over temporary is never taken for an object."""

_REMEDIES: Final = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
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


class DirectoryStore(BlobStore):
    """Write-once objects below `root`, which is made on the first create."""

    def __init__(self, root: Path, /) -> None:
        self._root = root

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store `content` durably under `name`; return False, changing nothing, if it exists.

        Raises:
            StoreUnusableError: no space, no permission, no directory; nothing was created.
            OperationFailedError: the object may or may not exist.
        """
        return await asyncio.to_thread(self._create, self._path(name), content)

    async def make_durable(self, name: str, /) -> None:
        """Flush the directory in which the object is; its content is, since before the link.

        Raises:
            OperationFailedError: it may not survive a power cut.
        """
        await asyncio.to_thread(self._make_durable, self._path(name))

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None where there is none.

        Raises:
            StoreUnusableError: no permission, no directory.
            OperationFailedError: it could not be read this time.
        """
        return await asyncio.to_thread(self._read, self._path(name))

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            CorruptionError: the object is missing or shorter.
            OperationFailedError: it could not be read this time.
        """
        return await asyncio.to_thread(self._read_range, self._path(name), name, offset, length)

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending; temporaries are none."""
        return await asyncio.to_thread(self._names, prefix)

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return the size of every object whose name starts with `prefix`, in bytes."""
        return await asyncio.to_thread(self._sizes, prefix)

    async def delete(self, name: str, /) -> None:
        """Remove an object; true also where there is none."""
        await asyncio.to_thread(self._delete, self._path(name))

    async def stranger(self) -> str | None:
        """Return the name of something in the directory that is no object of ours, if any."""
        return await asyncio.to_thread(self._stranger)

    def _stranger(self) -> str | None:
        with self._explained("listing", self._root):
            for directory, below, files in os.walk(self._root, onerror=_report_unless_absent):
                below.sort()
                for file in sorted(files):
                    name = (Path(directory) / file).relative_to(self._root).as_posix()
                    if not _NAME.fullmatch(name) and not file.startswith(_TEMPORARY):
                        return name
        return None

    def _path(self, name: str) -> Path:
        assert _NAME.fullmatch(name), name
        return self._root / name

    def _create(self, path: Path, content: bytes | bytearray) -> bool:
        with self._explained("writing", path):
            created = not path.exists() and self._link_whole(path, content)
            # A name that was there already may be as young as one of ours: flush it too.
            _flush_directory(path.parent)
            return created

    def _make_durable(self, path: Path) -> None:
        with self._explained("flushing", path):
            _flush_directory(path.parent)

    def _read(self, path: Path) -> bytes | None:
        with self._explained("reading", path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def _read_range(self, path: Path, name: str, offset: int, length: int) -> bytes:
        with self._explained("reading", path):
            try:
                with path.open("rb") as stream:
                    stream.seek(offset)
                    content = stream.read(length)
            except FileNotFoundError:
                raise CorruptionError(f"object {name} is missing") from None
        if len(content) < length:
            raise CorruptionError(f"object {name} ends at byte {offset + len(content)}")
        return content

    def _names(self, prefix: str) -> tuple[str, ...]:
        found: list[str] = []
        with self._explained("listing", self._root):
            start = self._root / prefix.rpartition("/")[0]
            for directory, _, files in os.walk(start, onerror=_report_unless_absent):
                below = Path(directory).relative_to(self._root)
                found += [(below / file).as_posix() for file in files]
        return tuple(sorted(n for n in found if n.startswith(prefix) and _NAME.fullmatch(n)))

    def _sizes(self, prefix: str) -> dict[str, int]:
        found: dict[str, int] = {}
        with self._explained("listing", self._root):
            for name in self._names(prefix):
                # What is deleted meanwhile has no size any more.
                with contextlib.suppress(FileNotFoundError):
                    found[name] = (self._root / name).stat().st_size
        return found

    def _delete(self, path: Path) -> None:
        with self._explained("deleting", path):
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _flush_directory(path.parent)

    def _link_whole(self, path: Path, content: bytes | bytearray) -> bool:
        """Publish `content`, making directories as needed; a failure leaves none of them behind."""
        made: list[Path] = []
        try:
            _make_directory(path.parent, made)
            return _link_whole(path, content)
        except OSError:
            with contextlib.suppress(OSError):
                for directory in reversed(made):
                    directory.rmdir()
            raise

    @contextlib.contextmanager
    def _explained(self, doing: str, path: Path) -> Iterator[None]:
        """Turn the operating system's errors into ours."""
        try:
            yield
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            remedy = _REMEDIES.get(error.errno or 0)
            if remedy is None:
                raise OperationFailedError(f"{doing} {path}", cause) from error
            raise StoreUnusableError(str(self._root), cause, remedy) from error


def _make_directory(directory: Path, made: list[Path]) -> None:
    """Make a directory and its parents, each durable before the next; note them in `made`."""
    missing: list[Path] = []
    at = directory
    while not at.exists():
        missing.append(at)
        at = at.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        made.append(path)
        _flush_directory(path.parent)


def _link_whole(path: Path, content: bytes | bytearray) -> bool:
    """Publish `content` under `path`, unless something is there; return whether it was done."""
    temporary = path.with_name(_TEMPORARY + os.urandom(8).hex())
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        # What cannot be removed is ignored by everybody; the first error is the one to report.
        with contextlib.suppress(OSError):
            temporary.unlink()
    return True


def _flush_directory(directory: Path) -> None:
    """Make the directory's entries durable. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _report_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
