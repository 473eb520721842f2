"""Rules of reclaim taken away, one at a time, and in pairs where two rules guard the same thing."""

from typing import Any

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.model.errors import TwinshotError
from reference_engine.repository.history import History
from reference_engine.repository.log import Log
from reference_engine.repository.reclaim import Reclaim, Reclaimed
from reference_engine.repository.reclaim_entries import ObjectsSweptEntry
from reference_engine.repository.reliance import Reliance
from reference_engine.repository.storing import BlockStorer
from reference_engine.repository.survey import Survey
from reference_engine.repository.write_session import WriteSession
from simulator.campaign.planted_bugs import Patch


def deleted_at_once() -> list[Patch]:
    """What no point uses is deleted without an entry of the log."""

    async def reclaim(self: Any, **_: object) -> Reclaimed:
        await self._log.settle()
        history = self._log.history
        used = await self._survey.used(tuple(history.live.values()))
        garbage = await self._survey.garbage(history, used)
        for name in garbage:
            await self._store.delete(name)
        return Reclaimed(locked={}, deleted=garbage, waiting=(), awaited=())

    return [(Reclaim, "reclaim", reclaim)]


def open_runs_not_spared() -> list[Patch]:
    """Objects of runs that may still commit are condemned, and nobody waits for these runs."""

    async def is_over(*_: object) -> bool:
        return True

    return [(Survey, "_is_over", is_over), *open_runs_not_awaited()]


def sweep_not_remarked() -> list[Patch]:
    """A sweep does not look what points use by now."""

    async def sweep(self: Any, condemned: int, /) -> None:
        await self._log.append(
            lambda history: (
                ObjectsSweptEntry(condemned=condemned, spared=())
                if condemned in history.condemned
                else None
            )
        )

    return [(Reclaim, "sweep", sweep)]


def open_runs_not_awaited() -> list[Patch]:
    """A sweep does not wait for runs that may have built on what was condemned."""
    return [(Reclaim, "_awaited", lambda *_: ())]


def commit_not_checked() -> list[Patch]:
    """A run does not look whether what it builds on was swept."""
    return [(Reliance, "check", lambda *_: None)]


def awaited_by_nobody() -> list[Patch]:
    """A sweep waits for no run, and no run looks for sweeps before it commits."""
    return [*open_runs_not_awaited(), *commit_not_checked()]


def condemned_blocks_found() -> list[Patch]:
    """A run builds on condemned and swept packs, and does not look for sweeps."""

    def lasting(_: Any, places: Any) -> Any:
        return places[:, 0] >= 0

    return [(BlockStorer, "_lasting", lasting), *commit_not_checked()]


def closed_run_commits() -> list[Patch]:
    """A run that was closed for its silence commits all the same."""

    def decide(self: Any, history: History) -> Any:
        if history.has_committed(self._entry):
            return None
        self._reliance.check(history)
        return self._entry

    return [(WriteSession, "_decide", decide)]


def unreadable_point_ignored() -> list[Patch]:
    """What a point needs is taken for nothing when it cannot be read."""
    used = Survey.used

    async def careless(self: Any, points: Any, /) -> dict[str, None]:
        found: dict[str, None] = {}
        for entry in points:
            try:
                found |= await used(self, (entry,))
            except TwinshotError:
                continue
        return found

    return [(Survey, "used", careless)]


def decided_once() -> list[Patch]:
    """After a collision a reclaim writes what it had decided, without looking again."""

    async def append_after(self: Any, _: int, entry: Any, /) -> bool:
        await self.append(lambda _: entry)
        return True

    original = Log.append_after

    async def once(self: Any, number: int, entry: Any, /) -> bool:
        if await original(self, number, entry):
            return True
        if type(entry).__name__.startswith("Objects"):
            return await append_after(self, number, entry)
        return False

    return [(Log, "append_after", once), *open_runs_not_awaited()]


def deleted_before_sweep() -> list[Patch]:
    """Condemned objects are deleted first, and swept then."""
    sweep = Reclaim.sweep

    async def delete_then_sweep(self: Any, condemned: int, /) -> None:
        wanted = self._log.history.condemned.get(condemned)
        for name in () if wanted is None else wanted.objects:
            await self._store.delete(name)
        await sweep(self, condemned)

    return [(Reclaim, "sweep", delete_then_sweep), *open_runs_not_awaited()]


def failed_listing_is_short() -> list[Patch]:
    """A directory that cannot be listed this time is taken for empty."""
    below = DirectoryStore._below  # noqa: SLF001 - a planted bug

    async def careless(self: Any, start: str) -> list[str]:
        try:
            return await below(self, start)
        except OSError:
            return []

    return [(DirectoryStore, "_below", careless)]


def sweep_not_durable() -> list[Patch]:
    """Objects are deleted by a sweep that another process wrote and has not flushed."""

    async def refresh_only(self: Any) -> None:
        await self.refresh()

    return [(Log, "settle", refresh_only)]
