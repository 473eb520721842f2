"""How much of each pack, and of each object of pages, points use: counted from their block maps.

A frame is cut into units, each as long as a piece; a bit for each says whether a point needs it.
What a whole frame holds is in the index that its session left, or else in the frame's own header.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import PIECES, NameTable, Page, PageRow, Places
from reference_engine.repository.codec import INDEX, DiskRoot, PointCommittedEntry, copy_name
from reference_engine.repository.fetching import FrameKeys, frame_keys, load_page, packs_of
from reference_engine.repository.header import Header
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.pack import FRAME_HEAD, content_size
from reference_engine.repository.portions import batches, read_portions

_HEADS_AT_ONCE: Final = 256
_UNREADABLE: Final = 0


class ObjectUse(NamedTuple):
    """How much of an object is used; what is stored twice counts twice."""

    name: str
    stored: int
    used: int

    @property
    def is_pack(self) -> bool:
        """Whether it holds blocks; else it holds pages."""
        return self.name.startswith("packs/")

    @property
    def unused(self) -> int:
        """How many bytes of it no point needs."""
        return max(self.stored - self.used, 0)


class Usage:
    """Counts what points need, page by page: what they share is read once."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        /,
        *,
        manifests: ManifestReader,
        executor: Executor,
    ) -> None:
        self._store, self._header = store, header
        self._manifests, self._executor = manifests, executor
        self.packs, self.maps = NameTable(), NameTable()
        self._seen: set[int] = set()
        self._paged: dict[str, int] = {}
        """Bytes of pages that points need, by the object that they are in."""

        self._rows: dict[int, int] = {}
        self._stored = np.zeros(64, np.uint32)
        self._bits = np.zeros((64, 2), np.uint8)
        self._frames: FrameKeys = np.empty(0, np.uint64)
        self._extents = np.empty(0, np.int64)

    async def add(self, entry: PointCommittedEntry, /) -> None:
        """Count what one more point needs.

        Raises:
            CorruptionError: its manifest or a page of its maps cannot be read.
        """
        manifest = await self._manifests.read(entry)
        for disk in manifest.disks.values():
            for number in np.flatnonzero(disk.root.objects).tolist():
                name = manifest.maps[int(disk.root.objects[number]) - 1]
                await self._add_page(entry, disk, number, name)

    async def _add_page(
        self, entry: PointCommittedEntry, disk: DiskRoot, number: int, name: str
    ) -> None:
        root = disk.root
        key = self.maps.number(name) << 32 | int(root.offsets[number])
        if key in self._seen:
            return
        stored = int(root.stored[number])
        row = PageRow(0, int(root.offsets[number]), stored, root.seals[number].tobytes())
        page = await load_page(
            self._store,
            self._header.key,
            self.packs,
            name=name,
            number=number,
            row=row,
            of=entry.point,
        )
        self._seen.add(key)
        self._paged[name] = self._paged.get(name, 0) + stored
        self._count(page)

    def _count(self, page: Page) -> None:
        unit = self._header.block_size // PIECES
        places = page.places[page.numbers()]
        spread = (places[:, 3].astype(np.int64)[:, None] // unit + np.arange(PIECES)).reshape(-1)
        at = self._rows_of(places).repeat(PIECES)
        self._mark(at, spread)
        pieces = page.piece_places
        if len(pieces):
            self._mark(self._rows_of(pieces), pieces[:, 3].astype(np.int64) // unit)

    def _rows_of(self, places: Places) -> npt.NDArray[np.int64]:
        """Return for each place the row of its frame."""
        known, keys = self._rows, frame_keys(places).tolist()
        lengths = places[:, 2].tolist()
        # What is said of a frame first counts.
        fresh = {
            key: stored
            for key, stored in zip(reversed(keys), reversed(lengths), strict=True)
            if key not in known
        }
        for key in sorted(fresh):
            row = known[key] = len(known)
            if row == len(self._stored):
                self._stored = np.concatenate((self._stored, np.zeros_like(self._stored)))
                self._bits = np.concatenate((self._bits, np.zeros_like(self._bits)))
            self._stored[row] = fresh[key]
        return np.array([known[key] for key in keys], np.int64)

    def _mark(self, rows: npt.NDArray[np.int64], units: npt.NDArray[np.int64]) -> None:
        if not len(rows):
            return
        missing = int(units.max()) // 8 + 1 - self._bits.shape[1]
        if missing > 0:
            grown = np.zeros((len(self._bits), max(missing, self._bits.shape[1])), np.uint8)
            self._bits = np.concatenate((self._bits, grown), axis=1)
        bits = np.left_shift(1, units & 7).astype(np.uint8)
        np.bitwise_or.at(self._bits, (rows, units >> 3), bits)

    async def measured(self) -> tuple[ObjectUse, ...]:
        """Return the use of every object that a point needs, by name.

        Raises:
            TransientError: the store failed.
        """
        keys = np.fromiter(self._rows, np.uint64, len(self._rows))
        count = len(keys)
        units = np.bitwise_count(self._bits[:count]).sum(axis=1, dtype=np.int64)
        whole = await self._units(keys)
        share = np.minimum(units / np.maximum(whole, 1), 1.0)
        used = share * self._stored[:count]
        last = 8 * (self._bits.shape[1] - (self._bits[:count, ::-1] != 0).argmax(axis=1))
        order = np.argsort(keys)
        self._frames, self._extents = keys[order], np.maximum(whole, last)[order]
        packs = np.bincount(packs_of(keys), weights=used)
        sizes = await self._store.sizes("packs/")
        found: list[ObjectUse] = []
        for number in np.flatnonzero(packs).tolist():
            name, need = self.packs.name(number), round(packs[number])
            # What is not listed may be read all the same, from parity: it is left as it is.
            found.append(ObjectUse(name, sizes.get(name, need), need))
        for prefix in ("maps/", "copies/maps/"):
            sizes |= await self._store.sizes(prefix)
        for name, bytes_used in self._paged.items():
            both = sizes.get(name, bytes_used) + sizes.get(copy_name(name), bytes_used)
            found.append(ObjectUse(name, both, 2 * bytes_used))
        return tuple(sorted(found))

    def frames(self, packs: npt.NDArray[np.int64], /) -> tuple[FrameKeys, npt.NDArray[np.int64]]:
        """Return the used frames of these packs, ascending, and how many units each has.

        What was measured last has the answer.
        """
        inside = np.isin(packs_of(self._frames), packs)
        return self._frames[inside], self._extents[inside]

    async def _units(self, keys: FrameKeys) -> npt.NDArray[np.int64]:
        """Return how many units each frame holds; as many as are used where it cannot be told."""
        found = np.zeros(len(keys), np.int64)
        made, counts = await self._indexed()
        if len(made):
            at = np.minimum(np.searchsorted(made, keys), len(made) - 1)
            known = made[at] == keys
            found[known] = counts[at][known]
        unit = self._header.block_size // PIECES
        unknown = np.flatnonzero(found == 0)
        for start in range(0, len(unknown), _HEADS_AT_ONCE):
            part = unknown[start : start + _HEADS_AT_ONCE].tolist()
            sizes = await self._executor.ask_all(
                [lambda row=row: self._content_size(int(keys[row]), row) for row in part]  # type: ignore[misc]
            )
            found[part] = [-(-size // unit) for size in sizes]
        return found

    async def _content_size(self, key: int, row: int) -> int:
        """Return how many bytes a frame holds; none where it cannot be told."""
        name, offset = self.packs.name(key >> 32), key & 0xFFFF_FFFF
        length = min(FRAME_HEAD, int(self._stored[row]))
        try:
            return content_size(await self._store.read_range(name, offset=offset, length=length))
        except (CorruptionError, ValueError):
            return _UNREADABLE

    async def _indexed(self) -> tuple[FrameKeys, npt.NDArray[np.int64]]:
        """Return the frames that the index speaks of, ascending, and how many units each holds."""
        unit = self._header.block_size // PIECES
        frames: list[FrameKeys] = [np.empty(0, np.uint64)]
        ends: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        for names in batches(await self._store.names(INDEX)):
            for _, _, places in await read_portions(
                self._store, self._header.key, names, self.packs, executor=self._executor
            ):
                made, end = _furthest(
                    frame_keys(places), places[:, 3].astype(np.int64) // unit + PIECES
                )
                frames.append(made)
                ends.append(end)
        return _furthest(np.concatenate(frames), np.concatenate(ends))


def _furthest(
    keys: FrameKeys, ends: npt.NDArray[np.int64]
) -> tuple[FrameKeys, npt.NDArray[np.int64]]:
    """Return each key once, ascending, with the largest of its numbers."""
    made, back = np.unique(keys, return_inverse=True)
    found = np.zeros(len(made), np.int64)
    np.maximum.at(found, back, ends)
    return made, found
