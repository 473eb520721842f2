"""A double-entry ledger: every transaction goes to the log first, then to the tables."""

from collections import deque
from typing import Final

from reference_engine.model.units import HOUR, MILLISECOND, Instant
from simulator.kernel.streams import Stream
from simulator.world.applications.application import LOG, TABLES, CellWrite, ReadCell
from simulator.world.applications.ledger_format import (
    ACCOUNTS,
    LOG_CELLS,
    PAGES,
    RECORD_BYTES,
    Found,
    Header,
    Page,
    Record,
    changed,
    digest,
    encode_header,
    encode_page,
    encode_record,
    recover,
)

PARTS: Final = {LOG: 1 + LOG_CELLS, TABLES: PAGES}
"""Cells that each part needs."""

_A_CELL_TAKES: Final = 2000 * MILLISECOND
"""How long, at most, from one of a transaction's writes to the next: long enough for snapshots to
fall in between."""


class Ledger:
    """The ledger while its program runs. Its accounts' balances always sum to zero."""

    def __init__(self, draw: Stream, /, *, cell: int, per_hour: int) -> None:
        self._draw, self._cell = draw, cell
        self._gap = HOUR // per_hour
        self._due: deque[CellWrite] = deque()
        self._next = Instant(0)
        self._slots = cell // RECORD_BYTES * LOG_CELLS
        self.running = True
        self._pages = [
            Page(number=number, transaction=0, balances=(0,) * ACCOUNTS) for number in range(PAGES)
        ]
        self._log = [bytearray(cell) for _ in range(LOG_CELLS)]
        self._checkpoint = self._last = 0
        self._closed = True

    def format(self) -> list[CellWrite]:
        """Return an empty ledger: closed, every account at zero."""
        writes = [self._page_write(Instant(0), page, begun=0) for page in self._pages]
        empty = bytes(self._cell)
        writes += [self._write(Instant(0), LOG, 1 + at, empty, 0) for at in range(LOG_CELLS)]
        return [*writes, self._header_write(Instant(0), closed=True)]

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
        if self._closed or self._last - self._checkpoint > self._slots // 2:
            self._due.append(self._header_write(at, closed=False))
        number = self._last + 1
        source = self._draw.below(PAGES * ACCOUNTS)
        target = (source + self._draw.between(1, PAGES * ACCOUNTS - 1)) % (PAGES * ACCOUNTS)
        amount = self._draw.between(1, 1000)
        self._last = number
        for account, by in ((source, -amount), (target, amount)):
            page = self._pages[account // ACCOUNTS]
            balance = page.balances[account % ACCOUNTS] + by
            self._pages[account // ACCOUNTS] = changed(page, number, account, balance)
        record = Record(
            transaction=number,
            source=source,
            target=target,
            amount=amount,
            source_balance=self._balance(source),
            target_balance=self._balance(target),
        )
        at = Instant(at + self._draw.between(1, _A_CELL_TAKES))
        self._due.append(self._log_write(at, record))
        for place in dict.fromkeys((source // ACCOUNTS, target // ACCOUNTS)):
            at = Instant(at + self._draw.between(1, _A_CELL_TAKES))
            self._due.append(self._page_write(at, self._pages[place], begun=number))
        self._next = Instant(at + self._draw.between(1, 2 * self._gap))

    def _balance(self, account: int) -> int:
        return self._pages[account // ACCOUNTS].balances[account % ACCOUNTS]

    def _log_write(self, at: Instant, record: Record) -> CellWrite:
        slot = (record.transaction - 1) % self._slots
        per_cell = self._cell // RECORD_BYTES
        begin = slot % per_cell * RECORD_BYTES
        cell = self._log[slot // per_cell]
        cell[begin : begin + RECORD_BYTES] = encode_record(record)
        return self._write(at, LOG, 1 + slot // per_cell, bytes(cell), record.transaction)

    def _page_write(self, at: Instant, page: Page, *, begun: int) -> CellWrite:
        return self._write(at, TABLES, page.number, encode_page(page, self._cell), begun)

    def _header_write(self, at: Instant, *, closed: bool) -> CellWrite:
        self._closed, self._checkpoint = closed, self._last
        header = Header(
            checkpoint=self._last,
            closed=closed,
            total=digest(self._pages) if closed else 0,
            pages=tuple(page.transaction for page in self._pages),
        )
        return self._write(at, LOG, 0, encode_header(header, self._cell), self._last)

    def _write(self, at: Instant, part: str, cell: int, content: bytes, last: int) -> CellWrite:
        # One write of the log makes a transaction permanent: it is begun and committed at once.
        return CellWrite(at=at, part=part, cell=cell, content=content, committed=last, begun=last)

    def close(self, now: Instant, /) -> list[CellWrite]:
        """Write what is due now, whenever it was, and mark the log as closed."""
        writes = [*self._due]
        self._due.clear()
        self._next = max(self._next, Instant(now + 1))
        return [*writes, self._header_write(now, closed=True)]

    def stop(self) -> None:
        """Forget everything that is not on a disk."""
        self.running = False
        self._due.clear()

    def start(self, now: Instant, read: ReadCell, /) -> list[CellWrite]:
        """Recover: write the pages that the log is ahead of, then a new checkpoint."""
        found = recover(read, self._cell)
        assert isinstance(found, Found), found
        assert not found.opening.problems, found.opening.problems
        self._pages = found.pages
        self._last = found.opening.transactions
        self._log = [bytearray(read(LOG, 1 + at)) for at in range(LOG_CELLS)]
        self._next = Instant(now + self._draw.between(1, 2 * self._gap))
        self.running = True
        pages = [
            self._page_write(now, self._pages[number], begun=self._last)
            for number in found.replayed
        ]
        return [*pages, self._header_write(now, closed=False)]
