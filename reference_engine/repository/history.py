"""What the log's entries come to: which points live, which runs are open, which objects must go.

A fold, entry by entry: two readers of the same entries hold the same view, and nothing else, no
clock, no listing, has a say in it.
"""

from typing import Final, NamedTuple

import msgspec

from reference_engine.model.identity import Epoch, MachineId, RecoveryPointId, RunTag
from reference_engine.repository.codec import (
    Entry,
    PointCommittedEntry,
    RunOpenedEntry,
    manifest_copy_name,
)
from reference_engine.repository.domain_entries import DomainAddedEntry, DomainShreddedEntry
from reference_engine.repository.domain_names import domain_of, domain_of_session
from reference_engine.repository.key_entries import KeyChangedEntry
from reference_engine.repository.reclaim_entries import (
    LeaseEndedEntry,
    MovedPoint,
    ObjectsCondemnedEntry,
    ObjectsReleasedEntry,
    ObjectsSweptEntry,
    PointLeasedEntry,
    PointsExpiredEntry,
    PointsMovedEntry,
    RunClosedEntry,
)
from reference_engine.repository.renewal_entries import EntryLostEntry, LogRenewedEntry

REPACK: Final = MachineId("")
"""Whose runs are repacks: no machine has this id."""


class OpenRun(NamedTuple):
    """A run that may still commit."""

    number: int
    """Of the log entry that opened it."""

    tag: RunTag
    session: str

    def __str__(self) -> str:
        return f"repack {self.tag.epoch}" if self.tag.machine == REPACK else str(self.tag)


class History:
    """The fold over the entries read so far; entry n has number n + 1."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.live: dict[RecoveryPointId, PointCommittedEntry] = {}
        """The points that exist, in commit order."""

        self.condemned: dict[int, ObjectsCondemnedEntry] = {}
        """By number: what is condemned and not swept yet."""

        self.unreleased: dict[int, tuple[str, ...]] = {}
        """By number of the condemning entry: what is swept and perhaps not deleted yet."""

        self.swept_last = 0
        """Number of the newest sweep; 0 before the first."""

        self.leases: dict[str, PointLeasedEntry] = {}
        """By holder: which points are being read and must not expire."""

        self.domains: dict[str, str] = {}
        """By id: the names of the dedup domains that were not shredded, in their order."""

        self.shredded: dict[str, str] = {}
        """By id: what the ones were called that were."""

        self._committed: dict[RecoveryPointId, PointCommittedEntry] = {}
        self._newest: dict[MachineId, PointCommittedEntry] = {}
        self._last: dict[MachineId, Entry] = {}
        self._epochs: dict[MachineId, Epoch] = {}
        self._open: dict[MachineId, OpenRun] = {}
        self._live_of: dict[MachineId, dict[RecoveryPointId, PointCommittedEntry]] = {}
        """Each machine's part of `live`: a run asks for its own machine's points only."""

        self._sessions: dict[str, OpenRun] = {}
        self._points: dict[RunTag, RecoveryPointId] = {}
        self._fruitless: set[str] = set()
        """Sessions of which no commit or move is known, since the log was last renewed."""

        self._retired_manifests: set[str] = set()
        self._moves: dict[Epoch, PointsMovedEntry] = {}
        self._swept: set[str] = set()
        self._condemned: set[str] = set()
        self._floor = Epoch(0)

    def accept(self, entry: Entry, /) -> None:
        """Take the next entry."""
        self.entries.append(entry)
        number = len(self.entries)
        match entry:
            case RunOpenedEntry(machine=machine, epoch=epoch, session=session):
                tag = RunTag(machine=machine, epoch=epoch)
                self._epochs[machine] = epoch
                opened = OpenRun(number=number, tag=tag, session=session)
                self._open[machine] = self._sessions[session] = opened
                self._fruitless.add(session)
                self._last[machine] = entry
            case PointCommittedEntry(machine=machine):
                self.live[entry.point] = self._committed[entry.point] = entry
                self._live_of.setdefault(machine, {})[entry.point] = entry
                self._newest[machine] = self._last[machine] = entry
                self._come_to_fruit(machine, entry.epoch)
                self._points[RunTag(machine=machine, epoch=entry.epoch)] = entry.point
            case RunClosedEntry(machine=machine):
                self._last[machine] = entry
                self._end(machine, entry.epoch)
            case PointsExpiredEntry(points=points):
                self._expire(points)
            case PointsMovedEntry(epoch=epoch, points=points):
                for moved in points:
                    self._move(moved)
                self._moves[epoch] = entry
                self._come_to_fruit(REPACK, epoch)
            case ObjectsCondemnedEntry(objects=objects):
                self.condemned[number] = entry
                self._condemned.update(objects)
            case ObjectsSweptEntry(condemned=condemned, spared=spared):
                self._sweep(condemned, spared, number)
            case ObjectsReleasedEntry(condemned=condemned):
                self.unreleased.pop(condemned, None)
            case PointLeasedEntry(holder=holder):
                self.leases[holder] = entry
            case LeaseEndedEntry(holder=holder):
                self.leases.pop(holder, None)
            case LogRenewedEntry():
                self._renew(entry, number)
            case DomainAddedEntry() | DomainShreddedEntry():
                self._take_domain(entry)
            case KeyChangedEntry() | EntryLostEntry():
                pass  # Who may read has no say in what there is, and a lost number says nothing.

    def _renew(self, entry: LogRenewedEntry, number: int) -> None:
        """Hold what the entry says of points, epochs and objects, whatever was held before.

        No machine has a base from here on: a later point than those may have been lost with its
        manifest, and what trackers say may be about what changed since that one.
        """
        stand = {each.point: each.manifest for each in entry.points}
        for before in tuple(self.live.values()):
            if stand.get(before.point) != before.manifest:
                self._retire(before)
        self.live, self._live_of = {}, {}
        for each in entry.points:
            point = PointCommittedEntry(
                machine=each.machine,
                epoch=each.epoch,
                point=each.point,
                manifest=each.manifest,
                digest=each.digest,
            )
            self.live[point.point] = point
            self._committed.setdefault(point.point, point)
            self._live_of.setdefault(point.machine, {})[point.point] = point
        self._newest, self._last, self._open, self.leases = {}, {}, {}, {}
        self._fruitless = set()
        self._epochs.update((taken.machine, taken.epoch) for taken in entry.epochs)
        self._floor = max(self._floor, entry.floor)
        for run in entry.runs:
            tag = RunTag(machine=run.machine, epoch=run.epoch)
            self._sessions[run.session] = OpenRun(number=number, tag=tag, session=run.session)
        self._swept.update(entry.gone)
        self.swept_last = number
        self.domains.update((each.domain, each.name) for each in entry.domains)
        for domain in entry.shredded:
            self._shred(domain)

    def _take_domain(self, entry: DomainAddedEntry | DomainShreddedEntry) -> None:
        if isinstance(entry, DomainAddedEntry):
            self.domains[entry.domain] = entry.name
        else:
            self._shred(entry.domain)

    def _shred(self, domain: str) -> None:
        self.shredded[domain] = self.domains.pop(domain, "")
        self._expire(tuple(entry.point for entry in self.live_in(domain)))
        for run in self.open_runs():
            if domain_of_session(run.session) == domain:
                self._end(run.tag.machine, run.tag.epoch)

    def _expire(self, points: tuple[RecoveryPointId, ...]) -> None:
        for point in points:
            gone = self.live.pop(point, None)
            if gone is not None:
                del self._live_of[gone.machine][point]
                self._retire(gone)

    def _retire(self, entry: PointCommittedEntry) -> None:
        self._retired_manifests.update((entry.manifest, manifest_copy_name(entry.manifest)))

    def _move(self, moved: MovedPoint) -> None:
        """Let a live point have another manifest, and its place among the others."""
        before = self.live.get(moved.point)
        if before is None:
            return
        self._retire(before)
        after = msgspec.structs.replace(before, manifest=moved.manifest, digest=moved.digest)
        self.live[moved.point] = self._live_of[before.machine][moved.point] = after
        if self._newest.get(before.machine) == before:
            self._newest[before.machine] = after

    def _come_to_fruit(self, machine: MachineId, epoch: Epoch) -> None:
        if machine in self._open and self._open[machine].tag.epoch == epoch:
            self._fruitless.discard(self._open[machine].session)
        self._end(machine, epoch)

    def _end(self, machine: MachineId, epoch: Epoch) -> None:
        if machine in self._open and self._open[machine].tag.epoch == epoch:
            del self._open[machine]

    def _sweep(self, condemned: int, spared: tuple[str, ...], number: int) -> None:
        entry = self.condemned.pop(condemned, None)
        if entry is None:  # two reclaims at once: the first sweep of a condemnation counts
            return
        kept = {*spared}
        gone = tuple(name for name in entry.objects if name not in kept)
        self._condemned.difference_update(entry.objects)
        self._swept.update(gone)
        self.unreleased[condemned] = gone
        self.swept_last = number

    def holder_of(self, point: RecoveryPointId, /) -> str | None:
        """Return who reads the point, if anybody does."""
        return next((lease.holder for lease in self.leases.values() if lease.point == point), None)

    def newest(self, machine: MachineId, /) -> PointCommittedEntry | None:
        """Return the machine's newest commit, whether the point still exists or not.

        None also where it cannot be told any more, because the log had to be renewed. A point that
        was moved has the manifest that it was moved to; likewise in `live`.
        """
        return self._newest.get(machine)

    def live_of(self, machine: MachineId, /) -> tuple[PointCommittedEntry, ...]:
        """Return the machine's points that exist, in commit order."""
        return tuple(self._live_of.get(machine, {}).values())

    def live_in(self, domain: str, /) -> tuple[PointCommittedEntry, ...]:
        """Return the domain's points that exist, in commit order."""
        return tuple(each for each in self.live.values() if domain_of(each.manifest) == domain)

    def domain_named(self, name: str, /) -> str | None:
        """Return the id of the domain that is called so; None: there is none."""
        return next((domain for domain, own in self.domains.items() if own == name), None)

    @property
    def has_domains(self) -> bool:
        """Whether there was ever a domain beside the repository's own."""
        return bool(self.domains or self.shredded)

    def last(self, machine: MachineId, /) -> Entry | None:
        """Return the newest entry about the machine's runs."""
        return self._last.get(machine)

    def epoch(self, machine: MachineId, /) -> Epoch:
        """Return the highest epoch that is taken for the machine; 0 where none is."""
        return self._epochs.get(machine, self._floor)

    def has_committed(self, entry: PointCommittedEntry, /) -> bool:
        """Return whether this very entry is in the log."""
        return self._committed.get(entry.point) == entry

    def move(self, epoch: Epoch, /) -> PointsMovedEntry | None:
        """Return the entry that the repack of this epoch came to, if any."""
        return self._moves.get(epoch)

    def opened(self, session: str, /) -> RunTag | None:
        """Return the run that this session belongs to; None: the log knows no such session."""
        opened = self._sessions.get(session)
        return None if opened is None else opened.tag

    def is_fruitless(self, session: str, /) -> bool:
        """Return whether a run that was opened came to nothing, or to nothing yet, by the log."""
        return session in self._fruitless

    def may_have_committed(self, run: RunTag, point: RecoveryPointId, /) -> bool:
        """Return whether a staged point may exist, though no entry that can be read says so.

        Its run may still commit, or took an epoch that nobody took by the log, or one with which
        another run came to another point.
        """
        known = run.epoch <= self.epoch(run.machine) and self._points.get(run, point) == point
        return not known or self.is_open(run)

    def opened_at(self, session: str, /) -> int | None:
        """Return the number of the entry that opened the session; None: there is none."""
        opened = self._sessions.get(session)
        return None if opened is None else opened.number

    def is_open(self, run: RunTag, /) -> bool:
        """Return whether the run may still commit."""
        held = self._open.get(run.machine)
        return held is not None and held.tag == run

    def closing(self, run: RunTag, /) -> RunClosedEntry | None:
        """Return the entry that closes the run, where it is open."""
        if not self.is_open(run):
            return None
        return RunClosedEntry(machine=run.machine, epoch=run.epoch)

    def open_runs(self) -> tuple[OpenRun, ...]:
        """Return every run that may still commit, in the order in which they were opened."""
        return tuple(sorted(self._open.values()))

    def open_repack(self) -> OpenRun | None:
        """Return the repack that may still commit; there is one at most."""
        return self._open.get(REPACK)

    def is_retired_manifest(self, name: str, /) -> bool:
        """Return whether the object was the manifest of a point that has expired or was moved."""
        return name in self._retired_manifests

    def is_swept(self, name: str, /) -> bool:
        """Return whether no point may use the object any more. Names are never used again."""
        return name in self._swept

    def is_doomed(self, name: str, /) -> bool:
        """Return whether the object is swept, or condemned and may be swept next."""
        return name in self._swept or name in self._condemned
