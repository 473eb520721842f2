"""Giving back the space that no point needs: condemn, sweep, delete, release.

Each decision is an entry of the log, taken behind a history that was read and settled, and void if
anybody else's entry lands first. So a commit and a sweep are always ordered: the one that comes
later knows the other. Nothing waits for a lock, and no clock says what is needed.

- *condemn*: what no point uses and no open run wrote. Runs opened later do not build on it.
- *sweep*: of that, what is still not used. From here on a commit that needs it is refused.
- *delete*, then *release*: the objects go, and the log says that they are gone.

Whoever dies in between leaves entries behind from which anybody goes on.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from reference_engine.model.errors import (
    CorruptionError,
    ObjectLockedError,
    OperationFailedError,
)
from reference_engine.model.identity import RecoveryPointId, RunTag
from reference_engine.model.units import HOUR, Duration, Instant
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.access import Keys
from reference_engine.repository.codec import Entry
from reference_engine.repository.domain_keys import key_names
from reference_engine.repository.errors import (
    AppendOnlyError,
    LastPointError,
    LogDamagedError,
    PointImmutableError,
    PointLeasedError,
    PointUnknownError,
    ReclaimRefusedError,
)
from reference_engine.repository.header import Header
from reference_engine.repository.history import History, OpenRun
from reference_engine.repository.leases import Leases
from reference_engine.repository.log import COLLISIONS_MAX, Log
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.reclaim_entries import (
    ObjectsCondemnedEntry,
    ObjectsReleasedEntry,
    ObjectsSweptEntry,
    PointsExpiredEntry,
)
from reference_engine.repository.survey import Survey

SILENCE_MAX: Final = Duration(24 * HOUR)
"""How long a sweep waits for runs that were open when its objects were condemned.

A run that is taken for dead too early has to be repeated; no point is ever lost by it.
"""


class Reclaimed(NamedTuple):
    """What one reclaim came to."""

    deleted: tuple[str, ...]
    waiting: tuple[str, ...]
    """Condemned, and left until the runs in `awaited` have ended."""

    awaited: tuple[OpenRun, ...]
    locked: dict[str, str]
    """What the store keeps by a lock, and until when; later reclaims try again."""


class Clearing(Protocol):
    """Keys of domains that are none, or no more."""

    async def clear(self) -> dict[str, str]:
        """Delete those that were shredded; return what a lock keeps, and until when."""

    async def unclaimed(self) -> tuple[str, ...]:
        """Return those of domains that never came to be."""


def _count(name: str) -> None:
    del name


class Reclaim:
    """Removes points and what only they used, step by step."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        log: Log,
        /,
        *,
        manifests: ManifestReader,
        keys: Keys | None,
        domains: Clearing | None,
    ) -> None:
        self._store, self._header, self._log = store, header, log
        self._manifests = manifests
        self._keys, self._domains = keys, domains
        self._settings = header.settings
        self._survey = Survey(store, header, manifests)
        self._late: tuple[str, ...] = ()
        """What appeared after it was swept: late writes of runs that had ended."""
        self._locked: dict[str, str] = {}

    @property
    def history(self) -> History:
        """What the log's entries came to when they were last read."""
        return self._log.history

    async def expire(
        self, points: tuple[RecoveryPointId, ...], /, *, at: Instant, allow_last: bool
    ) -> None:
        """Let these points exist no more; their space is given back by what comes after.

        Raises:
            AppendOnlyError: nothing is removed from this repository.
            PointUnknownError: there is none of this id (any more).
            PointImmutableError: one of them is too young.
            LastPointError: a machine would be left without any point, and `allow_last` is not set.
            PointLeasedError: one of them is being read.
        """
        await self.check_expiry(points, at=at, allow_last=allow_last)

        def decide(history: History) -> Entry:
            self._check_left(history, points, allow_last=allow_last)
            return PointsExpiredEntry(points=points, at=at)

        await self._log.append(decide)

    async def check_expiry(
        self, points: tuple[RecoveryPointId, ...], /, *, at: Instant, allow_last: bool
    ) -> None:
        """Return only if these points may be removed as things are.

        Raises:
            RefusedError: as `expire`.
        """
        self._check_appending()
        await self._log.refresh()
        self._check_left(self.history, points, allow_last=allow_last)
        if not self._settings.immutable_for:
            return
        for point in points:
            left = self._settings.immutable_for - (at - await self._committed_by(point, at=at))
            if left > 0:
                raise PointImmutableError(point, Duration(left))

    def _check_appending(self) -> None:
        if self._settings.append_only:
            raise AppendOnlyError

    async def _committed_by(self, point: RecoveryPointId, *, at: Instant) -> Instant:
        """Return when the point existed at the latest, by the clocks of hosts and engines.

        A point whose record is damaged is no younger than any that was committed after it.
        """
        entries = tuple(self.history.live.values())
        first = next(n for n, entry in enumerate(entries) if entry.point == point)
        for entry in entries[first:]:
            try:
                manifest = await self._manifests.read(entry)
            except CorruptionError:
                continue
            return manifest.record.made
        return at

    @staticmethod
    def _check_left(
        history: History, points: tuple[RecoveryPointId, ...], *, allow_last: bool
    ) -> None:
        going = dict.fromkeys(points)
        kept = {e.machine: None for e in history.live.values() if e.point not in going}
        for point in points:
            entry = history.live.get(point)
            if entry is None:
                raise PointUnknownError(point)
            holder = history.holder_of(point)
            if holder is not None:
                raise PointLeasedError(point, holder)
            if not allow_last and entry.machine not in kept:
                raise LastPointError(entry.machine, point)

    async def unneeded(
        self,
        without: tuple[RecoveryPointId, ...],
        /,
        *,
        progress: Callable[[], None] = lambda: None,
    ) -> tuple[str, ...]:
        """Return what would be deleted sooner or later if these points expired; nothing changes.

        `progress` is called for each other point.

        Raises:
            ReclaimRefusedError: what another point needs cannot be told.
            TransientError: the store failed.
        """
        going = dict.fromkeys(without)
        for _ in range(COLLISIONS_MAX):
            await self._log.refresh()
            history = self._log.history
            number = len(history.entries)
            left = tuple(entry for entry in history.live.values() if entry.point not in going)
            used = await self._survey.used(left, progress=progress)
            garbage = await self._garbage(number, used)
            if garbage is not None:
                return garbage
        raise outrun()

    async def condemn(self, *, at: Instant) -> int | None:
        """Condemn everything that is not needed; return the entry's number, None without any.

        Runs that are open count as something: from here on their silence is measured.

        Raises:
            AppendOnlyError: nothing is removed from this repository.
            ReclaimRefusedError: what a point needs cannot be told.
            LogDamagedError: the log lacks the end of which there is a trace.
            TransientError: the store failed.
        """
        self._check_appending()
        for _ in range(COLLISIONS_MAX):
            await self._log.settle()
            history = self._log.history
            number = len(history.entries)
            used = await self._used(number)
            if used is None:
                continue
            garbage = await self._garbage(number, used)
            if garbage is None:
                continue
            self._late = tuple(name for name in garbage if history.is_swept(name))
            objects = tuple(name for name in garbage if not history.is_doomed(name))
            noted = max(history.condemned, default=0)
            if not objects and all(run.number < noted for run in history.open_runs()):
                return None
            # A run that was opened meanwhile may have written what was listed: then this is void.
            entry = ObjectsCondemnedEntry(objects=objects, at=at)
            if await self._log.append_after(number, entry):
                return number + 1
        raise outrun()

    async def sweep(self, condemned: int, /) -> None:
        """Let no commit use what was condemned, but for what points use by now.

        True also where somebody else has swept it.

        Raises:
            ReclaimRefusedError: what a point needs cannot be told.
            TransientError: the store failed.
        """
        for _ in range(COLLISIONS_MAX):
            await self._log.settle()
            history = self._log.history
            number = len(history.entries)
            wanted = history.condemned.get(condemned)
            if wanted is None:
                return
            used = await self._used(number)
            if used is None:
                continue
            spared = tuple(name for name in wanted.objects if name in used)
            entry = ObjectsSweptEntry(condemned=condemned, spared=spared)
            if await self._log.append_after(number, entry):
                return
        raise outrun()

    async def _used(self, number: int) -> dict[str, None] | None:
        """Return what points need behind entry `number`; None: the log has gone on meanwhile."""
        history = self._log.history
        try:
            used = await self._survey.used(tuple(history.live.values()))
        except ReclaimRefusedError:
            # Another reclaim may have removed the point, and deleted it while we were reading it.
            await self._log.settle()
            if len(self._log.history.entries) == number:
                raise
            return None
        for domain in tuple(history.domains):
            used.update(dict.fromkeys(key_names(domain)))
        return used

    async def _garbage(self, number: int, used: dict[str, None]) -> tuple[str, ...] | None:
        """Return what is not needed behind entry `number`; None: the log has gone on meanwhile."""
        try:
            garbage = await self._survey.garbage(self._log.history, used)
        except LogDamagedError:
            # A run may have committed meanwhile.
            await self._log.refresh()
            if len(self._log.history.entries) == number:
                raise
            return None
        return garbage + (() if self._domains is None else await self._domains.unclaimed())

    async def delete(
        self, condemned: int, /, *, progress: Callable[[str], None] = _count
    ) -> tuple[str, ...]:
        """Delete what was swept; return the names. `progress` takes each one.

        What the store keeps locked stays, and is not among them: it goes another time.

        Raises:
            TransientError, RefusedError: the store failed; what is left goes another time.
        """
        # The sweep may be somebody else's: what is deleted must stay swept after a power cut.
        await self._log.settle()
        names = self._log.history.unreleased.get(condemned, ())
        return tuple([name for name in names if await self._is_deleted(name, progress)])

    async def _is_deleted(self, name: str, progress: Callable[[str], None]) -> bool:
        """Delete what is swept; return False where a lock of the store keeps it."""
        try:
            await self._store.delete(name)
        except ObjectLockedError as error:
            self._locked[name] = error.until
            return False
        progress(name)
        return True

    async def release(self, condemned: int, /) -> None:
        """Note that everything swept was deleted."""

        def decide(history: History) -> Entry | None:
            if condemned not in history.unreleased:
                return None
            return ObjectsReleasedEntry(condemned=condemned)

        await self._log.append(decide)

    async def reclaim(self, *, at: Instant, progress: Callable[[str], None] = _count) -> Reclaimed:
        """Give back the space that no point needs, and finish what earlier reclaims began.

        What was condemned while runs were open waits until these have ended: they may have built
        on it, and would have to start over. A run that shows no end for `SILENCE_MAX` is closed.

        Raises:
            ReclaimRefusedError: what a point needs cannot be told; nothing was deleted.
            TransientError, RefusedError: the store failed; the next reclaim goes on.
        """
        await self._log.settle()
        self._check_appending()
        self._locked = {}
        if self._domains is not None:
            self._locked.update(await self._domains.clear())
        deleted: list[str] = []
        for number in tuple(self._log.history.unreleased):
            deleted += await self._finish(number, progress)
        await self._close_silent(at)
        await self._end_silent_leases(at)
        await self.condemn(at=at)
        for number in tuple(self._log.history.condemned):
            if not self._awaited(number):
                await self.sweep(number)
                deleted += await self._finish(number, progress)
        late = tuple(name for name in self._late if name not in self._locked)
        deleted += [name for name in late if await self._is_deleted(name, progress)]
        await self._store.tidy()
        if self._keys is not None:
            await self._keys.clear()
        return self._reclaimed(tuple(deleted))

    async def _finish(self, condemned: int, progress: Callable[[str], None]) -> tuple[str, ...]:
        deleted = await self.delete(condemned, progress=progress)
        # What is locked is remembered by this very entry's not being released.
        if not self._locked.keys() & {*self._log.history.unreleased.get(condemned, ())}:
            await self.release(condemned)
        return deleted

    def _awaited(self, condemned: int) -> tuple[OpenRun, ...]:
        """Return the runs that may have built on what was condemned."""
        return tuple(run for run in self._log.history.open_runs() if run.number < condemned)

    async def _close_silent(self, at: Instant) -> None:
        """Close runs that were open when objects were condemned `SILENCE_MAX` ago or longer."""
        old = [n for n, e in self._log.history.condemned.items() if at - e.at >= SILENCE_MAX]
        for run in self._awaited(max(old, default=0)):
            await self.close(run.tag)

    async def _end_silent_leases(self, at: Instant) -> None:
        """End leases that are `SILENCE_MAX` old: their readers are taken for dead."""
        for lease in tuple(self._log.history.leases.values()):
            if at - lease.at >= SILENCE_MAX:
                await Leases(self._log).end(lease.holder)

    async def close(self, run: RunTag, /) -> None:
        """Let a run that came to nothing never commit; true also where it has ended already."""
        await self._log.append(lambda history: history.closing(run))

    def _reclaimed(self, deleted: tuple[str, ...]) -> Reclaimed:
        history = self._log.history
        awaited = self._awaited(max(history.condemned, default=0))
        waiting = tuple(n for e in history.condemned.values() for n in e.objects)
        return Reclaimed(deleted=deleted, waiting=waiting, awaited=awaited, locked=self._locked)


def outrun() -> OperationFailedError:
    """Return what is to be said where the log went on faster than it could be read."""
    return OperationFailedError("reclaiming space", "other writers were always faster")
