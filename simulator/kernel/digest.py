"""The trace digest: one number that is equal exactly when two runs did the same."""

import hashlib
from typing import Final

BLOCK: Final = 256
"""How many rows lie between two prefix digests."""


class TraceDigest:
    """A rolling digest over rows; prefix digests let the first difference be found by bisection."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._rows: list[bytes] = []
        self.rows = 0
        self.prefixes: list[str] = []
        self.window: int | None = None
        """Which block of rows is kept, counted from 0."""

        self.kept: list[bytes] = []

    def add(self, row: bytes, /) -> None:
        """Take one more row; its bytes never depend on a process, a hash seed or an address."""
        self._rows.append(row)
        self.rows += 1
        if len(self._rows) == BLOCK:
            self._flush()
            self.prefixes.append(self._hash.hexdigest()[:16])

    def _flush(self) -> None:
        if self.window == len(self.prefixes):
            self.kept += self._rows
        self._hash.update(b"\n".join(self._rows))
        self._hash.update(b"\n")
        self._rows.clear()

    def hexdigest(self) -> str:
        """Return the digest of every row so far."""
        self._flush()
        return self._hash.hexdigest()
