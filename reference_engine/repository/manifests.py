"""Composing a manifest, and reading one from whichever of its two copies is whole."""

from collections.abc import Mapping

import numpy as np

from reference_engine.model.identity import DiskId, RunTag
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import BlockMap, NameTable
from reference_engine.repository.codec import (
    DiskRoot,
    Header,
    Manifest,
    PointCommittedEntry,
    decode_manifest,
    manifest_copy_name,
    staged_run,
)
from reference_engine.repository.errors import ManifestDamagedError


async def read_manifest(
    store: BlobStore, header: Header, entry: PointCommittedEntry, /
) -> Manifest:
    """Return the manifest that the log's entry speaks of.

    Raises:
        ManifestDamagedError: neither copy is what was written.
    """
    damage = ManifestDamagedError(entry.point, "it is missing")
    for name in (entry.manifest, manifest_copy_name(entry.manifest)):
        content = await store.read(name)
        if content is None:
            continue
        try:
            manifest = decode_manifest(
                header.key,
                content,
                point=entry.point,
                seal=entry.digest,
                block_size=header.block_size,
            )
        except ManifestDamagedError as error:
            damage = error
            continue
        if manifest.record.id == entry.point:
            return manifest
        damage = ManifestDamagedError(entry.point, f"it is {manifest.record.id}'s")
    raise damage


async def run_of_staged(store: BlobStore, header: Header, name: str, /) -> RunTag | None:
    """Return which run wrote a manifest that no entry speaks of; None: it cannot be told."""
    content = await store.read(name)
    return None if content is None else staged_run(header.key, content)


def manifest_of(
    point: RecoveryPoint, maps: Mapping[DiskId, BlockMap], objects: NameTable, /
) -> Manifest:
    """Return the point's manifest with only those objects of pages that it uses."""
    roots = {record.disk: maps[record.disk] for record in point.disks}
    parts = [np.zeros(1, np.uint32), *(blocks.root.objects for blocks in roots.values())]
    used = np.unique(np.concatenate(parts))[1:].astype(np.int64)
    numbers = np.zeros(int(used.max(initial=0)) + 1, np.uint32)
    numbers[used] = np.arange(1, len(used) + 1)
    disks: dict[DiskId, DiskRoot] = {}
    for disk, blocks in roots.items():
        root = blocks.root.resized(len(blocks.root.objects))
        root.objects[:] = numbers[blocks.root.objects]
        disks[disk] = DiskRoot(size=blocks.size, root=root)
    names = tuple(objects.name(number) for number in used.tolist())
    return Manifest(record=point, maps=names, disks=disks)
