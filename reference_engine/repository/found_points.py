"""Which points exist, where entries of the log were lost: by what they said, and what is stored."""

from collections.abc import Callable
from typing import Final, NamedTuple

from reference_engine.model.identity import Epoch, MachineId, RecoveryPointId, RunTag
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.codec import (
    COMMITTED_PORTION,
    SEAL_SIZE,
    PointCommittedEntry,
    copy_name,
    index_name,
    staged_record,
)
from reference_engine.repository.domain_names import bare, domain_of, in_domain
from reference_engine.repository.errors import ReclaimRefusedError
from reference_engine.repository.header import Header
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.remains import Named, Remains
from reference_engine.repository.survey import Survey

_POINTS: Final = "points/"
_TOGETHER: Final = 16


class Staged(NamedTuple):
    """A sealed manifest that is stored."""

    manifest: str
    digest: str
    record: RecoveryPoint


async def staged_manifests(
    store: BlobStore, header: Header, /, *, executor: Executor
) -> tuple[Staged, ...]:
    """Return every manifest of which a copy is as it was sealed, by name.

    Raises:
        TransientError: the store failed.
    """
    names = dict.fromkeys(await store.names(_POINTS))
    for name in await store.names(copy_name(_POINTS)):
        names[name.removeprefix(copy_name(""))] = None
    found: list[Staged] = []
    listed = sorted(names)

    async def sound(name: str) -> Staged | None:
        for each in (name, copy_name(name)):
            content = await store.read(each)
            record = None if content is None else staged_record(header.key, content)
            if content is not None and record is not None:
                return Staged(name, content[-SEAL_SIZE:].hex(), record)
        return None

    for start in range(0, len(listed), _TOGETHER):
        part = listed[start : start + _TOGETHER]
        asked = [lambda name=name: sound(name) for name in part]
        found += [each for each in await executor.ask_all(asked) if each is not None]
    return tuple(found)


class FoundPoints(NamedTuple):
    """The points that exist, and how it is known."""

    live: tuple[PointCommittedEntry, ...]
    """In commit order."""

    by_manifest: tuple[PointCommittedEntry, ...]
    """Those of them of which no entry speaks: they may have been removed."""

    damaged: tuple[PointCommittedEntry, ...]
    """Those of them of which something is missing."""

    left_out: tuple[PointCommittedEntry, ...]
    """Of which no entry speaks, and something is missing."""

    used: dict[str, None]
    """Objects that they use, as far as it can be told."""


class PointSearch:
    """Looks for points among manifests, by what is left of the log."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        remains: Remains,
        staged: tuple[Staged, ...],
        present: dict[str, None],
        /,
    ) -> None:
        """`present` are the packs and portions of the index that are stored."""
        self._remains, self._present = remains, present
        self._survey = Survey(store, header, ManifestReader(store, header))
        self._staged: dict[RecoveryPointId, list[Staged]] = {}
        for each in staged:
            if domain_of(each.manifest) in remains.shredded:
                continue
            self._staged.setdefault(each.record.id, []).append(each)
        self._sure = self._committed_unsaid()
        self._used: dict[PointCommittedEntry, dict[str, None]] = {}
        self._mends: dict[str, None] = {}

    def _committed_unsaid(self) -> set[RunTag]:
        """Return the runs that wrote what follows a commit, and of which no entry says so."""
        found: set[RunTag] = set()
        for session, run in self._remains.sessions.items():
            tag = RunTag(machine=run.machine, epoch=run.epoch)
            told = index_name(session, COMMITTED_PORTION) in self._present
            if told and self._remains.is_unexplained(tag):
                found.add(tag)
        return found

    def lost_at_end(self) -> int:
        """Return how many entries behind the last one must be lost, by what is stored.

        That is a portion of the index that is written behind a commit, or the manifest of a run
        that no entry opened.
        """
        remains = self._remains
        commits = sum(1 for run in self._sure if remains.commit_at(run) is None)
        if remains.has_lost:
            return commits
        strangers = {
            staged.record.run
            for point, found in self._staged.items()
            for staged in found
            if point not in remains.runs
            and point not in remains.expired
            and staged.manifest not in remains.condemned
            and (
                not remains.is_known(staged.record.run)
                or remains.is_namesake(staged.record.run, point)
            )
        }
        return commits + 2 * len(strangers)

    async def found(self, progress: Callable[[int, int], None], /) -> FoundPoints:
        """Return the points that exist; `progress` is told how many of how many were looked at.

        Raises:
            TransientError: the store failed.
        """
        self._mends = await self._survey.used(())
        at: dict[RecoveryPointId, int] = {}
        live: list[PointCommittedEntry] = []
        told: list[PointCommittedEntry] = []
        damaged: list[PointCommittedEntry] = []
        left_out: list[PointCommittedEntry] = []
        points = [*self._remains.named, *(p for p in self._staged if p not in self._remains.named)]
        for count, point in enumerate(points, start=1):
            progress(count, len(points))
            place = self._place(point)
            choices = [] if place is None else self._choices(point)
            if place is None or not choices:
                continue
            at[point] = place
            known = point in self._remains.named
            whole = [each for each in choices if await self._is_whole(each)][:1]
            if not whole and not known:
                left_out += choices[:1]
                continue
            live += whole or choices[:1]
            if not whole:
                damaged += choices[:1]
            elif not known:
                told += whole
        used: dict[str, None] = {}
        for entry in live:
            used.update(self._used.get(entry, {}))
        return FoundPoints(
            live=_in_order(live, at),
            by_manifest=_in_order(told, at),
            damaged=_in_order(damaged, at),
            left_out=tuple(left_out),
            used=used,
        )

    def _place(self, point: RecoveryPointId) -> int | None:
        """Return at which number of the log the point was committed; None: it does not exist."""
        remains = self._remains
        if point in remains.expired:
            return None
        if point in remains.runs:
            return remains.committed.get(remains.runs[point], remains.named[point][0].number)
        run = self._staged[point][0].record.run if point in self._staged else None
        place: int | None = None
        if run is not None and remains.is_namesake(run, point):
            return remains.committed[run]
        # A manifest tells that its run came far, and not that it committed.
        likely = run in self._sure or remains.unaccounted(len(self._sure)) > 0
        if run is not None and likely:
            place = remains.commit_at(run)
            if place is None and run in self._sure:
                # Somebody who knew of no loss has closed it since.
                place = remains.opened_at(run)
        if place is None and point in remains.named:
            # It was moved, so it existed.
            place = remains.named[point][0].number
        return place

    def _choices(self, point: RecoveryPointId) -> list[PointCommittedEntry]:
        """Return the manifests that the point may have, the likeliest one first."""
        remains = self._remains
        staged = {each.manifest: each for each in self._staged.get(point, [])}
        named = remains.named.get(point, [])
        told = {each.manifest for each in named}
        found = [each for each in reversed(named) if not remains.is_retired(each)]
        others = [
            Named(0, each.manifest, each.digest)
            for each in staged.values()
            if each.manifest not in told
        ]
        found += [each for each in sorted(others, key=self._age) if not remains.is_retired(each)]
        records = [each.record for each in staged.values()]
        run = remains.runs.get(point) or (records[0].run if records else None)
        if run is None:
            # Only a move speaks of it, and no manifest says whose it is.
            return []
        return [
            PointCommittedEntry(
                machine=run.machine,
                epoch=run.epoch,
                point=point,
                manifest=each.manifest,
                digest=each.digest,
            )
            for each in found
        ]

    def _age(self, named: Named) -> tuple[Epoch, int, str]:
        """Return what puts the manifests of later repacks, and of later attempts, first."""
        last = bare(named.manifest.rpartition("/")[2]).rpartition(".")[2]
        repack = self._remains.sessions.get(in_domain(domain_of(named.manifest), last))
        attempt = int(last) if last.isdecimal() and len(last) < 10 else 0
        return Epoch(-repack.epoch if repack is not None else 0), -attempt, named.manifest

    async def _is_whole(self, entry: PointCommittedEntry) -> bool:
        """Return whether the point can be read with this manifest: all it refers to is there."""
        try:
            used = await self._survey.used((entry,))
        except ReclaimRefusedError:
            return False
        self._used[entry] = used
        for name in used:
            gone = name.startswith("packs/") and name not in self._present
            if name not in self._mends and (gone or name in self._remains.swept):
                return False
        return True


def _in_order(
    points: list[PointCommittedEntry], at: dict[RecoveryPointId, int]
) -> tuple[PointCommittedEntry, ...]:
    """Return points as they were committed: those of one machine by their epochs."""
    points.sort(key=lambda each: (at[each.point], each.epoch))
    own: dict[MachineId, list[PointCommittedEntry]] = {}
    for each in sorted(points, key=lambda each: -each.epoch):
        own.setdefault(each.machine, []).append(each)
    return tuple(own[each.machine].pop() for each in points)
