"""What a run builds on that others wrote, and what becomes of it when that is reclaimed.

A run finds blocks in packs of earlier sessions, and inherits the pages of its base. Meanwhile
points may expire and objects be swept. The log orders the two: the entry that commits a point lands
right behind a history in which nothing that the point uses is swept, and a sweep that comes later
sees the point. So it is enough to look at the very history behind which the entry is to land.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from reference_engine.model.errors import CorruptionError, SupersededError
from reference_engine.model.identity import RunTag
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import BlockMap, NameTable, Page, Places
from reference_engine.repository.codec import PointCommittedEntry
from reference_engine.repository.errors import BlocksReclaimedError, RunClosedError
from reference_engine.repository.history import History
from reference_engine.repository.log import Log
from reference_engine.repository.object_locking import HeldObjects
from reference_engine.repository.ordered import distinct
from reference_engine.repository.pack import PackWriter, unpack


class Swept(Exception):  # noqa: N818 - it asks for work, it reports no failure
    """A run builds on objects that are swept; nothing was appended."""

    def __init__(self, names: tuple[str, ...], /) -> None:
        super().__init__(names)
        self.names = names


class BaseSwept(Exception):  # noqa: N818 - as above
    """The base has expired or was moved, and there was a sweep since: what was taken is unsure."""


class Reliance:
    """The objects of others that one run's point will use."""

    def __init__(
        self,
        base: PointCommittedEntry | None,
        /,
        *,
        swept_before: int,
        held: HeldObjects | None = None,
    ) -> None:
        """Begin with the base; `swept_before` is the newest sweep that the run's opening knew.

        `base` names the manifest that was read: a repack may give the point another one.
        """
        self._held = held
        self._base = base
        self._swept_before = swept_before
        self._borrowed: dict[str, None] = {}
        self._inherited: tuple[str, ...] | None = None

    async def hold(self) -> None:
        """Let the store keep, for as long as it was told to, all that a point made by now uses.

        Raises:
            TransientError, RefusedError: the store failed, or does not let these credentials.
        """
        if self._held is not None:
            await self._held.hold()

    def borrow(self, names: Iterable[str], /) -> None:
        """Note packs in which blocks were found."""
        self._borrowed.update(dict.fromkeys(names))

    def inherit(self, names: Iterable[str], /) -> None:
        """Note every object that the drafts refer to now, their base's included."""
        self._inherited = tuple(names)
        self._borrowed = {}

    def check(self, history: History, /) -> None:
        """Return only if nothing that the run uses is swept in `history`.

        As long as its base lives, with the manifest that was read, nothing of the base is swept,
        so its pages need not be read.

        Raises:
            Swept: replace what it names.
            BaseSwept: say what was inherited, and check again.
        """
        names = [*self._borrowed]
        if self._inherited is not None:
            names += self._inherited
        elif self._has_base_gone(history):
            raise BaseSwept
        gone = tuple(name for name in names if history.is_swept(name))
        if gone:
            raise Swept(gone)

    def _has_base_gone(self, history: History) -> bool:
        gone = self._base is not None and history.live.get(self._base.point) != self._base
        return gone and history.swept_last > self._swept_before


async def referred(
    maps: Iterable[BlockMap], names: NameTable, objects: NameTable, /, *, run: RunTag
) -> tuple[str, ...]:
    """Return every object that the maps refer to, each page of them read.

    Raises:
        BlocksReclaimedError: a page is deleted already.
    """
    found: dict[str, None] = {}
    for blocks, number in [(each, number) for each in maps for number in each.pages()]:
        try:
            page = await blocks.page(number)
        except CorruptionError as error:
            raise BlocksReclaimedError(run, f"page {number} of its base") from error
        held = int(blocks.root.objects[number])
        if held:
            found[objects.name(held)] = None
        packs = distinct(np.concatenate((page.places[:, 0], page.piece_places[:, 0])))
        found.update((names.name(pack), None) for pack in packs.tolist() if pack)
    return tuple(found)


async def why_lost(
    log: Log, run: RunTag, damage: CorruptionError, /
) -> CorruptionError | SupersededError | RunClosedError:
    """Return why a run cannot read a page of its base.

    What a run that was closed had taken from its base may be deleted, though nothing is damaged.
    """
    await log.refresh()
    newest = log.history.epoch(run.machine)
    if newest > run.epoch:
        return SupersededError(run, newest)
    return damage if log.history.is_open(run) else RunClosedError(run)


class _Move(NamedTuple):
    """Where a frame went."""

    pack: int
    offset: int


class Rescue:
    """Copies frames out of packs that are about to be deleted into packs of the run."""

    def __init__(
        self,
        store: BlobStore,
        names: NameTable,
        objects: NameTable,
        packs: PackWriter,
        /,
        *,
        run: RunTag,
    ) -> None:
        self._store, self._names, self._objects = store, names, objects
        self._packs, self._run = packs, run
        self._moved: dict[tuple[int, int, int], _Move] = {}

    async def replace(self, blocks: BlockMap, gone: tuple[str, ...], /) -> None:
        """Let no block of the map lie in the objects `gone` any more, and no page of it.

        Raises:
            BlocksReclaimedError: one of them is deleted already.
        """
        packs = np.array([self._names.number(name) for name in gone], np.uint32)
        maps = {self._objects.number(name) for name in gone}
        for number in blocks.pages():
            page = await self._page(blocks, number)
            places, pieces = page.places.copy(), page.piece_places.copy()
            moved = await self._replaced(places, packs) | await self._replaced(pieces, packs)
            if moved or int(blocks.root.objects[number]) in maps:
                page = await self._page(blocks, number)
                page.places, page.piece_places = places, pieces
                blocks.touch(number)

    async def _page(self, blocks: BlockMap, number: int) -> Page:
        try:
            return await blocks.page(number)
        except CorruptionError as error:
            raise BlocksReclaimedError(self._run, f"page {number} of its base") from error

    async def _replaced(self, places: Places, gone: Places) -> bool:
        """Give every place in the packs `gone` another one; return whether there was any."""
        rows = np.flatnonzero(np.isin(places[:, 0], gone))
        for row in rows.tolist():
            pack, offset, stored = places[row, :3].tolist()
            move = self._moved.get((pack, offset, stored))
            if move is None:
                move = await self._copied(pack, offset, stored)
                self._moved[pack, offset, stored] = move
            places[row, :2] = move
        return len(rows) > 0

    async def _copied(self, pack: int, offset: int, stored: int) -> _Move:
        name = self._names.name(pack)
        try:
            frame = await self._store.read_range(name, offset=offset, length=stored)
            unpack(frame)
        except (CorruptionError, ValueError) as error:
            raise BlocksReclaimedError(self._run, name) from error
        [place] = self._packs.add([frame])
        await self._packs.publish_full()
        return _Move(*place[:2])
