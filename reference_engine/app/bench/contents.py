"""What files hold: text, programs, database pages, logs and media, made up from a seed.

Each kind is a string of phrases drawn from a vocabulary by Zipf's law, and was adjusted until it
compressed about as files of its kind do. With zstd, in blocks of 1 MiB at levels 1 and 3, and of
64 KiB at level 3: text 3.7, 3.9, 3.4; programs 2.1, 2.7, 2.4; databases 2.9, 3.1, 2.4; logs 6.4,
6.0, 4.5; media 1. A disk with real files of `/usr` and a database gave 3.2, 3.5 and 3.1.
"""

import enum
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.app.bench.draws import Draws, Indices

PAGE: Final = 4096
_SPREAD: Final = 1 << 14
_TOPIC: Final = 96 << 10
"""How far a file keeps to one choice of phrases. Real files repeat themselves over short distances
more than over long ones; without this, large blocks would compress far better than small ones."""

_SHARED: Final = 400
_CHOSEN: Final = 1600
_CONSONANTS: Final = b"bcdfghjklmnprstvwz"
_VOWELS: Final = b"aeiou"
_ENDINGS: Final = (b" ", b" ", b" ", b" ", b" ", b", ", b". ", b"\n", b"=", b"_", b"/", b" (")
_ROW: Final = np.dtype(
    [
        ("id", ">u4"),
        ("at", "S12"),
        ("who", "S10"),
        ("amount", "<u4"),
        ("note", "S38"),
        ("hash", "V12"),
    ]
)

Octets = npt.NDArray[np.uint8]


class Kind(enum.Enum):
    """What a file holds."""

    TEXT = "text"
    PROGRAM = "program"
    DATABASE = "database"
    LOG = "log"
    MEDIA = "media"


class Vocabulary:
    """Phrases, of which each stretch of a file uses some, and a few by far the most often."""

    def __init__(self, phrases: Sequence[bytes], /) -> None:
        assert len(phrases) >= _CHOSEN, len(phrases)
        self._octets: Octets = np.frombuffer(b"".join(phrases), dtype=np.uint8)
        self._lengths = np.array([len(phrase) for phrase in phrases], dtype=np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        # Zipf's law in whole numbers: floating point could round otherwise on another machine.
        weights = [_SPREAD * 4 // (rank + 12) + 1 for rank in range(_CHOSEN)]
        ends = np.cumsum(np.array(weights, dtype=np.int64)) * _SPREAD // sum(weights)
        self._ranks: Indices = np.searchsorted(ends, np.arange(_SPREAD), side="right")

    def write(self, length: int, draws: Draws, /) -> bytes:
        """Return `length` bytes of phrases."""
        pieces: list[bytes] = []
        left = length
        while left > 0:
            piece = self._write(min(left, _TOPIC), draws)
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _write(self, length: int, draws: Draws) -> bytes:
        chosen = draws.many_below(len(self._lengths), _CHOSEN)
        # Every third of the most frequent phrases is one that all files know.
        chosen[: 3 * _SHARED : 3] = np.arange(_SHARED)
        picks = chosen[self._ranks[draws.many_below(_SPREAD, length // 4 + 8)]]
        ends = np.cumsum(self._lengths[picks])
        used = int(np.searchsorted(ends, length)) + 1
        picks, ends = picks[:used], ends[:used]
        lengths = self._lengths[picks]
        shifts: Indices = np.repeat(self._starts[picks] - (ends - lengths), lengths)
        written: Octets = self._octets[shifts + np.arange(len(shifts))]
        return written.tobytes()[:length]


class Contents:
    """Writes files of every kind; one seed always writes the same."""

    def __init__(self, seed: int, /) -> None:
        draws = Draws(seed, "vocabulary")
        words = _words(draws, 6000)
        self._prose = Vocabulary(_mixed(words, draws, longest=3, phrases=3000))
        self._code = Vocabulary(_instructions(draws))
        self._names = words[:400]
        self._events = [b"".join(words[draws.below(900)] for _ in range(6)) for _ in range(300)]

    def write(self, kind: Kind, length: int, draws: Draws, /) -> bytes:
        """Return the content of one file."""
        match kind:
            case Kind.TEXT:
                return self._prose.write(length, draws)
            case Kind.PROGRAM:
                return self._program(length, draws)
            case Kind.DATABASE:
                return self._database(length, draws)
            case Kind.LOG:
                return self._log(length, draws)
            case Kind.MEDIA:
                return draws.content(length)

    def _program(self, length: int, draws: Draws) -> bytes:
        """Return code, then strings, then a table of addresses that grow."""
        code, strings = length * 7 // 10, length // 5
        left = length - code - strings
        steps = draws.many_below(90, left // 8 + 1)
        table = (np.cumsum(steps) + 0x401000).astype("<u8").tobytes()[:left]
        return self._code.write(code, draws) + self._prose.write(strings, draws) + table

    def _database(self, length: int, draws: Draws) -> bytes:
        """Return pages of rows, each with a header and some space left free."""
        pages = -(-length // PAGE)
        fill = (PAGE - 96) // _ROW.itemsize
        rows = np.zeros(pages * fill, dtype=_ROW)
        count = len(rows)
        rows["id"] = np.arange(count) + draws.below(1 << 24)
        stamps = 20_260_101_000 + np.arange(count) // 40
        rows["at"] = stamps.astype("S12")
        rows["who"] = np.array(self._names, dtype="S10")[draws.many_below(400, count)]
        rows["amount"] = draws.many_below(100_000, count)
        rows["note"] = np.array(self._events, dtype="S38")[draws.many_below(300, count)]
        rows["hash"] = np.frombuffer(draws.content(12 * count), dtype="V12")
        body = np.zeros((pages, PAGE), dtype=np.uint8)
        body[:, 0], body[:, 1] = 0x0D, fill
        body[:, 96 : 96 + fill * _ROW.itemsize] = rows.view(np.uint8).reshape(pages, -1)
        return body.tobytes()[:length]

    def _log(self, length: int, draws: Draws) -> bytes:
        """Return lines with a time that moves on, and space that was reserved and not used."""
        used = length * 9 // 10
        count = used // 48 + 1
        lines = np.full((count, 48), ord(" "), dtype=np.uint8)
        stamps = (np.cumsum(draws.many_below(3, count)) + 1_760_000_000).astype("S10")
        lines[:, :10] = stamps.view(np.uint8).reshape(count, 10)
        numbers = (draws.many_below(900_000, count) + 100_000).astype("S6")
        lines[:, 11:17] = numbers.view(np.uint8).reshape(count, 6)
        events = np.array(self._events, dtype="S29").view(np.uint8).reshape(-1, 29)
        lines[:, 18:47] = events[draws.many_below(len(events), count)]
        lines[:, 47] = ord("\n")
        return lines.tobytes()[:used].ljust(length, b"\0")


def _words(draws: Draws, count: int) -> list[bytes]:
    """Return words of one to four syllables, each with what ends it."""
    words: list[bytes] = []
    for number in range(count):
        shape = draws.many_below(1 << 30, 6).tolist()
        syllables = 1 + shape[0] % (2 if number < 200 else 4)
        text = bytes(
            octet
            for draw in shape[1 : 1 + syllables]
            for octet in (_CONSONANTS[draw % 18], _VOWELS[draw // 18 % 5])
        )
        words.append(text + _ENDINGS[shape[5] % len(_ENDINGS)])
    return words


def _mixed(words: list[bytes], draws: Draws, *, longest: int, phrases: int) -> list[bytes]:
    """Return words and phrases of them, mixed over all frequencies."""
    found = list(words)
    for _ in range(phrases):
        picks = draws.many_below(len(words), 2 + draws.below(longest)).tolist()
        found.append(b"".join(words[pick] for pick in picks))
    return [found[place] for place in draws.order(len(found)).tolist()]


def _instructions(draws: Draws) -> list[bytes]:
    """Return short strings of bytes as machine code has them, sequences of them, and padding."""
    usual = draws.content(96)
    singles = [
        bytes([usual[shape % 96], usual[shape // 96 % 96]])[: 1 + shape % 2]
        + draws.content(1 + shape // 9216 % 5)
        for shape in draws.many_below(1 << 30, 9000).tolist()
    ]
    padding = [bytes(16), bytes(40), b"\xff" * 8, b"\x90" * 12, b"\xcc" * 15]
    return _mixed(singles + padding, draws, longest=3, phrases=3000)
