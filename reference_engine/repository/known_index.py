"""The index of the whole repository, as far as it has been read: kept from run to run.

Portions are write-once, so one that was read is never read again. Where one that was read is gone
now and the log does not say why, its packs may be gone as well, and everything is read anew. What
was read is kept in a cache on this machine, where there is one; without it all of it is in memory.
"""

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.local_cache import LocalCache
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import Digests, NameTable, Places
from reference_engine.repository.codec import INDEX, session_of
from reference_engine.repository.dedup import KEYS_MAX, KnownBlocks
from reference_engine.repository.domain_names import OWN, only_of
from reference_engine.repository.envelope import Sealing
from reference_engine.repository.header import Header
from reference_engine.repository.index_cache import IndexCache
from reference_engine.repository.log import Log
from reference_engine.repository.portions import Portion, batches, read_portions
from reference_engine.repository.segmented_store import SegmentedStore

CACHED_MAX: Final = 1 << 26
"""Known blocks with a cache: 4 TiB of different blocks of 64 KiB, 110 MiB of memory."""

KEPT_ROWS: Final = 1 << 16
KEPT_PORTIONS: Final = 32
"""What is less than both is read from the repository each time."""

_LEARNT_AT_ONCE: Final = 1 << 17
"""So many blocks or more are sorted in together, so that few of them are in memory twice."""


class KnownIndex:
    """Where the blocks of all sessions of a domain are stored; `packs` has their packs' names."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        log: Log,
        /,
        *,
        executor: Executor,
        sealing: Sealing,
        cache: LocalCache | None,
        domain: str = OWN,
    ) -> None:
        self._store, self._key, self._log = store, header.key, log
        self._executor, self._domain = executor, domain
        self.packs = NameTable()
        self._cache: IndexCache | None = None
        if cache is not None:
            token = header.stored.repository
            self._cache = IndexCache(
                cache, sealing, header.key, self.packs, repository=token, domain=domain
            )
        self._blocks = KnownBlocks()
        self._read: set[str] = set()
        self._swept = 0
        """How many portions were swept of which the blocks are still in memory."""

        self._unkept: list[Portion] = []
        """What is in memory and may be kept with more of its kind."""

        self._can_keep = cache is not None

    def __len__(self) -> int:
        return len(self._blocks) + (0 if self._cache is None else len(self._cache))

    async def find(self, digests: Digests, /) -> tuple[npt.NDArray[np.bool_], Places]:
        """Return for each digest whether a block has it, and a place where it is stored."""
        found, places = self._blocks.find(digests)
        if self._cache is not None and not found.all():
            rest = np.flatnonzero(~found)
            found[rest], places[rest] = await self._cache.find(digests[rest])
        return found, places

    async def refresh(self) -> None:
        """Know every block that a portion speaks of.

        Of more blocks than fit, the ones that were stored last are known.
        """
        if self._cache is not None:
            # What is kept after this listing speaks of portions that are in the next one.
            await self._cache.load()
        present = await self._store.names(INDEX)
        if self._log.history.has_domains:
            # What another domain stores may go at any time, with all that would refer to it.
            present = only_of(self._domain, present)
        covered: set[str] = set()
        if self._cache is not None:
            await self._cache.keep_only({*self._newest_first(present)})
            covered = self._cache.covered()
        self._forget(self._read.difference(present))
        # Every run asks, and of nearly all portions nothing has to be found out any more.
        unread = self._newest_first(
            [name for name in present if name not in self._read and name not in covered]
        )
        count, limit = 0, KEYS_MAX if self._cache is None else CACHED_MAX - len(self)
        for names in batches(unread):
            if count >= limit:
                break
            found = await read_portions(
                self._store, self._key, names, self.packs, executor=self._executor
            )
            self._read.update(names)
            fresh: list[Portion] = []
            for portion in found:
                fresh.append(portion)
                count += len(portion.digests)
                if sum(len(each.digests) for each in fresh) >= _LEARNT_AT_ONCE:
                    await self._take(fresh)
                    fresh = []
            await self._take(fresh)

    async def _take(self, fresh: list[Portion]) -> None:
        """Have portions in the cache, or in memory where that is not possible or not worth it."""
        if self._cache is not None and self._can_keep:
            batch = [*self._unkept, *fresh]
            rows = sum(len(each.digests) for each in batch)
            if rows >= KEPT_ROWS or len(batch) >= KEPT_PORTIONS:
                self._unkept = []
                self._can_keep = await self._cache.keep(batch)
                if self._can_keep:
                    self._read -= {each.name for each in batch}
                    self._blocks = KnownBlocks()
                    self._learn(self._unkept)
                    return
            else:
                self._unkept = batch
        self._learn(fresh)

    def _learn(self, fresh: list[Portion]) -> None:
        if any(len(each.digests) for each in fresh):
            self._blocks.learn(
                np.concatenate([each.digests for each in reversed(fresh)]),
                np.concatenate([each.places for each in reversed(fresh)]),
            )

    def _forget(self, gone: set[str]) -> None:
        """Believe what portions said that are gone now only where the log says why they are.

        What is swept is passed over by whoever looks for a block, and takes room only: a reclaim
        that deletes thousands of portions one by one must not have every run read the others anew.
        """
        self._read -= gone
        self._swept += len(gone)
        known = all(self._log.history.is_swept(name) for name in gone)
        self._unkept = [each for each in self._unkept if each.name not in gone]
        if not known or self._swept > len(self._read):
            self._blocks, self._unkept = KnownBlocks(), []
            self._read, self._swept = set(), 0

    def _newest_first(self, portions: Sequence[str]) -> list[str]:
        """Return those of a session that the log knows, those of the newest session first."""
        found: list[tuple[int, int, str]] = []
        for name in portions:
            number = name.rpartition("-")[2]
            age = self._log.history.opened_at(session_of(name))
            if age is not None and number.isdecimal():
                found.append((age, int(number), name))
        return [name for _, _, name in sorted(found, reverse=True)]


class Indexes:
    """The index of each domain."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        log: Log,
        /,
        *,
        executor: Executor,
        sealing: Sealing,
        cache: LocalCache | None,
    ) -> None:
        self._made = functools.partial(
            KnownIndex, store, header, log, executor=executor, sealing=sealing, cache=cache
        )
        self._store, self._of = store, dict[str, KnownIndex]()

    async def of(self, domain: str, /) -> KnownIndex:
        """Return the index of a domain.

        Raises:
            TransientError: the store failed.
        """
        if isinstance(self._store, SegmentedStore):
            # What is cached of it would be taken for damaged, and thrown away.
            await self._store.learn(domain)
        if domain not in self._of:
            self._of[domain] = self._made(domain=domain)
        return self._of[domain]
