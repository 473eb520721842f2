"""Which objects points use: what may go is everything else, so doubt means that nothing goes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import NameTable, Root
from reference_engine.repository.codec import (
    ANCHORS,
    COMMITTED_PORTION,
    INDEX,
    PointCommittedEntry,
    copy_name,
    index_name,
    manifest_copy_name,
    session_of,
)
from reference_engine.repository.domain_names import bare
from reference_engine.repository.errors import LogDamagedError, ReclaimRefusedError
from reference_engine.repository.header import Header
from reference_engine.repository.history import History
from reference_engine.repository.manifests import ManifestReader, staged_point
from reference_engine.repository.mending import MENDS, listed
from reference_engine.repository.ordered import distinct
from reference_engine.repository.pages import packs_of_page

Keys = npt.NDArray[np.uint64]
"""Pages: number of the object in the upper half, offset in the lower one."""

_LISTS: Final = (INDEX, ANCHORS)
_KINDS: Final = ("packs/", "maps/", "copies/maps/", "points/", "copies/points/", *_LISTS)
"""What a session leaves; the header and the log are nobody's garbage."""


class _Needs(NamedTuple):
    """What one point needs: objects by name, and pages, which name the packs."""

    objects: tuple[str, ...]
    pages: Keys


_SPARE_MAX: Final = 256
"""So many points that nobody asks about are remembered, and as many again as are asked about."""


class Survey:
    """Reads what points use, and remembers it: what is written once is read once.

    What points used that were expired or moved since is forgotten, now and then.
    """

    def __init__(self, store: BlobStore, header: Header, manifests: ManifestReader, /) -> None:
        self._store, self._header, self._manifests = store, header, manifests
        self._points: dict[PointCommittedEntry, _Needs] = {}
        self._maps = NameTable()
        self._pages: dict[int, tuple[str, ...]] = {}
        """The packs that each page names; points share most of their pages."""

        self._packs: dict[str, str] = {}
        """Each name once, however many pages name it."""

    def __len__(self) -> int:
        """Return how many points are remembered."""
        return len(self._points)

    async def used(
        self,
        points: Sequence[PointCommittedEntry],
        /,
        *,
        progress: Callable[[], None] = lambda: None,
    ) -> dict[str, None]:
        """Return the name of every object that one of the points needs.

        `progress` is called for each of them.

        Raises:
            ReclaimRefusedError: what one of them needs cannot be told.
            TransientError: the store failed.
        """
        used: dict[str, None] = {}
        pages: list[Keys] = [np.empty(0, np.uint64)]
        for entry in points:
            if entry not in self._points:
                try:
                    self._points[entry] = await self._needs(entry)
                except (CorruptionError, ValueError) as error:
                    raise ReclaimRefusedError(entry.point, str(error)) from error
            used.update(dict.fromkeys(self._points[entry].objects))
            pages.append(self._points[entry].pages)
            progress()
        for page in distinct(np.concatenate(pages)).tolist():
            used.update(dict.fromkeys(self._pages[page]))
        # What stands there again may be all that is left of a block of any point.
        mends = await listed(self._store, self._header.key, MENDS)
        used.update(dict.fromkeys(mends.names.names()))
        if len(self._points) > 2 * len(points) + _SPARE_MAX:
            self._forget_all_but(points)
        return used

    def _forget_all_but(self, points: Sequence[PointCommittedEntry]) -> None:
        """Remember these points only, and their pages, with the names that these speak of."""
        kept = {entry: self._points[entry] for entry in points}
        none = np.empty(0, np.uint64)
        before = distinct(np.concatenate([none, *(needs.pages for needs in kept.values())]))
        maps = NameTable()
        numbers = [maps.number(self._maps.name(key >> 32)) << 32 for key in before.tolist()]
        after = np.array(numbers, np.uint64) | before & np.uint64(0xFFFF_FFFF)
        self._points = {
            entry: needs._replace(pages=after[np.searchsorted(before, needs.pages)])
            for entry, needs in kept.items()
        }
        pages = (self._pages[key] for key in before.tolist())
        self._pages = dict(zip(after.tolist(), pages, strict=True))
        self._packs = {pack: pack for packs in self._pages.values() for pack in packs}
        self._maps = maps

    async def _needs(self, entry: PointCommittedEntry) -> _Needs:
        """Return what the point needs, with every page of it read at least once."""
        manifest = await self._manifests.read(entry)
        pages: list[Keys] = [np.empty(0, np.uint64)]
        for disk in manifest.disks.values():
            for number in distinct(disk.root.objects[disk.root.objects > 0]).tolist():
                rows = np.flatnonzero(disk.root.objects == number)
                pages.append(await self._read_pages(manifest.maps[number - 1], disk.root, rows))
        manifests = (entry.manifest, manifest_copy_name(entry.manifest))
        maps = manifest.maps + tuple(copy_name(name) for name in manifest.maps)
        return _Needs(objects=manifests + maps, pages=np.concatenate(pages))

    async def _read_pages(self, name: str, root: Root, rows: npt.NDArray[np.int64]) -> Keys:
        """Have these pages, all in object `name`, read; return their keys."""
        keys = root.offsets[rows].astype(np.uint64) | np.uint64(self._maps.number(name) << 32)
        missing = [n for n, key in enumerate(keys.tolist()) if key not in self._pages]
        contents = [await self._store.read(name)] if missing else []
        for row in rows[missing].tolist():
            at, stored = int(root.offsets[row]), int(root.stored[row])
            seal = root.seals[row].tobytes()
            try:
                packs = self._packs_at(contents[0], at, stored, seal)
            except ValueError:
                if len(contents) == 1:
                    contents.append(await self._store.read(copy_name(name)))
                packs = self._packs_at(contents[1], at, stored, seal)
            key = self._maps.number(name) << 32 | at
            self._pages[key] = tuple(self._packs.setdefault(pack, pack) for pack in packs)
        return keys

    def _packs_at(
        self, content: bytes | None, at: int, stored: int, seal: bytes
    ) -> tuple[str, ...]:
        """Return the packs that a page names.

        Raises:
            ValueError: it is not what was sealed.
        """
        page = b"" if content is None else content[at : at + stored]
        return packs_of_page(self._header.key, page, seal=seal)

    async def garbage(self, history: History, used: dict[str, None], /) -> tuple[str, ...]:
        """Return what is stored, is not `used`, and belongs to no run that may still commit.

        What no run in the log can have written is left alone.

        Raises:
            LogDamagedError: a commit stands that the log lacks: what it needs would go.
        """
        # What an index lists may be found again as long as one of the session's packs is there.
        listed = {session_of(name): None for name in used if name.startswith("packs/")}
        found: list[str] = []
        for kind in _KINDS:
            unused = [name for name in await self._store.names(kind) if name not in used]
            if kind == INDEX:
                _check_commits(history, unused)
            if kind in _LISTS:
                unused = [name for name in unused if session_of(name) not in listed]
            found += [name for name in unused if await self._is_over(history, name)]
        return tuple(found)

    async def _is_over(self, history: History, name: str) -> bool:
        """Return whether the run that wrote the object can no longer make a point of it."""
        own = name.removeprefix("copies/")
        if own.startswith(("packs/", "maps/", *_LISTS)):
            return self._has_ended(history, session_of(own))
        if history.is_retired_manifest(name):
            return True
        repack = history.open_repack()
        if repack is not None and own.endswith(f".{bare(repack.session)}"):
            # Its record names the run that made the point, and that one has ended long ago.
            return False
        staged = await staged_point(self._store, self._header, name)
        if staged is None:
            return not history.open_runs()
        return not history.may_have_committed(staged.run, staged.id)

    @staticmethod
    def _has_ended(history: History, session: str) -> bool:
        run = history.opened(session)
        return run is not None and not history.is_open(run)


def _check_commits(history: History, portions: Iterable[str]) -> None:
    """Return only if the log knows every commit behind which a portion was written.

    Raises:
        LogDamagedError: one is lost, with all that may have been behind it.
    """
    for name in portions:
        session = session_of(name)
        if name == index_name(session, COMMITTED_PORTION) and history.is_fruitless(session):
            cause = f"it is missing although {name} was written behind it"
            raise LogDamagedError(len(history.entries) + 1, cause)
