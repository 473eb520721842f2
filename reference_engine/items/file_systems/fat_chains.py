"""What FAT and exFAT have in common: chains of clusters, lists of entries, times."""

import datetime as dt
from collections.abc import Callable, Iterator

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.tree import Run, checked_runs


class Chains:
    """The table of a FAT or exFAT volume, followed with every step checked."""

    def __init__(
        self,
        window: Window,
        /,
        *,
        table: int,
        bits: int,
        heap: int,
        cluster: int,
        count: int,
    ) -> None:
        """`table`: where it begins; `heap`: where cluster 2 does; `count`: of clusters."""
        self._window, self._table, self._bits, self._heap = window, table, bits, heap
        self.cluster, self.count = cluster, count
        self._end = {12: 0xFF8, 16: 0xFFF8, 28: 0xFFFFFF8, 32: 0xFFFFFFF8}[bits]

    async def runs(self, first: int, /, *, clusters: int | None) -> list[Run]:
        """Return where a chain lies; `clusters`: how many there must be at least, if known.

        Raises:
            TreeDamagedError: it leaves the volume, goes in circles, or ends too early.
        """
        chain: list[int] = []
        at = first
        while clusters is None or len(chain) < clusters:
            if not 2 <= at < self.count + 2 or len(chain) >= self.count:
                raise TreeDamagedError(f"the chain of cluster {first} is broken")
            chain.append(at)
            at = await self._next(at)
            if at >= self._end:
                break
        if clusters is not None and len(chain) < clusters:
            raise TreeDamagedError(f"the chain of cluster {first} ends too early")
        size = self.cluster
        return checked_runs(
            (Run(n * size, size, self._heap + (at - 2) * size) for n, at in enumerate(chain)),
            room=self._window.size,
        )

    def together(self, first: int, clusters: int, /) -> list[Run]:
        """Return where clusters lie that follow each other on the volume.

        Raises:
            TreeDamagedError: they leave the volume.
        """
        if not 2 <= first <= first + clusters <= self.count + 2:
            raise TreeDamagedError(f"the clusters from {first} on lie nowhere")
        size = clusters * self.cluster
        return [Run(0, size, self._heap + (first - 2) * self.cluster)]

    async def _next(self, cluster: int) -> int:
        if self._bits == 12:
            pair = await self._window.read(self._table + cluster * 3 // 2, 2)
            value = int.from_bytes(pair, "little")
            return value >> 4 if cluster % 2 else value & 0xFFF
        width = 2 if self._bits == 16 else 4
        found = await self._window.read(self._table + cluster * width, width)
        value = int.from_bytes(found, "little")
        return value & 0xFFFFFFF if self._bits == 28 else value


def entries_in(content: bytes, is_left: Callable[[int], bool], /) -> Iterator[bytes]:
    """Yield the entries of a directory of 32 bytes each, up to its end mark.

    `is_left`: whether an entry that begins with this byte can only stand before the end.

    Raises:
        TreeDamagedError: such entries follow the end mark, which lies over another one.
    """
    for at in range(0, len(content) - 31, 32):
        if content[at]:
            yield content[at : at + 32]
            continue
        if any(is_left(content[rest]) for rest in range(at, len(content) - 31, 32)):
            raise TreeDamagedError("entries follow the end of the directory")
        return


def dos_time(date: int, time: int, /, *, tens_ms: int = 0) -> int | None:
    """Return an instant in ns since 1970, the time on the clock taken for UTC; None: not a date."""
    try:
        moment = dt.datetime(
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2,
            tzinfo=dt.UTC,
        )
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000_000 + tens_ms * 10_000_000
