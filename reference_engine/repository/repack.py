"""Getting back the space of packs of which little is used: what is used moves to other packs.

A reclaim deletes objects that no point uses, whole. Where points share disks and most of them
expire, every pack keeps a few blocks that somebody needs. A repack copies these, lets the points
refer to the copies (`repack_run`), and leaves the rest to the reclaim.
"""

from collections.abc import Callable
from typing import NamedTuple

from reference_engine.model.errors import (
    CorruptionError,
    TwinshotError,
)
from reference_engine.model.identity import Epoch, RecoveryPointId, RunTag
from reference_engine.model.units import Instant
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.codec import Entry, RunOpenedEntry, session_of
from reference_engine.repository.domain_names import domain_of, in_domain
from reference_engine.repository.errors import (
    AppendOnlyError,
    ReclaimRefusedError,
    RepackOvertakenError,
)
from reference_engine.repository.header import Header
from reference_engine.repository.history import REPACK, History, OpenRun
from reference_engine.repository.log import COLLISIONS_MAX, Log
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.mending import MENDS, WANTED, listed
from reference_engine.repository.reclaim import outrun
from reference_engine.repository.repack_rule import Choice, RepackRule, choose, rounds
from reference_engine.repository.repack_run import RepackRun
from reference_engine.repository.usage import ObjectUse, Usage


class RepackPlan(NamedTuple):
    """What is worth being copied, and the counts that it was chosen by."""

    choice: Choice
    usage: Usage


class Repacked(NamedTuple):
    """What one repack came to."""

    points: int
    """How many manifests were written anew."""

    moved: int
    """Bytes of blocks that were copied, decompressed."""

    stored: int
    """Bytes that they take in their new packs."""

    damaged: tuple[str, ...]
    """Packs that were left as they are, because blocks in them cannot be read back."""

    overtaken: bool
    """Whether somebody else began to repack, and this one ended for it."""


NOTHING = Repacked(points=0, moved=0, stored=0, damaged=(), overtaken=False)


class Repack:
    """Finds out what is worth being moved, and moves it."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        log: Log,
        /,
        *,
        manifests: ManifestReader,
        executor: Executor,
    ) -> None:
        self._store, self._header, self._log = store, header, log
        self._manifests, self._executor = manifests, executor
        self._own: RunTag | None = None

    async def plan(
        self,
        rule: RepackRule,
        /,
        *,
        at: Instant,
        without: tuple[RecoveryPointId, ...] = (),
        progress: Callable[[], None] = lambda: None,
    ) -> RepackPlan:
        """Return what should be moved by the rule if the points `without` expired.

        Nothing changes. Left alone is what a repair may need, what open runs wrote, and what was
        written so lately that its point is immutable. `progress` is called for each point.

        Raises:
            ReclaimRefusedError: what a point needs cannot be told.
            TransientError: the store failed.
        """
        going = dict.fromkeys(without)
        for _ in range(COLLISIONS_MAX):
            await self._log.refresh()
            history, number = self._log.history, len(self._log.history.entries)
            usage = Usage(
                self._store, self._header, manifests=self._manifests, executor=self._executor
            )
            for entry in tuple(history.live.values()):
                if entry.point in going:
                    continue
                try:
                    await usage.add(entry)
                except CorruptionError as error:
                    await self._log.refresh()
                    if len(history.entries) > number:
                        # The point may have expired, or been moved, while it was read.
                        break
                    raise ReclaimRefusedError(entry.point, str(error)) from error
                progress()
            else:
                uses = await usage.measured()
                return RepackPlan(choose(uses, rule, left_alone=await self._left(uses, at)), usage)
        raise outrun()

    async def _left(self, uses: tuple[ObjectUse, ...], at: Instant) -> dict[str, None]:
        """Return which of the objects nothing is to be moved out of."""
        found: dict[str, None] = {}
        for prefix in (MENDS, WANTED):
            named = await listed(self._store, self._header.key, prefix)
            found.update(dict.fromkeys(named.names.names()))
        history = self._log.history
        young = await self._young(history, at)
        for each in uses:
            run = history.opened(session_of(each.name))
            if run is None or run in young or history.is_open(run):
                found[each.name] = None
        return found

    async def _young(self, history: History, at: Instant) -> dict[RunTag, None]:
        """Return the runs whose points may not be removed yet."""
        window = self._header.settings.immutable_for
        found: dict[RunTag, None] = {}
        for entry in tuple(history.live.values()) if window else ():
            try:
                manifest = await self._manifests.read(entry)
            except CorruptionError:
                continue
            if at - manifest.record.made < window:
                found[manifest.record.run] = None
        for epoch in range(1, history.epoch(REPACK) + 1 if window else 0):
            move = history.move(Epoch(epoch))
            if move is not None and at - move.at < window:
                found[RunTag(machine=REPACK, epoch=Epoch(epoch))] = None
        return found

    def open_run(self) -> OpenRun | None:
        """Return the repack that is open by the log as it was last read: alive, or dead."""
        return self._log.history.open_repack()

    async def run(
        self,
        plan: RepackPlan,
        /,
        *,
        token: Callable[[], str],
        at: Instant,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Repacked:
        """Move what the plan has chosen; a reclaim gives back the space afterwards.

        Each part of it is opened under a token of `token`, never used before, and commits for
        itself: one that fails takes nothing of the others back. A repack of somebody else ends.
        `progress` takes how many bytes were stored so far.

        Raises:
            AppendOnlyError: nothing is removed from this repository.
            TransientError, RefusedError: the store failed, or cannot be written to.
        """
        if self._header.settings.append_only:
            raise AppendOnlyError
        done = NOTHING
        for part in rounds(plan.choice.objects):
            before = done
            run = await self._opened(plan.usage, part, token())
            try:
                points = 0
                if await run.stage(lambda stored: progress(before.stored + stored)):  # noqa: B023 - called at once
                    points = await run.commit(at=at)
                else:
                    await run.abandon()
            except RepackOvertakenError:
                await run.abandon()
                return done._replace(overtaken=True)
            except TwinshotError:
                await run.abandon()
                raise
            done = Repacked(
                points=done.points + points,
                moved=done.moved + run.bytes_moved,
                stored=done.stored + run.bytes_stored,
                damaged=(*done.damaged, *run.damaged),
                overtaken=False,
            )
        return done

    async def _opened(
        self, usage: Usage, objects: tuple[ObjectUse, ...], session: str
    ) -> RepackRun:
        # A part is of one domain, and what is copied stays in it.
        domain = domain_of(objects[0].name)

        def decide(history: History) -> Entry:
            epoch = Epoch(history.epoch(REPACK) + 1)
            # Chance that begins anew after a restart draws the same; the log gives no epoch twice.
            name = in_domain(domain, f"{session}-{epoch}")
            return RunOpenedEntry(machine=REPACK, epoch=epoch, session=name)

        opened = await self._log.append(decide)
        assert isinstance(opened, RunOpenedEntry), opened
        self._own = RunTag(machine=REPACK, epoch=opened.epoch)
        return RepackRun(
            self._store,
            self._header,
            self._log,
            usage,
            objects,
            run=self._own,
            session=opened.session,
            manifests=self._manifests,
            executor=self._executor,
        )

    async def end_open(self) -> None:
        """Let a repack that is open come to nothing; true also where none is."""

        def decide(history: History) -> Entry | None:
            found = history.open_repack()
            return None if found is None else history.closing(found.tag)

        await self._log.append(decide)

    async def end_own(self) -> None:
        """Let the last repack of this engine come to nothing, if it is still open."""
        own = self._own
        if own is not None:
            await self._log.append(lambda history: history.closing(own))
