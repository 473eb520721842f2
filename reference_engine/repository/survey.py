"""Which objects points use: what may go is everything else, so doubt means that nothing goes."""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import Root
from reference_engine.repository.codec import (
    Header,
    PointCommittedEntry,
    index_name,
    manifest_copy_name,
)
from reference_engine.repository.errors import ReclaimRefusedError
from reference_engine.repository.history import History
from reference_engine.repository.manifests import read_manifest, run_of_staged
from reference_engine.repository.pages import packs_of_page

_KINDS: Final = ("packs/", "maps/", "points/", "copies/points/", "index/")
"""What a session leaves; the header and the log are nobody's garbage."""


class Survey:
    """Reads what points use, and remembers it: what is written once is read once."""

    def __init__(self, store: BlobStore, header: Header, /) -> None:
        self._store, self._header = store, header
        self._points: dict[PointCommittedEntry, tuple[str, ...]] = {}
        self._pages: dict[str, dict[int, tuple[str, ...]]] = {}

    async def used(
        self,
        points: Iterable[PointCommittedEntry],
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
        for entry in points:
            if entry not in self._points:
                try:
                    self._points[entry] = await self._used_by(entry)
                except (CorruptionError, ValueError) as error:
                    raise ReclaimRefusedError(entry.point, str(error)) from error
            used.update(dict.fromkeys(self._points[entry]))
            progress()
        return used

    async def _used_by(self, entry: PointCommittedEntry) -> tuple[str, ...]:
        manifest = await read_manifest(self._store, self._header, entry)
        names = dict.fromkeys((entry.manifest, manifest_copy_name(entry.manifest)))
        names.update(dict.fromkeys(manifest.maps))
        for disk in manifest.disks.values():
            for number in np.unique(disk.root.objects[disk.root.objects > 0]).tolist():
                rows = np.flatnonzero(disk.root.objects == number)
                packs = await self._packs_of(manifest.maps[number - 1], disk.root, rows)
                names.update(dict.fromkeys(packs))
        return tuple(names)

    async def _packs_of(
        self, name: str, root: Root, rows: npt.NDArray[np.int64]
    ) -> dict[str, None]:
        """Return the packs that these pages, all in object `name`, name."""
        known = self._pages.setdefault(name, {})
        offsets = root.offsets[rows].tolist()
        missing = [row for row, at in zip(rows.tolist(), offsets, strict=True) if at not in known]
        if missing:
            content = await self._store.read(name)
            if content is None:
                raise CorruptionError(f"object {name} is missing")
            for row in missing:
                at, stored = int(root.offsets[row]), int(root.stored[row])
                known[at] = packs_of_page(
                    self._header.key, content[at : at + stored], seal=root.seals[row].tobytes()
                )
        return {pack: None for at in offsets for pack in known[at]}

    async def garbage(self, history: History, used: dict[str, None], /) -> tuple[str, ...]:
        """Return what is stored, is not `used`, and belongs to no run that may still commit.

        What no run in the log can have written is left alone.
        """
        # What an index lists may be found again as long as one of the session's packs is there.
        needed = used | {
            index_name(name.removeprefix("packs/").rpartition("-")[0]): None
            for name in used
            if name.startswith("packs/")
        }
        found: list[str] = []
        for kind in _KINDS:
            unused = [n for n in await self._store.names(kind) if n not in needed]
            found += [name for name in unused if await self._is_over(history, name)]
        return tuple(found)

    async def _is_over(self, history: History, name: str) -> bool:
        """Return whether the run that wrote the object can no longer make a point of it."""
        kind, _, rest = name.partition("/")
        if kind in {"packs", "maps"}:
            return self._has_ended(history, rest.rpartition("-")[0])
        if kind == "index":
            return self._has_ended(history, rest)
        if not history.open_runs() or history.is_expired_manifest(name):
            return True
        run = await run_of_staged(self._store, self._header, name)
        return run is not None and not history.is_open(run)

    @staticmethod
    def _has_ended(history: History, session: str) -> bool:
        run = history.opened(session)
        return run is not None and not history.is_open(run)
