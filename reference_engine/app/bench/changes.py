"""The next generation of an image: a day of a machine's writes, and the exact map of them.

60 % of the changed bytes are single pieces of 4 KiB, four fifths of those in a hot fifth of the
used disk; 40 % are runs of 64 KiB, a fifth of those in space that was free. A quarter of the new
content edits a few bytes in place, half is file data, a quarter is incompressible.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.app.bench.contents import Contents, Kind
from reference_engine.app.bench.draws import Draws
from reference_engine.app.bench.images import CHUNK, chunks_of, copy_image
from reference_engine.model.units import KIB, MIB, ByteCount

PIECE: Final = 4 * KIB
_PER_CHUNK: Final = CHUNK // PIECE
_POOL: Final = 4 * MIB


class ChangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which next generation is wanted."""

    permille: int
    """How much of the whole disk changes, in thousandths of its size."""

    seed: int


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation changed: pieces of 4 KiB, each of which really differs."""

    size: ByteCount
    pieces: tuple[int, ...]
    """Offsets in bytes, in order."""

    @property
    def changed(self) -> ByteCount:
        """Return how many bytes lie in changed pieces."""
        return ByteCount(len(self.pieces) * PIECE)

    def extents(self) -> list[tuple[int, int]]:
        """Return offset and length of each stretch of changed pieces."""
        found: list[tuple[int, int]] = []
        for offset in self.pieces:
            if found and found[-1][0] + found[-1][1] == offset:
                found[-1] = (found[-1][0], found[-1][1] + PIECE)
            else:
                found.append((offset, PIECE))
        return found

    def write_map(self, path: Path, /) -> None:
        """Write the map as `twinshot backup --changed` takes it: a list of [offset, length]."""
        path.write_bytes(msgspec.json.encode(self.extents()))


def change_image(source: Path, target: Path, request: ChangeRequest, /) -> Changes:
    """Return what is different in `target`, a new image that is the next generation of `source`."""
    copy_image(source, target)
    size = source.stat().st_size
    used = [offset for offset, _ in chunks_of(source)]
    taken = frozenset(used)
    free = [offset for offset in range(MIB, size - 2 * MIB, CHUNK) if offset not in taken]
    with target.open("r+b", buffering=0) as file:
        day = _Day(file.fileno(), used, free, request.seed)
        budget = max(size * request.permille // 1000, PIECE)
        day.write_pieces(budget * 6 // 10)
        day.write_runs(budget)
    return Changes(size=ByteCount(size), pieces=tuple(sorted(day.changed)))


class _Day:
    """The writes of one day."""

    def __init__(self, number: int, used: list[int], free: list[int], seed: int, /) -> None:
        self.changed: set[int] = set()
        self._number = number
        self._draws = Draws(seed, "day")
        self._used = used
        self._hot = [used[i] for i in self._draws.order(len(used)).tolist()[: len(used) // 5 + 1]]
        self._free = [free[i] for i in self._draws.order(len(free)).tolist()]
        contents = Contents(seed)
        self._pool = b"".join(
            contents.write(kind, _POOL, Draws(seed, f"pool/{kind.value}"))
            for kind in (Kind.TEXT, Kind.PROGRAM, Kind.DATABASE)
        )

    def write_pieces(self, budget: int, /) -> None:
        """Write single pieces until that many bytes have changed, or nearly all that are hot."""
        # A tiny disk could have fewer places than the budget asks for.
        most = len(self._hot) * _PER_CHUNK * PIECE * 8 // 10
        while len(self.changed) * PIECE < min(budget, most):
            draws = self._draws.many_below(1 << 30, 3).tolist()
            chunks = self._hot if draws[0] % 5 else self._used
            offset = chunks[draws[1] % len(chunks)] + PIECE * (draws[2] % _PER_CHUNK)
            if offset not in self.changed:
                self._write(offset, PIECE)

    def write_runs(self, budget: int, /) -> None:
        """Write runs of 64 KiB until that many bytes have changed in all."""
        for index in self._draws.order(len(self._used)).tolist():
            if len(self.changed) * PIECE >= budget:
                return
            is_new = self._free and self._draws.below(5) == 0
            offset = self._free.pop() if is_new else self._used[index]
            pieces = range(offset, offset + CHUNK, PIECE)
            if self.changed.isdisjoint(pieces):
                self._write(offset, CHUNK)

    def _write(self, offset: int, length: int) -> None:
        old = os.pread(self._number, length, offset)
        new = self._content(old)
        places = range(0, length, PIECE)
        same = [
            start for start in places if new[start : start + PIECE] == old[start : start + PIECE]
        ]
        # The map is exact: whatever it names has to differ.
        for start in same:
            new = new[:start] + self._draws.content(PIECE) + new[start + PIECE :]
        os.pwrite(self._number, new, offset)
        self.changed.update(offset + start for start in places)

    def _content(self, old: bytes) -> bytes:
        length = len(old)
        match self._draws.below(4):
            case 0:
                edited = bytearray(old)
                for place in self._draws.many_below(length - 8, max(4, length // 512)).tolist():
                    edited[place : place + 8] = self._draws.content(8)
                return bytes(edited)
            case 1:
                return self._draws.content(length)
            case _:
                start = self._draws.below(len(self._pool) - length)
                return self._pool[start : start + length]
