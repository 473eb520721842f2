"""Power cuts: when, and what of the writes that were not flushed has survived.

A cut is a function of the log, the seed and its number.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from simulator.campaign.proving.power.mounting import copy_sparse
from simulator.campaign.proving.power.write_log import Write, WriteLog
from simulator.kernel.streams import Stream

_SECTORS: Final = (512, 4096)
"""What a disk writes as a whole or not at all, in bytes."""

_SURVIVING: Final = (0, 250, 500, 750, 900, 1000)
"""How many of a thousand unflushed writes survive whole."""

_AT_RETURNS: Final = 500
_SHORTLY: Final = 4
_TORN: Final = 300
"""How many of a thousand of the others survive in part."""


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The power goes after so many records of the log."""

    number: int
    at: int
    surviving: int
    """Of a thousand writes that were not flushed, how many survive whole."""

    sector: int


def draw(seed: int, number: int, /, *, first: int, last: int, returns: Sequence[int]) -> Cut:
    """Return the cut of this number, after at least `first` and at most `last` records.

    Half of the cuts come as a command has returned, or a few records later: what it forgot to
    flush is lost then, and soon afterwards is flushed along with what the next one writes.
    """
    chance = Stream("power-cut", seed, number)
    at = chance.between(first, last)
    if returns and chance.chance(_AT_RETURNS):
        at = min(returns[chance.below(len(returns))] + chance.below(_SHORTLY), last)
    return Cut(
        number=number,
        at=at,
        surviving=_SURVIVING[chance.below(len(_SURVIVING))],
        sector=_SECTORS[chance.below(len(_SECTORS))],
    )


def survivors(log: WriteLog, seed: int, cut: Cut, /) -> Iterator[Write]:
    """Yield what is on the disk of the writes since the last flush, in their order."""
    chance = Stream("power-cut", seed, cut.number, "survivors")
    for record in log.records[log.flushed(cut.at) : cut.at]:
        assert record is not None
        if chance.chance(cut.surviving):
            yield record
        elif chance.chance(_TORN):
            for start in range(0, len(record.content), cut.sector):
                if chance.chance(500):
                    yield Write(
                        offset=record.offset + start,
                        content=record.content[start : start + cut.sector],
                    )


class Platter:
    """A disk as it goes on being flushed; cuts are taken in the order in which they come."""

    def __init__(self, log: WriteLog, base: Path, place: Path, /) -> None:
        self._log, self._path, self._done = log, place, 0
        copy_sparse(base, place)

    def after(self, cut: Cut, seed: int, image: Path, /) -> None:
        """Have in `image` the disk as the cut leaves it; no later cut may have been taken."""
        flushed = self._log.flushed(cut.at)
        assert flushed >= self._done, cut.number
        _write(self._path, (each for each in self._log.records[self._done : flushed] if each))
        self._done = flushed
        copy_sparse(self._path, image)
        _write(image, survivors(self._log, seed, cut))


def _write(path: Path, writes: Iterator[Write]) -> None:
    with path.open("r+b", buffering=0) as disk:
        for write in writes:
            disk.seek(write.offset)
            disk.write(write.content)
