"""What applications have in common: writes of whole cells, milestones, and what an image says."""

from collections.abc import Callable
from typing import Final, Literal, Protocol

import msgspec

from reference_engine.model.units import Instant

Kind = Literal["ledger", "sqlite", "sqlite-wal"]
"""A ledger; SQLite with a rollback journal; SQLite with a write-ahead log."""

LOG: Final = "log"
TABLES: Final = "tables"

LEAST_CELLS: Final = 160
"""Cells that a disk needs, so that both parts fit beside a diff area of half the disk."""

SMALLEST_CELL: Final = 4096
LARGEST_CELL: Final = 65536


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive cells of one disk that belong to an application, and to nobody else."""

    disk: int
    """The place of the disk in its machine, from 0."""

    first: int
    count: int


Layout = dict[str, Part]
"""Where the log and where the tables lie."""

ReadCell = Callable[[str, int], bytes]
"""Returns the bytes of a part's cell, counted from the part's first."""


class CellWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of one part gets new content."""

    at: Instant
    part: str
    cell: int
    content: bytes
    committed: int
    """The last transaction that nothing can undo any more once this write is on the disk."""

    begun: int
    """The last transaction of which this write or an earlier one is a part."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What an application found when it opened its data in an image."""

    clean: bool
    """It had closed its files: there was nothing to replay and nothing to roll back."""

    transactions: int
    """The last transaction that it finds, after recovery."""

    problems: tuple[str, ...]
    """What is wrong with its data after recovery; empty where it is sound."""


class Application(Protocol):
    """A program in a guest. Writes come in the order in which they have to reach the disks."""

    running: bool

    def format(self) -> list[CellWrite]:
        """Return the writes that make its first, empty files."""

    def until(self, now: Instant, /) -> list[CellWrite]:
        """Return the writes not yet returned that are due by `now`."""

    def close(self, now: Instant, /) -> list[CellWrite]:
        """Return the writes that finish what was begun and close the files, all due now."""

    def stop(self) -> None:
        """Lose everything that is not on a disk."""

    def start(self, now: Instant, read: ReadCell, /) -> list[CellWrite]:
        """Come up from what the disks hold, and return the writes of the recovery."""
