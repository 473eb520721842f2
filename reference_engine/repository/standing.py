"""The manifests of points as the log has them now: a point may be moved, or go, while it is read.

A repack gives a point another manifest, and what only the old one referred to is deleted sooner or
later. Whoever reads takes no lock: where something is missing, the log says what became of it.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from reference_engine.model.errors import CorruptionError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.ports.runtime import Executor
from reference_engine.repository.codec import Manifest, PointCommittedEntry
from reference_engine.repository.errors import (
    ManifestDamagedError,
    PointRemovedError,
    PointUnknownError,
)
from reference_engine.repository.log import Log
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.together import AT_ONCE


class Standing(NamedTuple):
    """A manifest, and the log's word on it."""

    entry: PointCommittedEntry
    manifest: Manifest


class Recorded(NamedTuple):
    """A point of the log, and what its manifest says."""

    entry: PointCommittedEntry
    record: RecoveryPoint | None
    damage: CorruptionError | None
    """Why there is no record; None for a point that was removed a moment ago."""


class Manifests:
    """Reads manifests of points that exist."""

    def __init__(self, reader: ManifestReader, log: Log, /, *, executor: Executor) -> None:
        self._reader, self._log, self._executor = reader, log, executor
        self._records: dict[RecoveryPointId, RecoveryPoint] = {}

    async def entry(self, point: RecoveryPointId, /) -> PointCommittedEntry:
        """Return the log's word on a point that exists.

        Raises:
            PointUnknownError: it was never committed, or it has expired.
        """
        found = await self._current(point)
        if found is None:
            raise PointUnknownError(point)
        return found

    async def read(self, entry: PointCommittedEntry, /) -> Standing:
        """Return the manifest that the entry speaks of, or the one that has come in its place.

        Raises:
            PointRemovedError: the point has expired meanwhile.
            ManifestDamagedError: its manifest is not what was written.
        """
        while True:
            try:
                manifest = await self._reader.read(entry)
            except ManifestDamagedError as error:
                current = await self._current(entry.point)
                if current is None:
                    raise PointRemovedError(entry.point) from error
                if current == entry:
                    raise
                entry = current
            else:
                self._remember(manifest.record)
                return Standing(entry, manifest)

    async def record(self, entry: PointCommittedEntry, /) -> RecoveryPoint:
        """Return the point of an entry, from memory where its manifest was read before.

        Raises:
            PointRemovedError, ManifestDamagedError: as `read`.
        """
        known = self._records.get(entry.point)
        return known or (await self.read(entry)).manifest.record

    async def each(self, entries: Sequence[PointCommittedEntry], /) -> AsyncIterator[Recorded]:
        """Yield each of the points with its record, in this order, having read several at once.

        Raises:
            TransientError: the store failed.
        """
        for start in range(0, len(entries), AT_ONCE):
            part = entries[start : start + AT_ONCE]
            for found in await self._executor.ask_all(
                [lambda entry=entry: self._recorded(entry) for entry in part]  # type: ignore[misc]
            ):
                yield found

    async def _recorded(self, entry: PointCommittedEntry) -> Recorded:
        try:
            return Recorded(entry, await self.record(entry), None)
        except CorruptionError as error:
            return Recorded(entry, None, error)
        except PointRemovedError:
            return Recorded(entry, None, None)

    def _remember(self, record: RecoveryPoint) -> None:
        live = self._log.history.live
        if len(self._records) > 2 * len(live):  # those of points that are gone come to as much
            self._records = {p: each for p, each in self._records.items() if p in live}
        self._records[record.id] = record

    async def moved(self, standing: Standing, /) -> Standing | None:
        """Return the point's manifest if it is another one by now.

        Raises:
            PointRemovedError, ManifestDamagedError: as `read`.
        """
        current = await self._current(standing.entry.point)
        if current is None or current == standing.entry:
            return None
        return await self.read(current)

    async def explained(
        self, point: RecoveryPointId, damage: CorruptionError, /
    ) -> CorruptionError | PointRemovedError:
        """Return why reading the point really failed: it may have been removed meanwhile."""
        return PointRemovedError(point) if await self._current(point) is None else damage

    async def _current(self, point: RecoveryPointId) -> PointCommittedEntry | None:
        await self._log.refresh()
        return self._log.history.live.get(point)
