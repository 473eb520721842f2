"""The maps of a point's disks, also where a repack gives the point another manifest meanwhile."""

from collections.abc import Awaitable, Callable
from functools import partial

from reference_engine.model.identity import DiskId
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import BlockMap, NameTable, Page, PageRow
from reference_engine.repository.codec import Manifest
from reference_engine.repository.errors import ManifestDamagedError
from reference_engine.repository.fetching import load_page
from reference_engine.repository.header import Header

Moved = Callable[[], Awaitable[Manifest | None]]
"""Returns the point's manifest if it is another one since the last call; None where it is not."""


async def still() -> Manifest | None:
    """Return None: nobody looks whether the point was moved."""
    return None


class FollowedMaps:
    """Block maps by disk; those who have them see the new places once `follow` has found them.

    What readers cache is elsewhere: maps refer to what loads their pages, and such a circle stays
    in memory until it is collected.
    """

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        packs: NameTable,
        manifest: Manifest,
        moved: Moved,
        /,
    ) -> None:
        self._store, self._key, self._packs = store, header.key, packs
        self._moved = moved
        self.manifest = manifest
        """The point's newest one that was asked for."""

        self.by_disk = {
            disk: BlockMap(
                entry.size,
                block_size=header.block_size,
                key=header.key,
                load=partial(self._load, disk),
                root=entry.root,
            )
            for disk, entry in manifest.disks.items()
        }

    async def _load(self, disk: DiskId, number: int, row: PageRow) -> Page:
        while True:
            try:
                return await load_page(
                    self._store,
                    self._key,
                    self._packs,
                    name=self.manifest.maps[row.object_number - 1],
                    number=number,
                    row=row,
                    of=self.manifest.record.id,
                )
            except ManifestDamagedError:
                await self.follow()
                if self.by_disk[disk].row(number) == row:
                    raise
                row = self.by_disk[disk].row(number)

    async def follow(self) -> None:
        """Read from the point's manifest as it is now: a repack may have given it another one."""
        manifest = await self._moved()
        if manifest is None:
            return
        self.manifest = manifest
        for disk, blocks in self.by_disk.items():
            blocks.relocate(manifest.disks[disk].root)
