"""Chance by name: the n-th draw of a stream depends on the seed, its name and n, nothing else.

Taking one event out of a scenario therefore never shifts the draws of another.
"""

import hashlib
from typing import Final

_MASK: Final = (1 << 64) - 1
_STRIDE: Final = 0xD1342543DE82EF95


def mix(value: int, /) -> int:
    """Return the splitmix64 finaliser of `value`: 64 bits, each depending on every input bit."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def key_of(*parts: str | int) -> int:
    """Return 64 bits that stand for the named parts."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(f"{type(part).__name__}:{part}\0".encode())
    return int.from_bytes(digest.digest(), "little")


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


class SeededTies:
    """Replaces SimPy's event counter: unique numbers whose order is drawn from the seed."""

    __slots__ = ("_count", "_key")

    def __init__(self, seed: int, /) -> None:
        self._key = key_of("ties", seed)
        self._count = 0

    def __next__(self) -> int:
        self._count += 1
        return ((mix(self._key + self._count) >> 24) << 48) | self._count

    def __iter__(self) -> "SeededTies":
        return self
