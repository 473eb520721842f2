"""Power cuts: when, and what of the writes that were not flushed has survived.

A cut is a function of the log, the seed and its number. When it comes is drawn by meaning, as the
k-th flush of the n-th command, so that it means the same in the next recording too.
"""

import enum
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from simulator.campaign.proving.power.mounting import copy_sparse
from simulator.campaign.proving.power.write_log import Write, WriteLog
from simulator.kernel.streams import Stream

_RETURNED: Final = 350
_AT_FLUSH: Final = 350
"""Of a thousand cuts, how many come as a command has returned, and how many at a flush."""

_SHORTLY: Final = 4
_SECTORS: Final = (512, 4096)
_TORN: Final = 300
"""How many of a thousand writes that do not survive whole survive in part."""


class Fate(enum.StrEnum):
    """What becomes of the writes since the last flush."""

    LOST = "all lost"
    KEPT = "all kept"
    SOME = "some kept, some torn"
    LAST_TORN = "the last one torn"
    JOURNAL = "only the journal kept"
    NO_JOURNAL = "all kept but the journal"


_FATES: Final = (*Fate, Fate.SOME, Fate.SOME)
_SURVIVING: Final = (100, 500, 900)
"""Where some survive: how many of a thousand do so whole."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A command, by how many records there were when it began and when it had returned."""

    command: str
    first: int
    last: int


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The power goes after so many records of the log."""

    number: int
    at: int
    moment: str
    """When that is, in words."""

    fate: Fate
    surviving: int
    """Of a thousand writes that were not flushed, how many survive whole where some do."""

    sector: int
    """What a disk writes as a whole or not at all, in bytes."""


def draw(log: WriteLog, seed: int, number: int, /, *, spans: Sequence[Span]) -> Cut:
    """Return the cut of this number; every command is as likely to be hit as any other.

    A third of the cuts come as it has returned, or a few records later: what it forgot to flush is
    lost then, and soon afterwards is flushed along with what the next one writes. A third come
    just before a flush, when most is at stake, and the rest anywhere between two flushes.
    """
    chance = Stream("power-cut", seed, number)
    index = chance.below(len(spans))
    span, kind = spans[index], chance.below(1000)
    later, part = chance.below(_SHORTLY), chance.below(1 << 20)
    flushes = log.flushes_within(span.first, span.last)
    if kind < _RETURNED or not flushes:
        at = min(span.last + later, spans[-1].last)
        when = f"{at - span.last} records after"
    else:
        nth = part * len(flushes) >> 20
        before = flushes[nth - 1] if nth else span.first
        gap = flushes[nth] - before
        at = flushes[nth] - 1 if kind < _RETURNED + _AT_FLUSH else before + chance.below(gap)
        when = f"{flushes[nth] - at} records before flush {nth + 1} of {len(flushes)} is done in"
    return Cut(
        number=number,
        at=at,
        moment=f"{when} command {index + 1} ({span.command})",
        fate=_FATES[chance.below(len(_FATES))],
        surviving=_SURVIVING[chance.below(len(_SURVIVING))],
        sector=_SECTORS[chance.below(len(_SECTORS))],
    )


def survivors(log: WriteLog, seed: int, cut: Cut, /) -> Iterator[Write]:
    """Yield what is on the disk of the writes since the last flush, in their order."""
    chance = Stream("power-cut", seed, cut.number, "survivors")
    writes = [each for each in log.records[log.flushed(cut.at) : cut.at] if each is not None]
    match cut.fate:
        case Fate.LOST:
            return
        case Fate.KEPT:
            yield from writes
        case Fate.JOURNAL:
            yield from (each for each in writes if each.offset in log.journal)
        case Fate.NO_JOURNAL:
            yield from (each for each in writes if each.offset not in log.journal)
        case Fate.LAST_TORN:
            yield from writes[:-1]
            yield from _torn(writes[-1:], cut.sector, chance)
        case Fate.SOME:
            for each in writes:
                if chance.chance(cut.surviving):
                    yield each
                elif chance.chance(_TORN):
                    yield from _torn([each], cut.sector, chance)


def _torn(writes: Sequence[Write], sector: int, chance: Stream) -> Iterator[Write]:
    """Yield about half of the sectors."""
    for each in writes:
        for start in range(0, len(each.content), sector):
            if chance.chance(500):
                yield Write(
                    offset=each.offset + start, content=each.content[start : start + sector]
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
