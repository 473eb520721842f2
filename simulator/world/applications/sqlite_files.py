"""SQLite's view of a guest's files: a VFS whose files lie in the cells of simulated disks."""

from collections.abc import Callable, Mapping
from typing import Final, cast

import apsw

from simulator.world.applications.guest_files import FileFullError, GuestFile

DATABASE: Final = "db"
JOURNAL: Final = "db-journal"
WAL: Final = "db-wal"


def _free_name() -> str:
    """Return a name that no VFS of this process has."""
    taken = frozenset(apsw.vfs_names())
    number = 0
    while f"guest-{number}" in taken:
        number += 1
    return f"guest-{number}"


class GuestVfs(apsw.VFS):
    """The guest's files, by name. It is gone with its last reference."""

    def __init__(self, files: Mapping[str, GuestFile], /) -> None:
        self.files, self.name = files, _free_name()
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """Open a file; SQLite's temporary files have no name, and none is needed here."""
        assert name is not None, "a temporary file"
        path = name if isinstance(name, str) else name.filename()
        file = self.files[path]
        if flags[0] & apsw.SQLITE_OPEN_CREATE:
            file.create()
        flags[1] = flags[0]
        return cast("apsw.VFSFile", _OpenFile(file))  # it has the methods, and needs no base

    def xFullPathname(self, name: str) -> str:  # noqa: N802 - SQLite's name
        """Names are as they are."""
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: ARG002, N802 - SQLite's name
        """Return whether there is such a file."""
        return self.files[pathname].content is not None

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: ARG002, FBT001, N802 - SQLite's name
        """Remove a file."""
        self.files[filename].remove()


class _OpenFile:
    """An open file; satisfies SQLite's methods of a file, with locks that nobody contests."""

    def __init__(self, file: GuestFile, /) -> None:
        self._file = file

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        return self._file.read(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        try:
            self._file.write(bytes(data), offset)
        except FileFullError as full:
            raise apsw.FullError(str(full)) from full

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._file.truncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - SQLite's name
        self._file.sync()

    def xFileSize(self) -> int:  # noqa: N802 - SQLite's name
        return self._file.length

    def xLock(self, level: int) -> None:  # noqa: N802 - SQLite's name
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802 - SQLite's name
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802 - SQLite's name
        return False

    def xSectorSize(self) -> int:  # noqa: N802 - SQLite's name
        return 4096

    def xDeviceCharacteristics(self) -> int:  # noqa: N802 - SQLite's name
        return 0

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: ARG002, N802 - SQLite's name
        return False

    def xClose(self) -> None:  # noqa: N802 - SQLite's name
        pass


class _Chance(apsw.VFS):
    """Where SQLite's generator takes its seed from."""

    def __init__(self, seed: bytes, /) -> None:
        self._seed, self.name = seed, _free_name()
        super().__init__(self.name, "", makedefault=True)

    def xRandomness(self, numbytes: int) -> bytes:  # noqa: N802 - SQLite's name
        """Return the seed, as long as it is wanted."""
        return (self._seed * (1 + numbytes // len(self._seed)))[:numbytes]


def seed_sqlite(seed: bytes, /) -> None:
    """Have SQLite's generator of this process, which salts its journals, begin at a seed."""
    source: Callable[[], None] = _Chance(seed).unregister
    apsw.randomness(0)
    apsw.randomness(1)
    source()
