"""Chance by name: the n-th draw of a stream depends on the seed, its name and n, nothing else.

Taking one event out of a scenario therefore never shifts the draws of another.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

import numpy as np

_MASK: Final = (1 << 64) - 1
_STRIDE: Final = 0xD1342543DE82EF95
_SECOND: Final = 2 * _STRIDE & _MASK
_TIES_DRAWN: Final = 512
"""So many tie-breakers are mixed at once, because one costs as much as an event."""


def mix(value: int, /) -> int:
    """Return the splitmix64 finaliser of `value`: 64 bits, each depending on every input bit."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _named(parts: tuple[str | int, ...]) -> bytes:
    return "".join([f"{type(part).__name__}:{part}\0" for part in parts]).encode()


def key_of(*parts: str | int) -> int:
    """Return 64 bits that stand for the named parts."""
    return int.from_bytes(hashlib.blake2b(_named(parts), digest_size=8).digest(), "little")


class Stream:
    """An independent stream of chance; satisfies `ports.runtime.RandomStream`."""

    __slots__ = ("_drawn", "_key")

    def __init__(self, *name: str | int) -> None:
        self._key = key_of(*name)
        self._drawn = 0

    def bits(self) -> int:
        """Return 64 random bits."""
        self._drawn += 1
        return mix(self._key ^ (self._drawn * _STRIDE & _MASK))

    def below(self, limit: int, /) -> int:
        """Return a whole number in `[0, limit)`."""
        assert limit > 0, limit
        return (self.bits() * limit) >> 64

    def between(self, low: int, high: int, /) -> int:
        """Return a whole number in `[low, high]`."""
        return low + self.below(high - low + 1)

    def chance(self, per_mille: int, /) -> bool:
        """Return True in `per_mille` of a thousand draws."""
        return self.below(1000) < per_mille

    def token(self) -> str:
        """Return 32 hexadecimal digits."""
        return f"{self.bits():016x}{self.bits():016x}"


class NumberedStreams:
    """The streams whose names are one beginning and a number: what they share is hashed once."""

    __slots__ = ("_begun",)

    def __init__(self, *name: str | int) -> None:
        self._begun = hashlib.blake2b(_named(name), digest_size=8)

    def pair_between(self, low: int, high: int, /, *, number: int) -> tuple[int, int]:
        """Return the first two whole numbers in `[low, high]` of the stream of this number."""
        named = self._begun.copy()
        named.update(b"int:%d\0" % number)
        key, span = int.from_bytes(named.digest(), "little"), high - low + 1
        first, second = mix(key ^ _STRIDE), mix(key ^ _SECOND)
        return low + ((first * span) >> 64), low + ((second * span) >> 64)


def _mixed(values: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> list[int]:
    """Return `mix` of each value; numpy says nothing of arrays that overflow."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: list[int] = (values ^ (values >> np.uint64(31))).tolist()
    return mixed


def seeded_ties(seed: int, /) -> Iterator[int]:
    """Yield, in place of SimPy's event counter, unique numbers whose order the seed draws."""
    key = np.uint64(key_of("ties", seed))
    count = 0
    while True:
        drawn = _mixed(np.arange(count + 1, count + 1 + _TIES_DRAWN, dtype=np.uint64) + key)
        for value in drawn:
            count += 1
            yield ((value >> 24) << 48) | count
