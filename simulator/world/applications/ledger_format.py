"""The bytes of a ledger: its log's header and records, its tables' pages, and how it recovers.

Little-endian, each structure with a CRC-32C behind its content. The log's first cell is its header;
records of 64 bytes follow, record n in slot (n - 1) modulo the number of slots. A page of the
tables is one cell: its number, the last transaction in it, its accounts' balances.
"""

import struct
from typing import Final

import google_crc32c
import msgspec

from simulator.world.applications.application import LOG, TABLES, Opening, ReadCell

PAGES: Final = 8
LOG_CELLS: Final = 16
ACCOUNTS: Final = 32
"""Accounts on a page."""

_HEADER: Final = struct.Struct(f"<8sQQQ{PAGES}Q")
_RECORD: Final = struct.Struct("<8sQHHqqq")
_PAGE: Final = struct.Struct(f"<8sQQ{ACCOUNTS}q")
_CRC: Final = struct.Struct("<I")
_HEADER_MAGIC: Final = b"TWLEDGER"
_RECORD_MAGIC: Final = b"TWRECORD"
_PAGE_MAGIC: Final = b"TWPAGE01"
RECORD_BYTES: Final = 64


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Where recovery begins: every transaction up to `checkpoint` is in the tables."""

    checkpoint: int
    closed: bool
    """Nothing was written since; there is nothing to recover."""

    total: int
    """Digest of all balances at a close, 0 otherwise."""

    pages: tuple[int, ...]
    """The last transaction in each page, as of the checkpoint."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction: an amount goes from one account to another; and both balances after it."""

    transaction: int
    source: int
    target: int
    amount: int
    source_balance: int
    target_balance: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the tables."""

    number: int
    transaction: int
    """The last transaction that changed it."""

    balances: tuple[int, ...]


def _sealed(content: bytes, length: int) -> bytes:
    return (content + _CRC.pack(google_crc32c.value(content))).ljust(length, b"\0")


def _opened(layout: struct.Struct, raw: bytes, magic: bytes) -> tuple[int, ...] | None:
    """Return the fields behind the magic word, or None where the bytes are not what they were."""
    content = raw[: layout.size]
    if not content.startswith(magic):
        return None
    if _CRC.unpack_from(raw, layout.size)[0] != google_crc32c.value(content):
        return None
    return layout.unpack(content)[1:]


def encode_header(header: Header, cell: int, /) -> bytes:
    """Return the header as one cell."""
    fields = (header.checkpoint, int(header.closed), header.total, *header.pages)
    return _sealed(_HEADER.pack(_HEADER_MAGIC, *fields), cell)


def encode_record(record: Record, /) -> bytes:
    """Return the record's 64 bytes."""
    fields = msgspec.structs.astuple(record)
    return _sealed(_RECORD.pack(_RECORD_MAGIC, *fields), RECORD_BYTES)


def encode_page(page: Page, cell: int, /) -> bytes:
    """Return the page as one cell."""
    return _sealed(_PAGE.pack(_PAGE_MAGIC, page.number, page.transaction, *page.balances), cell)


def digest(pages: list[Page], /) -> int:
    """Return the digest of all balances."""
    raw = b"".join(_PAGE.pack(b"", page.number, 0, *page.balances) for page in pages)
    return int(google_crc32c.value(raw))


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A ledger as it is after recovery."""

    header: Header
    pages: list[Page]
    replayed: tuple[int, ...]
    """The pages that recovery changed."""

    opening: Opening


def recover(read: ReadCell, cell: int, /) -> Found | Opening:
    """Return the ledger that the cells hold, recovered, or what keeps it from being opened."""
    fields = _opened(_HEADER, read(LOG, 0), _HEADER_MAGIC)
    if fields is None:
        return _unusable("the log's header is damaged")
    header = Header(checkpoint=fields[0], closed=bool(fields[1]), total=fields[2], pages=fields[3:])
    pages: list[Page] = []
    for number in range(PAGES):
        raw = _opened(_PAGE, read(TABLES, number), _PAGE_MAGIC)
        if raw is None or raw[0] != number:
            return _unusable(f"page {number} is damaged")
        pages.append(Page(number=number, transaction=raw[1], balances=raw[2:]))
    records = _records(read, cell, after=header.checkpoint)
    end = header.checkpoint + len(records)
    problems = _causal(header, pages, end)
    clean = header.closed and not records
    if header.closed and records:
        problems.append("the log goes on behind its own end")
    if clean and not problems and digest(pages) != header.total:
        problems.append("the balances are not those of the close")
    replayed: dict[int, None] = {}
    for record in records:
        _apply(record, pages, replayed)
    if sum(sum(page.balances) for page in pages):
        problems.append("the balances do not sum to zero")
    opening = Opening(clean=clean, transactions=end, problems=tuple(problems))
    return Found(header=header, pages=pages, replayed=tuple(replayed), opening=opening)


def _unusable(problem: str) -> Opening:
    return Opening(clean=False, transactions=0, problems=(problem,))


def _causal(header: Header, pages: list[Page], end: int) -> list[str]:
    """Return where log and tables cannot come from one instant: the log is always written first."""
    problems = []
    for page, known in zip(pages, header.pages, strict=True):
        if page.transaction > end:
            problems.append(
                f"page {page.number} has transaction {page.transaction}, of which the log, "
                f"which ends at {end}, knows nothing"
            )
        if page.transaction < known:
            problems.append(
                f"page {page.number} ends at transaction {page.transaction}, though the log's "
                f"checkpoint saw {known} in it"
            )
    return problems


def _records(read: ReadCell, cell: int, *, after: int) -> list[Record]:
    """Return the log's records behind a transaction, up to the first that is not there."""
    per_cell = cell // RECORD_BYTES
    slots = per_cell * LOG_CELLS
    records: list[Record] = []
    at, raw = -1, b""
    while len(records) < slots:
        wanted = after + len(records) + 1
        slot = (wanted - 1) % slots
        if at != slot // per_cell:
            at = slot // per_cell
            raw = read(LOG, 1 + at)
        begin = slot % per_cell * RECORD_BYTES
        fields = _opened(_RECORD, raw[begin : begin + RECORD_BYTES], _RECORD_MAGIC)
        if fields is None or fields[0] != wanted:
            break
        names = ("transaction", "source", "target", "amount", "source_balance", "target_balance")
        records.append(Record(**dict(zip(names, fields, strict=True))))
    return records


def _apply(record: Record, pages: list[Page], replayed: dict[int, None]) -> None:
    for account, balance in (
        (record.source, record.source_balance),
        (record.target, record.target_balance),
    ):
        number = account // ACCOUNTS
        if pages[number].transaction <= record.transaction:
            pages[number] = changed(pages[number], record.transaction, account, balance)
            replayed[number] = None


def changed(page: Page, transaction: int, account: int, balance: int, /) -> Page:
    """Return the page with a new balance."""
    balances = list(page.balances)
    balances[account % ACCOUNTS] = balance
    return Page(number=page.number, transaction=transaction, balances=tuple(balances))
