"""Chance from a seed: the same numbers on every machine and with every version of numpy.

Only the raw words of a counter-based generator are used. numpy keeps those stable for ever, and
its distributions not.
"""

import hashlib

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]


class Draws:
    """One named stream of a seed."""

    def __init__(self, seed: int, name: str, /) -> None:
        key = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
        self._words = np.random.Philox(key=int.from_bytes(key, "big"))

    def words(self, count: int, /) -> Words:
        """Return `count` numbers of 64 bits."""
        return np.asarray(self._words.random_raw(count), dtype=np.uint64)

    def content(self, length: int, /) -> bytes:
        """Return `length` bytes that nothing compresses."""
        return self.words(-(-length // 8)).astype("<u8").tobytes()[:length]

    def many_below(self, limit: int, count: int, /) -> Indices:
        """Return `count` numbers from 0 up to, not including, `limit`, which fits 32 bits."""
        assert 0 < limit < 1 << 32, limit
        return (((self.words(count) >> 32) * np.uint64(limit)) >> 32).astype(np.int64)

    def below(self, limit: int, /) -> int:
        """Return one number from 0 up to, not including, `limit`."""
        return int(self.many_below(limit, 1)[0])

    def order(self, count: int, /) -> Indices:
        """Return the numbers from 0 up to `count` in random order."""
        return np.argsort(self.words(count), kind="stable").astype(np.int64)
