"""Composing a manifest, and reading one from whichever of its two copies is whole."""

from collections.abc import Mapping

import numpy as np

from reference_engine.model.errors import TransientError
from reference_engine.model.identity import DiskId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.codec import (
    DiskRoot,
    Manifest,
    PointCommittedEntry,
    decode_manifest,
    manifest_copy_name,
    staged_record,
)
from reference_engine.repository.errors import ManifestDamagedError
from reference_engine.repository.header import Header
from reference_engine.repository.ordered import distinct


async def read_manifest(
    store: BlobStore, header: Header, entry: PointCommittedEntry, /
) -> Manifest:
    """Return the manifest that the log's entry speaks of.

    Raises:
        ManifestDamagedError: neither copy is what was written.
    """
    damage: ManifestDamagedError | TransientError
    damage = ManifestDamagedError(entry.point, "it is missing")
    for name in (entry.manifest, manifest_copy_name(entry.manifest)):
        try:
            content = await store.read(name)
        except TransientError as error:
            # As long as one copy may be sound, nothing is known to be damaged.
            damage = error
            continue
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
            damage = damage if isinstance(damage, TransientError) else error
            continue
        if manifest.record.id == entry.point:
            return manifest
        damage = ManifestDamagedError(entry.point, f"it is {manifest.record.id}'s")
    raise damage


async def staged_point(store: BlobStore, header: Header, name: str, /) -> RecoveryPoint | None:
    """Return the record of the point that a manifest is of; None: it is not what was sealed."""
    content = await store.read(name)
    return None if content is None else staged_record(header.key, content)


def manifest_of(
    point: RecoveryPoint, drafted: Mapping[DiskId, DiskRoot], objects: NameTable, /
) -> Manifest:
    """Return the point's manifest with only those objects of pages that it uses.

    The roots of `drafted` number objects as `objects` does.
    """
    roots = {record.disk: drafted[record.disk] for record in point.disks}
    parts = [np.zeros(1, np.uint32), *(entry.root.objects for entry in roots.values())]
    used = distinct(np.concatenate(parts))[1:].astype(np.int64)
    numbers = np.zeros(int(used.max(initial=0)) + 1, np.uint32)
    numbers[used] = np.arange(1, len(used) + 1)
    disks: dict[DiskId, DiskRoot] = {}
    for disk, entry in roots.items():
        root = entry.root.resized(len(entry.root.objects))
        root.objects[:] = numbers[entry.root.objects]
        disks[disk] = DiskRoot(size=entry.size, root=root)
    names = tuple(objects.name(number) for number in used.tolist())
    return Manifest(record=point, maps=names, disks=disks)
