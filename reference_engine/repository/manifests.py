"""Composing a manifest, and reading one from whichever of its two copies is whole."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from reference_engine.model.errors import TransientError
from reference_engine.model.identity import DiskId, RecoveryPointId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.codec import (
    DiskRoot,
    Manifest,
    PointCommittedEntry,
    decode_manifest,
    is_sealed,
    manifest_copy_name,
    staged_record,
)
from reference_engine.repository.domain_keys import DomainKeys
from reference_engine.repository.domain_names import domain_of
from reference_engine.repository.errors import ManifestDamagedError, PointSealedError
from reference_engine.repository.header import Header
from reference_engine.repository.ordered import distinct

_DECODED_MAX: Final = 4 << 20
"""Stored bytes of the manifests that are remembered: four thousand of small disks; in memory they
take several times as much."""


class _Decoded(NamedTuple):
    seal: str
    stored: int
    """How many bytes it has in the store."""

    manifest: Manifest


class ManifestReader:
    """Reads manifests. What is stored is read and checked each time, but decoded only once.

    Whoever counts what points use, moves it and gives space back reads the same manifests over and
    over; decoding one costs some twenty times as much as making sure that its bytes are the same.
    """

    def __init__(self, store: BlobStore, header: Header, /) -> None:
        self._store, self._header = store, header
        self._decoded: dict[RecoveryPointId, _Decoded] = {}
        """Of each point the manifest that was read last; oldest first."""

        self._bytes = 0

    async def read(self, entry: PointCommittedEntry, /) -> Manifest:
        """Return the manifest that the log's entry speaks of; nobody may change its arrays.

        Raises:
            ManifestDamagedError: neither copy is what was written.
        """
        damage: ManifestDamagedError | TransientError
        damage = ManifestDamagedError(entry.point, "it is missing")
        for name in (entry.manifest, manifest_copy_name(entry.manifest)):
            try:
                content = await self._store.read(name)
            except TransientError as error:
                # As long as one copy may be sound, nothing is known to be damaged.
                damage = error
                continue
            if content is None:
                continue
            try:
                manifest = self._manifest(entry, content)
            except ManifestDamagedError as error:
                damage = damage if isinstance(damage, TransientError) else error
                if not content and await self._is_locked_out(name):
                    raise PointSealedError(entry.point, domain_of(name)) from error
                continue
            if manifest.record.id == entry.point:
                return manifest
            damage = ManifestDamagedError(entry.point, f"it is {manifest.record.id}'s")
        raise damage

    async def _is_locked_out(self, name: str) -> bool:
        """Return whether what cannot be opened is of a domain whose key can be read nowhere."""
        domain = domain_of(name)
        return bool(domain) and await DomainKeys().learn(domain, self._store.read) is None

    def _manifest(self, entry: PointCommittedEntry, content: bytes) -> Manifest:
        key, size = self._header.key, self._header.block_size
        known = self._decoded.get(entry.point)
        same = known is not None and known.seal == entry.digest
        if known is not None and same and is_sealed(key, content, seal=entry.digest):
            return known.manifest
        manifest = decode_manifest(
            key, content, point=entry.point, seal=entry.digest, block_size=size
        )
        if not same:
            self._remember(entry, _Decoded(entry.digest, len(content), manifest))
        return manifest

    def _remember(self, entry: PointCommittedEntry, decoded: _Decoded) -> None:
        for disk in decoded.manifest.disks.values():
            disk.root.close()
        before = self._decoded.pop(entry.point, None)
        self._decoded[entry.point] = decoded
        self._bytes += decoded.stored - (0 if before is None else before.stored)
        while self._bytes > _DECODED_MAX:
            self._bytes -= self._decoded.pop(next(iter(self._decoded))).stored


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
