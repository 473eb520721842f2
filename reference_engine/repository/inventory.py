"""How much points hold, and how little of it is stored: counted from their block maps."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import NameTable, Page, PageRow
from reference_engine.repository.codec import DiskRoot, Manifest, PointCommittedEntry
from reference_engine.repository.fetching import load_page
from reference_engine.repository.header import Header
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.read_ahead import ReadAhead

Keys = npt.NDArray[np.uint64]

_PACK_SHIFT: Final = np.uint64(25)
"""An offset in a pack is smaller than two frames of the largest size and a whole pack."""

_PENDING_MAX: Final = 1 << 20
"""Rows that are gathered before they are sorted in."""


class Holding(NamedTuple):
    """What some points hold together."""

    points: int
    size: ByteCount
    """Of their disks, holes included."""

    logical: ByteCount
    """Of the blocks of all points that are not all zero: what restoring them would write."""

    distinct: ByteCount
    """Of blocks with different content."""

    stored: ByteCount
    """Of the frames in packs in which these blocks and pieces lie, compressed."""


class _Distinct:
    """Different keys, with a number for each."""

    def __init__(self) -> None:
        self._keys: Keys = np.empty(0, np.uint64)
        self._values = np.empty(0, np.uint32)
        self._pending: list[tuple[Keys, npt.NDArray[np.uint32]]] = []
        self._rows = 0

    def add(self, keys: Keys, values: npt.NDArray[np.uint32], /) -> None:
        """Take keys; the same key always comes with the same number."""
        self._pending.append((keys, values))
        self._rows += len(keys)
        if self._rows > _PENDING_MAX:
            self._settle()

    def _settle(self) -> None:
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._pending)])
        values = np.concatenate([self._values, *(values for _, values in self._pending)])
        self._keys, first = np.unique(keys, return_index=True)
        self._values = values[first]
        self._pending, self._rows = [], 0

    def keys(self) -> Keys:
        """Return every key once, ascending."""
        self._settle()
        return self._keys

    def values(self) -> npt.NDArray[np.uint32]:
        """Return the number of each key, in the order of `keys`."""
        self._settle()
        return self._values


class Inventory:
    """Counts the points that are added."""

    def __init__(self, store: BlobStore, header: Header, manifests: ManifestReader, /) -> None:
        self._store, self._header, self._manifests = store, header, manifests
        self._packs = NameTable()
        self._ahead = ReadAhead(store)
        self._counted: dict[str, dict[int, int]] = {}
        """Blocks of each page that was read: pages are shared by points, and read once."""

        self._points, self._size, self._blocks = 0, 0, 0
        self._digests, self._frames = _Distinct(), _Distinct()

    async def add(self, entry: PointCommittedEntry, /) -> None:
        """Count one more point.

        Raises:
            ManifestDamagedError: its manifest or a page of its maps cannot be read.
        """
        manifest = await self._manifests.read(entry)
        for disk in manifest.disks.values():
            self._blocks += await self._blocks_of(manifest, disk)
            self._size += disk.size
        self._points += 1

    async def _blocks_of(self, manifest: Manifest, disk: DiskRoot) -> int:
        root, count = disk.root, 0
        rows: list[tuple[int, str, PageRow]] = []
        for number in np.flatnonzero(root.objects).tolist():
            name = manifest.maps[int(root.objects[number]) - 1]
            row = PageRow(
                int(root.objects[number]),
                int(root.offsets[number]),
                int(root.stored[number]),
                root.seals[number].tobytes(),
            )
            rows.append((number, name, row))
            if row.offset not in self._counted.setdefault(name, {}):
                self._ahead.expect(name, offset=row.offset, length=row.stored)
        for number, name, row in rows:
            known = self._counted[name]
            if row.offset not in known:
                page = await load_page(
                    self._ahead,
                    self._header.key,
                    self._packs,
                    name=name,
                    number=number,
                    row=row,
                    of=manifest.record.id,
                )
                known[row.offset] = self._count(page)
            count += known[row.offset]
        return count

    def _count(self, page: Page) -> int:
        numbers = page.numbers()
        digests = np.ascontiguousarray(page.digests[numbers]).view(np.uint64)[:, 0]
        self._digests.add(digests, np.ones(len(numbers), np.uint32))
        places = np.concatenate((page.places[numbers], page.piece_places)).astype(np.uint64)
        frames = places[:, 0] << _PACK_SHIFT | places[:, 1]
        self._frames.add(frames, places[:, 2].astype(np.uint32))
        return len(numbers)

    def holding(self) -> Holding:
        """Return what the points that were added hold together."""
        size = self._header.block_size
        return Holding(
            points=self._points,
            size=ByteCount(self._size),
            logical=ByteCount(self._blocks * size),
            distinct=ByteCount(len(self._digests.keys()) * size),
            stored=ByteCount(int(self._frames.values().sum(dtype=np.uint64))),
        )
