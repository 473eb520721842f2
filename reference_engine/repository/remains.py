"""What can still be read of a log in which entries were lost.

Every entry is sealed and says its number, so it can be believed without its neighbours: what it
says has happened. What a lost one said has to be guessed from what is stored.
"""

import bisect
from collections.abc import Iterable
from typing import Final, NamedTuple

from reference_engine.model.identity import Epoch, MachineId, RecoveryPointId, RunTag
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.codec import (
    Entry,
    PointCommittedEntry,
    RunOpenedEntry,
    decode_record,
)
from reference_engine.repository.domain_entries import DomainShreddedEntry
from reference_engine.repository.domain_names import domain_of
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.history import REPACK
from reference_engine.repository.reclaim_entries import (
    ObjectsCondemnedEntry,
    ObjectsSweptEntry,
    PointsExpiredEntry,
    PointsMovedEntry,
    RunClosedEntry,
)
from reference_engine.repository.renewal_entries import EntryLostEntry, KnownRun, LogRenewedEntry
from reference_engine.repository.together import read_together

VOID_MAX: Final = 100_000
"""So many numbers at most are passed over: a file far behind all others is no entry of a log."""


async def read_beyond(
    store: BlobStore,
    key: bytes,
    taken: dict[int, list[str]],
    first: int,
    /,
    *,
    executor: Executor,
) -> dict[int, Entry]:
    """Return every entry of number `first` or later that can be read, by number, ascending.

    Raises:
        RepositoryFeatureError: a later program wrote one.
        TransientError: the store failed.
    """
    numbered = {name: n for n, names in sorted(taken.items()) if n >= first for name in names}
    found: dict[int, Entry] = {}
    async for name, content in read_together(store, [*numbered], executor=executor):
        number = numbered[name]
        try:
            record = decode_record(key, number, content or b"")
        except LogDamagedError:
            continue
        if record.number == number and not isinstance(record.entry, EntryLostEntry):
            found.setdefault(number, record.entry)
    return found


class Named(NamedTuple):
    """A manifest that an entry gave a point."""

    number: int
    manifest: str
    digest: str


class Remains:
    """What the entries that can be read say; `lost` are the numbers of those that cannot be."""

    def __init__(self, entries: Iterable[tuple[int, Entry]], /, *, lost: tuple[int, ...]) -> None:
        """Take entries in the order of their numbers."""
        self._lost = lost
        self.named: dict[RecoveryPointId, list[Named]] = {}
        """The manifests that points which were not removed were given, the newest one last."""

        self.runs: dict[RecoveryPointId, RunTag] = {}
        """By which run a point was committed, where its entry can be read."""

        self.expired: set[RecoveryPointId] = set()
        self.condemned: dict[str, int] = {}
        """Objects that no point used at an entry of this number."""

        self.swept: dict[str, None] = {}
        self.sessions: dict[str, KnownRun] = {}
        self.committed: dict[RunTag, int] = {}
        self._points: dict[RunTag, RecoveryPointId] = {}
        self.renewed = 0
        """Number of the newest renewal; 0 without any."""

        self._opened: dict[RunTag, int] = {}
        self._closed: dict[RunTag, int] = {}
        self.epochs: dict[MachineId, Epoch] = {}
        """The highest epoch of each machine that is known to be taken."""

        self.floor = Epoch(0)
        """Of other machines."""

        self.shredded: dict[str, None] = {}
        """Dedup domains that were shredded."""

        self._settled: dict[MachineId, Epoch] = {}
        self._lists: dict[int, tuple[str, ...]] = {}
        self._unlisted: set[int] = set()
        """Numbers of lost entries of which later ones say that they condemned objects."""

        for number, entry in entries:
            self._add(number, entry)

    def _add(self, number: int, entry: Entry) -> None:
        match entry:
            case RunOpenedEntry(machine=machine, epoch=epoch, session=session):
                run = RunTag(machine=machine, epoch=epoch)
                self._opened[run] = number
                self._take(machine, epoch)
                self.sessions[session] = KnownRun(machine=machine, epoch=epoch, session=session)
            case PointCommittedEntry():
                run = RunTag(machine=entry.machine, epoch=entry.epoch)
                self.runs[entry.point], self.committed[run] = run, number
                self._points[run] = entry.point
                self._take(entry.machine, entry.epoch)
                self._name(entry.point, Named(number, entry.manifest, entry.digest))
            case RunClosedEntry(machine=machine, epoch=epoch):
                self._closed[RunTag(machine=machine, epoch=epoch)] = number
            case PointsExpiredEntry(points=points):
                self._expire(points)
            case PointsMovedEntry(epoch=epoch, points=points):
                self.committed[RunTag(machine=REPACK, epoch=epoch)] = number
                self._take(REPACK, epoch)
                for each in points:
                    self._name(each.point, Named(number, each.manifest, each.digest))
            case ObjectsCondemnedEntry(objects=objects):
                self._lists[number] = objects
                self.condemned.update(dict.fromkeys(objects, number))
            case ObjectsSweptEntry(condemned=condemned, spared=spared):
                kept = {*spared}
                listed = self._lists.pop(condemned, ())
                if condemned in self._lost:
                    self._unlisted.add(condemned)
                self.swept.update(dict.fromkeys(name for name in listed if name not in kept))
            case DomainShreddedEntry(domain=domain):
                self._shred(domain)
            case LogRenewedEntry():
                self._renew(number, entry)
            case _:
                pass  # It says nothing of what there is.

    def _name(self, point: RecoveryPointId, named: Named) -> None:
        if point not in self.expired:
            self.named.setdefault(point, []).append(named)

    def _expire(self, points: Iterable[RecoveryPointId]) -> None:
        for point in points:
            self.named.pop(point, None)
            self.expired.add(point)

    def _shred(self, domain: str) -> None:
        self.shredded[domain] = None
        self._expire(
            [p for p, named in self.named.items() if domain_of(named[-1].manifest) == domain]
        )

    def _renew(self, number: int, entry: LogRenewedEntry) -> None:
        """Believe whoever has looked before: he saw at least as much."""
        standing = {each.point: each for each in entry.points}
        self._expire([point for point in self.named if point not in standing])
        for each in entry.points:
            self.expired.discard(each.point)
            self.runs[each.point] = RunTag(machine=each.machine, epoch=each.epoch)
            self._name(each.point, Named(number, each.manifest, each.digest))
        self.swept.update(dict.fromkeys(entry.gone))
        for domain in entry.shredded:
            self._shred(domain)
        self.sessions.update((run.session, run) for run in entry.runs)
        for taken in entry.epochs:
            self._take(taken.machine, taken.epoch)
            self._settled[taken.machine] = taken.epoch
        self.floor, self.renewed = max(self.floor, entry.floor), number

    def _take(self, machine: MachineId, epoch: Epoch) -> None:
        self.epochs[machine] = max(self.epochs.get(machine, epoch), epoch)

    @property
    def has_lost(self) -> bool:
        """Whether any entry is known to be lost."""
        return bool(self._lost)

    def opened_at(self, run: RunTag, /) -> int:
        """Return the number of the entry that opened a run; 0 where it cannot be read."""
        return self._opened.get(run, 0)

    def unaccounted(self, sure: int, /) -> int:
        """Return of how many lost entries nothing tells what they were.

        `sure` runs are known to have committed without an entry that can be read.
        """
        unopened = sum(1 for run in self.committed if not self.is_known(run))
        return len(self._lost) - len(self._unlisted) - unopened - sure

    def is_retired(self, named: Named, /) -> bool:
        """Return whether its point had gone, or had another manifest, at a later entry."""
        return named.manifest in self.swept or (
            self.condemned.get(named.manifest, 0) > named.number
        )

    def is_known(self, run: RunTag, /) -> bool:
        """Return whether the entry that opened this run can be read, or was there to be counted."""
        settled = self._settled.get(run.machine, self.floor)
        return run in self._opened or run.epoch <= settled

    def is_namesake(self, run: RunTag, point: RecoveryPointId, /) -> bool:
        """Return whether a run of this epoch came to another point: there were two such runs.

        The entries of the first are lost, and whoever did not know of them took its epoch again.
        """
        new = run.epoch > self._settled.get(run.machine, self.floor)
        return new and self._points.get(run, point) != point

    def is_unexplained(self, run: RunTag, /) -> bool:
        """Return whether a run that is known to have committed lacks the entry that says so."""
        return run not in self.committed and self._opened.get(run, 0) > self.renewed

    def commit_at(self, run: RunTag, /) -> int | None:
        """Return which lost entry may be the run's commit, the first one; None: there is none.

        A commit stands between the run's opening and its end. Where the opening is lost too, one
        number more must be.
        """
        if run in self.committed or (run not in self._opened and self.is_known(run)):
            return None
        later = [n for r, n in self._opened.items() if self._is_later(r, run)]
        before = [n for r, n in self._opened.items() if self._is_later(run, r)]
        after = self._opened.get(run, max([*before, self.renewed]))
        ends = [n for n in (*later, self._closed.get(run, 0), self.renewed) if n > after]
        start = bisect.bisect_right(self._lost, after)
        window = (
            self._lost[start : bisect.bisect_left(self._lost, min(ends))]
            if ends
            else (self._lost[start:])
        )
        needed = 1 if run in self._opened else 2
        return window[needed - 1] if len(window) >= needed else None

    @staticmethod
    def _is_later(run: RunTag, than: RunTag) -> bool:
        return run.machine == than.machine and run.epoch > than.epoch
