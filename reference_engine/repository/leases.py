"""Leases of readers: a point that somebody reads does not expire until he is done.

A lease and an expiry are entries of one log, so one of them is first: a leased point stays,
and one that has expired can no longer be leased. A dead reader is waited for as long as a dead run.
"""

from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.codec import Entry
from reference_engine.repository.errors import PointUnknownError
from reference_engine.repository.history import History
from reference_engine.repository.log import Log
from reference_engine.repository.reclaim_entries import LeaseEndedEntry, PointLeasedEntry


class Leases:
    """Takes and ends leases; a holder, whose name nobody else uses, has one at a time."""

    def __init__(self, log: Log, /) -> None:
        self._log = log

    async def take(self, point: RecoveryPointId, holder: str, /, *, at: Instant) -> None:
        """Let the point not expire until `end`; true also where this holder has it already.

        Raises:
            PointUnknownError: it was never committed, or it has expired.
            TransientError: the store failed; taking it again does no harm.
        """

        def decide(history: History) -> Entry | None:
            if point not in history.live:
                raise PointUnknownError(point)
            held = history.leases.get(holder)
            if held is not None and held.point == point:
                return None
            return PointLeasedEntry(point=point, holder=holder, at=at)

        await self._log.append(decide)

    async def end(self, holder: str, /) -> None:
        """End the holder's lease; true also where it has none.

        Raises:
            TransientError: the store failed; ending it again does no harm.
        """

        def decide(history: History) -> Entry | None:
            return LeaseEndedEntry(holder=holder) if holder in history.leases else None

        await self._log.append(decide)

    async def leased(self) -> frozenset[RecoveryPointId]:
        """Return the points that must not expire now."""
        await self._log.refresh()
        return frozenset(lease.point for lease in self._log.history.leases.values())
