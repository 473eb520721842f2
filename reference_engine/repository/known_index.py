"""The index of the whole repository, as far as it has been read: kept from run to run.

Portions are write-once, so one that was read is never read again. Where one that was read is gone
now, its packs may be gone as well, and everything is read anew.
"""

from typing import Final

import numpy as np

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import Digests, NameTable, Places
from reference_engine.repository.codec import RunOpenedEntry, session_of
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

    async def refreshed(self) -> KnownBlocks:
        """Return every block that a portion speaks of; nobody may add to it.

        Of more blocks than fit, the ones that were stored last are known.
        """
        portions = await self._portions()
        if not self._read <= {*portions}:
            self._blocks, self._read = KnownBlocks(), set()
        fresh: list[tuple[Digests, Places]] = []
        count = 0
        unread = [name for name in reversed(portions) if name not in self._read]
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

    async def _portions(self) -> list[str]:
        """Return the names of the index's portions, those of the newest session last."""
        opened = [e.session for e in self._log.history.entries if isinstance(e, RunOpenedEntry)]
        age = {session: at for at, session in enumerate(opened)}
        found: list[tuple[int, int, str]] = []
        for name in await self._store.names("index/"):
            session, number = session_of(name), name.rpartition("-")[2]
            if session in age and number.isdecimal():
                found.append((age[session], int(number), name))
        return [name for _, _, name in sorted(found)]
