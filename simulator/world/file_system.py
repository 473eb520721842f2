"""A file system in memory whose power can be cut: what was not flushed is lost, torn or reordered.

Every file has what programs see and what is on the disk; every change of a directory waits until
something makes it durable. Of what waits at a power cut, chance decides what had been written.
"""

import enum
import errno
from typing import NoReturn, Protocol

from reference_engine.ports.file_system import DirectoryEntry

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""


class Durability(enum.Enum):
    """What a file system promises of changes that nobody has flushed."""

    JOURNAL = "journal"
    """Changes of directories become durable in their order; any flush makes all of them durable.

    As ext4 and XFS do it.
    """

    POSIX = "posix"
    """Each change of a directory becomes durable by itself, or when that directory is flushed."""


class Chance(Protocol):
    """Where the outcome of a power cut is drawn."""

    def below(self, limit: int, /) -> int:
        """Return a whole number in `[0, limit)`."""

    def chance(self, per_mille: int, /) -> bool:
        """Return True in `per_mille` of a thousand draws."""


class _File:
    """What programs see of a file, and what is on the disk."""

    __slots__ = ("durable", "live", "waiting")

    def __init__(self, content: bytes | bytearray = b"") -> None:
        self.live = bytearray(content)
        self.durable = bytearray(content)
        self.waiting: list[tuple[int, bytes]] = []
        """Sectors that were written and not flushed: offset and content."""

    def after_power_cut(self, chance: Chance) -> "_File":
        """Return the file with any of the sectors that were waiting."""
        found = _File(self.durable)
        for offset, content in self.waiting:
            if chance.chance(500):
                found.reach(offset, content)
        found.live = bytearray(found.durable)
        return found

    def reach(self, offset: int, content: bytes) -> None:
        """Have these bytes on the disk."""
        short = offset - len(self.durable)
        if short > 0:
            self.durable += bytes(short)
        self.durable[offset : offset + len(content)] = content


class _Change:
    """One change of a directory: `path` gets `file` (None: loses its name), or is a directory."""

    __slots__ = ("directory", "file", "is_directory", "path")

    def __init__(self, path: str, /, *, file: _File | None, is_directory: bool) -> None:
        self.path, self.file, self.is_directory = path, file, is_directory
        self.directory = parent(path)

    def carry_out(self, files: dict[str, _File], directories: dict[str, None]) -> None:
        """Have this change among the names that are on the disk."""
        if self.is_directory:
            directories[self.path] = None
        elif self.file is not None:
            files[self.path] = self.file
        else:
            files.pop(self.path, None)
            directories.pop(self.path, None)


class CrashableFiles:
    """The files below `/`; the calls are those of `ports.file_system`, done at once."""

    def __init__(self, durability: Durability, /) -> None:
        self.durability = durability
        self._files: dict[str, _File] = {}
        self._directories: dict[str, None] = {"/": None}
        self._lasting_files: dict[str, _File] = {}
        self._lasting_directories: dict[str, None] = {"/": None}
        self._changes: list[_Change] = []
        self._open: dict[int, _File] = {}
        self._descriptors = 2

    def create(self, path: str, /) -> int:
        """Return the descriptor of a new, empty file."""
        self._check_free(path)
        file = _File()
        self._files[path] = file
        self._changes.append(_Change(path, file=file, is_directory=False))
        self._descriptors += 1
        self._open[self._descriptors] = file
        return self._descriptors

    def write(self, descriptor: int, content: bytes, /) -> int:
        """Write all of `content` behind what was written before."""
        file = self._open[descriptor]
        start = len(file.live)
        file.live += content
        for at in range(0, len(content), SECTOR):
            file.waiting.append((start + at, content[at : at + SECTOR]))
        return len(content)

    def flush(self, descriptor: int, /) -> None:
        """Make the content durable; with a journal the whole of it, and every name."""
        file = self._open[descriptor]
        for offset, content in file.waiting:
            file.reach(offset, content)
        file.waiting.clear()
        if self.durability is Durability.JOURNAL:
            self._settle(None)

    def lose_writes(self, descriptor: int, /) -> None:
        """Let a flush have failed: what was written stays visible, and will never be durable."""
        self._open[descriptor].waiting.clear()

    def close(self, descriptor: int, /) -> None:
        """Give the descriptor back."""
        del self._open[descriptor]

    def link(self, path: str, name: str, /) -> None:
        """Let the file have another name too."""
        file = self._files.get(path)
        if file is None:
            _fail(errno.ENOENT, path)
        self._check_free(name)
        self._files[name] = file
        self._changes.append(_Change(name, file=file, is_directory=False))

    def unlink(self, path: str, /) -> None:
        """Take a name away."""
        if path not in self._files:
            _fail(errno.EISDIR if path in self._directories else errno.ENOENT, path)
        del self._files[path]
        self._changes.append(_Change(path, file=None, is_directory=False))

    def exists(self, path: str, /) -> bool:
        """Return whether anything has this name."""
        return path in self._files or path in self._directories

    def read(self, path: str, /, *, offset: int, length: int | None) -> bytes:
        """Return up to `length` bytes of a file from `offset`."""
        file = self._files.get(path)
        if file is None:
            _fail(errno.EISDIR if path in self._directories else errno.ENOENT, path)
        end = len(file.live) if length is None else offset + length
        return bytes(file.live[offset:end])

    def size(self, path: str, /) -> int:
        """Return how many bytes a file has."""
        return len(self.read(path, offset=0, length=None))

    def entries(self, directory: str, /) -> list[DirectoryEntry]:
        """Return what is in a directory."""
        if directory not in self._directories:
            _fail(errno.ENOTDIR if directory in self._files else errno.ENOENT, directory)
        start = len(directory.rstrip("/")) + 1
        inside = [
            DirectoryEntry(path[start:], is_directory)
            for names, is_directory in ((self._files, False), (self._directories, True))
            for path in names
            if path != "/" and parent(path) == directory
        ]
        return sorted(inside)

    def make_directory(self, path: str, /) -> None:
        """Make one directory in one that exists."""
        self._check_free(path)
        self._directories[path] = None
        self._changes.append(_Change(path, file=None, is_directory=True))

    def remove_directory(self, path: str, /) -> None:
        """Remove an empty directory."""
        if self.entries(path):
            _fail(errno.ENOTEMPTY, path)
        del self._directories[path]
        self._changes.append(_Change(path, file=None, is_directory=False))

    def flush_directory(self, path: str, /) -> None:
        """Make the names in a directory durable; with a journal every name there is."""
        if path not in self._directories:
            _fail(errno.ENOENT, path)
        self._settle(None if self.durability is Durability.JOURNAL else path)

    def after_power_cut(self, chance: Chance, /) -> "CrashableFiles":
        """Return the file system as it would be found now; this one stays as it is."""
        files, directories = dict(self._lasting_files), dict(self._lasting_directories)
        if self.durability is Durability.JOURNAL:
            reached = self._changes[: chance.below(len(self._changes) + 1)]
        else:
            reached = [each for each in self._changes if chance.chance(500)]
        for change in reached:
            change.carry_out(files, directories)
        found = CrashableFiles(self.durability)
        for path in sorted(directories):  # a directory before those inside
            if path != "/" and parent(path) in found._directories:
                found._keep_directory(path)
        copies: dict[_File, _File] = {}
        for path, file in files.items():
            if parent(path) in found._directories:
                if file not in copies:
                    copies[file] = file.after_power_cut(chance)
                found._keep_file(path, copies[file])
        return found

    def copied(self) -> "CrashableFiles":
        """Return an independent file system that holds the same, all of it durable."""
        found = CrashableFiles(self.durability)
        for path in self._directories:
            found._keep_directory(path)
        for path, file in self._files.items():
            found._keep_file(path, _File(bytes(file.live)))
        return found

    def files(self) -> tuple[str, ...]:
        """Return the path of every file, ascending."""
        return tuple(sorted(self._files))

    def content(self, path: str, /) -> bytearray:
        """Return what programs see of a file, to be read and damaged by whoever plants damage."""
        return self._files[path].live

    def _keep_directory(self, path: str) -> None:
        self._directories[path] = self._lasting_directories[path] = None

    def _keep_file(self, path: str, file: _File) -> None:
        self._files[path] = self._lasting_files[path] = file

    def _settle(self, directory: str | None) -> None:
        """Have what waits for this directory on the disk, in its order; None: for any."""
        waiting: list[_Change] = []
        for change in self._changes:
            if directory is None or change.directory == directory:
                change.carry_out(self._lasting_files, self._lasting_directories)
            else:
                waiting.append(change)
        self._changes = waiting

    def _check_free(self, path: str) -> None:
        if self.exists(path):
            _fail(errno.EEXIST, path)
        if parent(path) not in self._directories:
            _fail(errno.ENOTDIR if parent(path) in self._files else errno.ENOENT, path)


def parent(path: str, /) -> str:
    """Return the directory that a path is in."""
    return path.rpartition("/")[0] or "/"


def _fail(number: int, path: str) -> NoReturn:
    raise OSError(number, errno.errorcode[number], path)
