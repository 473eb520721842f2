"""Rules of repack taken away, one at a time."""

from typing import Any

import numpy as np

from reference_engine.repository.history import History
from reference_engine.repository.page_mover import PageMover
from reference_engine.repository.reclaim_entries import PointsMovedEntry
from reference_engine.repository.reliance import Reliance
from reference_engine.repository.repack import Repack
from reference_engine.repository.repack_run import RepackRun
from simulator.campaign.planted_bugs import Patch
from simulator.campaign.proving.removed_reclaim_rules import open_runs_not_awaited


async def _nothing(*_: object, **__: object) -> None:
    """Leave a rule out."""


def moved_before_packs() -> list[Patch]:
    """Points are moved before the new packs are durable."""
    commit, opened = RepackRun.commit, RepackRun.__init__

    def held_back(self: Any, *args: Any, **named: Any) -> None:
        opened(self, *args, **named)
        self._packs.publish_full = self._packs.flush = _nothing

    async def late(self: Any, *, at: Any) -> int:
        moved = await commit(self, at=at)
        writer = self._packs
        del writer.publish_full, writer.flush
        await writer.flush()
        return moved

    return [(RepackRun, "__init__", held_back), (RepackRun, "commit", late)]


def moved_before_maps() -> list[Patch]:
    """Points are moved before the new pages are durable."""
    commit, opened = RepackRun.commit, RepackRun.__init__

    def held_back(self: Any, *args: Any, **named: Any) -> None:
        opened(self, *args, **named)
        self._maps.publish_full = self._maps.flush = _nothing

    async def late(self: Any, *, at: Any) -> int:
        moved = await commit(self, at=at)
        maps = self._maps
        del maps.publish_full, maps.flush
        await maps.flush()
        return moved

    return [(RepackRun, "__init__", held_back), (RepackRun, "commit", late)]


def old_packs_deleted_first() -> list[Patch]:
    """What was copied is deleted before the points are moved."""
    stage = RepackRun.stage

    async def eager(self: Any, progress: Any, /) -> int:
        staged = await stage(self, progress)
        for pack in np.unique(self._mover._frames >> np.uint64(32)).tolist():  # noqa: SLF001
            name = self._names.name(int(pack))
            if name not in self.damaged:
                await self._store.delete(name)
        return staged

    return [(RepackRun, "stage", eager)]


def repack_not_rechecked() -> list[Patch]:
    """A repack does not look, before it commits, what became of its run and of its points."""

    async def commit(self: Any, *, at: Any) -> int:
        self._committing = True
        entry = PointsMovedEntry(epoch=self._run.epoch, points=tuple(self._moved), at=at)
        await self._log.append(
            lambda history: None if history.move(self._run.epoch) is not None else entry
        )
        return len(self._moved)

    return [(RepackRun, "commit", commit)]


def overlaid_pieces_forgotten() -> list[Patch]:
    """Pieces that lie over a block stay in the packs that are given up."""
    take = PageMover.take

    async def bases_only(self: Any, number: int, page: Any, /, **named: Any) -> bool:
        taken = await take(self, number, page, **named)
        page.piece_keys = page.piece_keys[:0]
        page.piece_places = page.piece_places[:0]
        if taken:
            waiting = self._waiting[-1]
            none = waiting.piece_rows[:0]
            self._waiting[-1] = waiting._replace(piece_rows=none, piece_copies=none)
        return taken

    return [(PageMover, "take", bases_only)]


def hidden_pieces_shown() -> list[Patch]:
    """A copy is used wherever its base was, also where pieces of it show that were hidden."""

    def copied(self: Any, slots: Any, shown: Any) -> Any:
        del shown
        return self._copy_of[slots].astype(np.int64)

    return [(PageMover, "_copied", copied)]


def moved_base_trusted() -> list[Patch]:
    """A run whose base was moved takes what it inherited for safe, and no sweep waits for it."""

    def has_gone(self: Any, history: History) -> bool:
        expired = self._base is not None and self._base.point not in history.live
        return expired and history.swept_last > self._swept_before

    return [(Reliance, "_has_base_gone", has_gone), *open_runs_not_awaited()]


def repack_not_spared() -> list[Patch]:
    """Manifests of an open repack are anybody's garbage, and no sweep waits for it."""

    def no_repack(_: History) -> None:
        return None

    return [(History, "open_repack", no_repack), *open_runs_not_awaited()]


def repack_without_run() -> list[Patch]:
    """A repack opens no run, so that nobody spares what it writes."""
    opened = Repack._opened  # noqa: SLF001 - a planted bug

    async def closed_at_once(self: Any, *args: Any) -> RepackRun:
        run: RepackRun = await opened(self, *args)
        await self.end_own()
        return run

    def check_open(*_: object) -> None:
        return None

    return [(Repack, "_opened", closed_at_once), (RepackRun, "_check_open", check_open)]
