"""Which runs the log knows: a check asks whose an object is, and whether a commit is missing."""

from collections.abc import Sequence

from reference_engine.model.identity import Epoch, MachineId, RecoveryPointId, RunTag
from reference_engine.repository.codec import Entry, PointCommittedEntry, RunOpenedEntry
from reference_engine.repository.domain_names import bare
from reference_engine.repository.history import REPACK
from reference_engine.repository.reclaim_entries import PointsMovedEntry
from reference_engine.repository.renewal_entries import LogRenewedEntry


class KnownRuns:
    """The runs of which a log speaks."""

    def __init__(self, entries: Sequence[Entry], /) -> None:
        self._of: dict[str, RunTag] = {}
        self._open: set[str] = set()
        """Sessions of which the log tells everything since they were opened."""

        self._committed: set[RunTag] = set()
        self._points: dict[RunTag, RecoveryPointId] = {}
        self._tags: set[RunTag] = set()
        self._settled: dict[MachineId, Epoch] = {}
        for entry in entries:
            match entry:
                case RunOpenedEntry(machine=machine, epoch=epoch, session=session):
                    self._of[session] = RunTag(machine=machine, epoch=epoch)
                    self._open.add(session)
                case PointCommittedEntry(machine=machine, epoch=epoch, point=point):
                    self._committed.add(RunTag(machine=machine, epoch=epoch))
                    self._points[RunTag(machine=machine, epoch=epoch)] = point
                case PointsMovedEntry(epoch=epoch):
                    self._committed.add(RunTag(machine=REPACK, epoch=epoch))
                case LogRenewedEntry(runs=runs, epochs=epochs):
                    self._open = set()
                    for run in runs:
                        self._of[run.session] = RunTag(machine=run.machine, epoch=run.epoch)
                    self._settled = {each.machine: each.epoch for each in epochs}
                case _:
                    pass  # It is about no run.
        self._tags.update(self._of.values())

    def __contains__(self, session: str) -> bool:
        return session in self._of

    def has_committed(self, session: str, /) -> bool:
        """Return whether the run of this session is known to have come to its end."""
        return self._of.get(session) in self._committed

    def lacks_commit(self, session: str, /) -> bool:
        """Return whether a run, if it committed, has done so without an entry of the log."""
        return session in self._open and not self.has_committed(session)

    def knows(self, run: RunTag, point: RecoveryPointId, /) -> bool:
        """Return whether the log speaks of the run of a point, or passed over entries that may.

        Two runs of an epoch that came to different points are not the same one.
        """
        if run.epoch <= self._settled.get(run.machine, Epoch(0)):
            return True
        return run in self._tags and self._points.get(run, point) == point

    def moved(self, name: str, /) -> bool:
        """Return whether a manifest of this name is one that a repack wrote."""
        return any(name.endswith(f".{bare(session)}") for session in self._of)
