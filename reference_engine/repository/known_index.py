"""The index of the whole repository, as far as it has been read: kept from run to run.

Portions are write-once, so one that was read is never read again. Where one that was read is gone
now and the log does not say why, its packs may be gone as well, and everything is read anew.
"""

from typing import Final

import numpy as np

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import Digests, NameTable, Places
from reference_engine.repository.codec import session_of
from reference_engine.repository.dedup import KEYS_MAX, KnownBlocks
from reference_engine.repository.log import Log
from reference_engine.repository.pages import decode_segment

_ASKED_AT_ONCE: Final = 32
"""Portions that are in memory, undecoded, at the same time: some megabytes."""


class KnownIndex:
    """Where the blocks of all sessions are stored; `packs` has the names of their packs."""

    def __init__(self, store: BlobStore, key: bytes, log: Log, /, *, executor: Executor) -> None:
        self._store, self._key, self._log = store, key, log
        self._executor = executor
        self.packs = NameTable()
        self._blocks = KnownBlocks()
        self._read: set[str] = set()
        self._swept = 0
        """How many portions were swept of which the blocks are still in memory."""

    async def refreshed(self) -> KnownBlocks:
        """Return every block that a portion speaks of; nobody may add to it.

        Of more blocks than fit, the ones that were stored last are known.
        """
        present = await self._store.names("index/")
        self._forget(self._read.difference(present))
        fresh: list[tuple[Digests, Places]] = []
        count = 0
        unread = self._newest_first([name for name in present if name not in self._read])
        for start in range(0, len(unread), _ASKED_AT_ONCE):
            if count >= KEYS_MAX:
                break
            names = unread[start : start + _ASKED_AT_ONCE]
            contents = await self._executor.ask_all(
                [lambda name=name: self._store.read(name) for name in names]  # type: ignore[misc]
            )
            self._read.update(names)
            for content in contents:
                try:
                    part = decode_segment(self._key, content or b"", self.packs)
                except ValueError:
                    # What is not found costs space only; `check` tells of the damage.
                    continue
                fresh.append(part)
                count += len(part[0])
        if count:
            self._blocks.learn(
                np.concatenate([digests for digests, _ in reversed(fresh)]),
                np.concatenate([places for _, places in reversed(fresh)]),
            )
        return self._blocks

    def _forget(self, gone: set[str]) -> None:
        """Believe what portions said that are gone now only where the log says why they are.

        What is swept is passed over by whoever looks for a block, and takes room only: a reclaim
        that deletes thousands of portions one by one must not have every run read the others anew.
        """
        self._read -= gone
        self._swept += len(gone)
        known = all(self._log.history.is_swept(name) for name in gone)
        if not known or self._swept > len(self._read):
            self._blocks, self._read, self._swept = KnownBlocks(), set(), 0

    def _newest_first(self, portions: list[str]) -> list[str]:
        """Return those of a session that the log knows, those of the newest session first."""
        found: list[tuple[int, int, str]] = []
        for name in portions:
            number = name.rpartition("-")[2]
            age = self._log.history.opened_at(session_of(name))
            if age is not None and number.isdecimal():
                found.append((age, int(number), name))
        return [name for _, _, name in sorted(found, reverse=True)]
