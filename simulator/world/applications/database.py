"""SQLite in a guest: the real library, its database on one disk, its journal or log on another."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import apsw

from reference_engine.model.units import HOUR, MILLISECOND, Instant
from simulator.kernel.streams import Stream
from simulator.world.applications.application import (
    LOG,
    TABLES,
    CellWrite,
    Opening,
    ReadCell,
)
from simulator.world.applications.guest_files import FileHeaderError, GuestFile
from simulator.world.applications.sqlite_files import (
    DATABASE,
    JOURNAL,
    WAL,
    GuestVfs,
    seed_sqlite,
)

_DATABASE_CELLS: Final = 25
_LOG_CELLS: Final = 33
PARTS: Final = {LOG: _LOG_CELLS, TABLES: _DATABASE_CELLS}
"""Cells that each part needs, the files' headers included."""

_ACCOUNTS: Final = 64
_KEPT: Final = 100
"""Entries that stay in the books: the file has to fit into its cells."""

_A_CELL_TAKES: Final = 1000 * MILLISECOND
_SCHEMA: Final = (
    "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER)",
    "CREATE INDEX entries_by_source ON entries (source)",
)
_SEED_BYTES: Final = 16


def _files(cell: int, *, wal: bool, flush: Callable[[str, int, bytes], None]) -> GuestVfs:
    log, other = (WAL, JOURNAL) if wal else (JOURNAL, WAL)
    return GuestVfs(
        {
            DATABASE: GuestFile(DATABASE, cell=cell, cells=_DATABASE_CELLS, flush=flush),
            log: GuestFile(log, cell=cell, cells=_LOG_CELLS, flush=flush),
            # The one that its mode does not use is only in memory: a log begins with a journal.
            other: GuestFile(other, cell=cell, cells=_LOG_CELLS, flush=lambda *_: None),
        }
    )


def _load(vfs: GuestVfs, read: ReadCell, log: str) -> None:
    vfs.files[DATABASE].load(lambda at: read(TABLES, at))
    vfs.files[log].load(lambda at: read(LOG, at))


def _connect(vfs: GuestVfs, *, wal: bool) -> apsw.Connection:
    """Open the database; whatever its last program left unfinished is replayed or rolled back."""
    connection = apsw.Connection(
        DATABASE,
        vfs=vfs.name,
        flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
        statementcachesize=20,
    )
    for pragma in (
        "page_size = 1024",
        "temp_store = MEMORY",
        # Alone with its files, SQLite needs no shared memory for its log; with a journal, on the
        # other hand, it would keep the file and only blank its header.
        f"locking_mode = {'EXCLUSIVE' if wal else 'NORMAL'}",
        f"journal_mode = {'WAL' if wal else 'DELETE'}",
        "synchronous = FULL",
        "wal_autocheckpoint = 30",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _ask(connection: apsw.Connection, question: str) -> Any:
    return connection.execute(question).fetchall()


class Database:
    """The program while it runs: each transaction moves an amount between two accounts."""

    def __init__(self, draw: Stream, /, *, cell: int, per_hour: int, wal: bool) -> None:
        self._draw, self._cell, self._wal = draw, cell, wal
        self._gap = HOUR // per_hour
        self._due: deque[CellWrite] = deque()
        self._flushed: list[tuple[str, int, bytes]] = []
        self._next = Instant(0)
        self._last = 0
        self.running = True
        self._vfs: GuestVfs | None = None
        self._connection: apsw.Connection | None = None

    def format(self) -> list[CellWrite]:
        """Return an empty database, closed."""
        self._open()
        connection = self._connected
        with connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.executemany(
                "INSERT INTO accounts VALUES (?, 0)", ((number,) for number in range(_ACCOUNTS))
            )
        for file in self._mounted.files.values():
            file.sync()
        return self.close(Instant(0))

    @property
    def _connected(self) -> apsw.Connection:
        assert self._connection is not None, "the program does not run"
        return self._connection

    @property
    def _mounted(self) -> GuestVfs:
        assert self._vfs is not None, "the program does not run"
        return self._vfs

    def _open(self, read: ReadCell | None = None) -> None:
        self._vfs = _files(self._cell, wal=self._wal, flush=self._flush)
        if read is not None:
            _load(self._vfs, read, WAL if self._wal else JOURNAL)
        seed_sqlite(self._draw.token().encode()[:_SEED_BYTES])
        self._connection = _connect(self._vfs, wal=self._wal)

    def _flush(self, name: str, cell: int, content: bytes) -> None:
        self._flushed.append((TABLES if name == DATABASE else LOG, cell, content))

    def until(self, now: Instant, /) -> list[CellWrite]:
        """Return what is due; a transaction begins when the one before is on the disks."""
        writes: list[CellWrite] = []
        while True:
            while self._due and self._due[0].at <= now:
                writes.append(self._due.popleft())
            if self._due or self._next > now:
                return writes
            self._transact(self._next)

    def _transact(self, at: Instant) -> None:
        number = self._last + 1
        source = self._draw.below(_ACCOUNTS)
        target = (source + self._draw.between(1, _ACCOUNTS - 1)) % _ACCOUNTS
        amount = self._draw.between(1, 1000)
        seed_sqlite(self._draw.token().encode()[:_SEED_BYTES])
        connection = self._connected
        with connection:
            for account, by in ((source, -amount), (target, amount)):
                connection.execute(
                    "UPDATE accounts SET balance = balance + ? WHERE id = ?", (by, account)
                )
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?)", (number, source, target, amount)
            )
            connection.execute("DELETE FROM entries WHERE id <= ?", (number - _KEPT,))
        at = self._spread(at, committed=self._last, begun=number)
        self._last = number
        self._next = Instant(at + self._draw.between(1, 2 * self._gap))

    def _spread(self, at: Instant, *, committed: int, begun: int) -> Instant:
        """Have what SQLite wrote reach the disks one cell after the other; return when it has."""
        for place, (part, cell, content) in enumerate(self._flushed):
            at = Instant(at + self._draw.between(1, _A_CELL_TAKES))
            last = place == len(self._flushed) - 1
            self._due.append(
                CellWrite(
                    at=at,
                    part=part,
                    cell=cell,
                    content=content,
                    committed=begun if last else committed,
                    begun=begun,
                )
            )
        self._flushed.clear()
        return at

    def _now(self, now: Instant) -> list[CellWrite]:
        """Return what SQLite wrote, all due now."""
        writes = [
            CellWrite(
                at=now,
                part=part,
                cell=cell,
                content=content,
                committed=self._last,
                begun=self._last,
            )
            for part, cell, content in self._flushed
        ]
        self._flushed.clear()
        return writes

    def close(self, now: Instant, /) -> list[CellWrite]:
        """Write what is due now, whenever it was, and leave no journal and no log behind."""
        writes = [*self._due]
        self._due.clear()
        self._next = max(self._next, Instant(now + 1))
        if self._wal:
            _ask(self._connected, "PRAGMA wal_checkpoint(TRUNCATE)")
        return [*writes, *self._now(now)]

    def stop(self) -> None:
        """Forget everything that is not on a disk."""
        self.running = False
        self._due.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(force=True)
        # What closing a database writes, a program without power does not.
        self._flushed.clear()
        self._vfs = None

    def start(self, now: Instant, read: ReadCell, /) -> list[CellWrite]:
        """Come up from the disks; SQLite itself replays or rolls back."""
        self._open(read)
        [(self._last,)] = _ask(self._connected, "SELECT ifnull(max(id), 0) FROM entries")
        self._next = Instant(now + self._draw.between(1, 2 * self._gap))
        self.running = True
        return self._now(now)


def open_database(read: ReadCell, cell: int, /, *, wal: bool) -> Opening:
    """Return what SQLite itself says of the database that the cells hold."""
    vfs = _files(cell, wal=wal, flush=lambda *_: None)
    log = WAL if wal else JOURNAL
    try:
        _load(vfs, read, log)
    except FileHeaderError as damaged:
        return Opening(clean=False, transactions=0, problems=(str(damaged),))
    # A journal whose first byte is zero was never begun: SQLite leaves it where it is.
    begun = vfs.files[log].read(1, 0)
    clean = not begun or (begun == b"\0" and not wal)
    problems: list[str] = []
    last = 0
    try:
        connection = _connect(vfs, wal=wal)
        try:
            said = [str(row[0]) for row in _ask(connection, "PRAGMA integrity_check")]
            problems += [f"integrity_check: {each}" for each in said if each != "ok"]
            [(last, first, count)] = _ask(
                connection, "SELECT ifnull(max(id), 0), ifnull(min(id), 1), count(*) FROM entries"
            )
            if count != last - first + 1 or count != min(last, _KEPT):
                problems.append(f"of the entries {first} to {last} only {count} are there")
            [(total,)] = _ask(connection, "SELECT sum(balance) FROM accounts")
            if total != 0:
                problems.append(f"the balances sum to {total}, not to zero")
        finally:
            connection.close(force=True)
    except apsw.Error as failure:
        problems.append(f"SQLite: {failure}")
    return Opening(clean=clean, transactions=int(last), problems=tuple(problems))
