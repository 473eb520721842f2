"""The bytes of the repository's log entries and manifests; `FORMAT.md` in code.

Input is checked here and nowhere else: what decodes is usable.
"""

from typing import Final, get_args

import msgspec
import numpy as np
from backports.zstd import ZstdError, decompress
from blake3 import blake3

from reference_engine.model.extents import decode_extents, encode_extents
from reference_engine.model.identity import DiskId, Epoch, MachineId, RecoveryPointId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PAGE_BLOCKS,
    Root,
)
from reference_engine.repository.columns import Columns
from reference_engine.repository.compression import METADATA
from reference_engine.repository.domain_entries import DomainAddedEntry, DomainShreddedEntry
from reference_engine.repository.domain_names import bare, domain_of_session, in_domain
from reference_engine.repository.errors import (
    LogDamagedError,
    ManifestDamagedError,
    RepositoryFeatureError,
)
from reference_engine.repository.key_entries import KeyChangedEntry
from reference_engine.repository.reclaim_entries import (
    LeaseEndedEntry,
    ObjectsCondemnedEntry,
    ObjectsReleasedEntry,
    ObjectsSweptEntry,
    PointLeasedEntry,
    PointsExpiredEntry,
    PointsMovedEntry,
    RunClosedEntry,
)
from reference_engine.repository.renewal_entries import EntryLostEntry, LogRenewedEntry

MANIFEST_MAGIC: Final = b"TWINPNT2"
SEAL_SIZE: Final = 32
_ROOT_COLUMNS: Final = (("<u4", 1), ("u1", DIGEST_SIZE), ("u1", DIGEST_SIZE)) + (("<u4", 1),) * 3
"""Page numbers, content digests, seals, object numbers, offsets, stored lengths."""

FRAME_MAX: Final = 8 << 20
"""What one frame holds at most, decompressed."""


class RunOpenedEntry(msgspec.Struct, frozen=True, kw_only=True, tag="run-opened", tag_field="kind"):
    """A run of this machine took this epoch; older epochs can no longer commit."""

    machine: MachineId
    epoch: Epoch
    session: str


class PointCommittedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="point-committed", tag_field="kind"
):
    """From here on the point exists. `digest` is the manifest's seal, hexadecimal."""

    machine: MachineId
    epoch: Epoch
    point: RecoveryPointId
    manifest: str
    digest: str


Entry = (
    RunOpenedEntry
    | PointCommittedEntry
    | RunClosedEntry
    | PointsExpiredEntry
    | PointsMovedEntry
    | ObjectsCondemnedEntry
    | ObjectsSweptEntry
    | ObjectsReleasedEntry
    | KeyChangedEntry
    | PointLeasedEntry
    | LeaseEndedEntry
    | LogRenewedEntry
    | EntryLostEntry
    | DomainAddedEntry
    | DomainShreddedEntry
)


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One object of the log."""

    number: int
    previous: str
    """Digest of the object before: `repository.json` for the first entry."""

    entry: Entry


class _AnyEntry(msgspec.Struct, frozen=True, kw_only=True):
    kind: str


class _AnyRecord(msgspec.Struct, frozen=True, kw_only=True):
    entry: _AnyEntry


class _DiskIndex(msgspec.Struct, frozen=True, kw_only=True):
    disk: DiskId
    size: ByteCount
    pages: int


class _ManifestIndex(msgspec.Struct, frozen=True, kw_only=True):
    record: RecoveryPoint
    maps: tuple[str, ...]
    disks: tuple[_DiskIndex, ...]
    columns_size: int


class DiskRoot(msgspec.Struct, frozen=True, kw_only=True):
    """One disk as a manifest has it; object number n of the root means the n-th of `maps`."""

    size: ByteCount
    root: Root


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A point with the root of each of its disks' maps."""

    record: RecoveryPoint
    maps: tuple[str, ...]
    disks: dict[DiskId, DiskRoot]


_KINDS: Final = ("", *(str(kind.__struct_config__.tag) for kind in get_args(Entry)))
_json: Final = msgspec.json.Encoder(enc_hook=encode_extents, order="deterministic")
_record_decoder: Final = msgspec.json.Decoder(LogRecord)
_index_decoder: Final = msgspec.json.Decoder(_ManifestIndex, dec_hook=decode_extents)


def log_name(number: int, /) -> str:
    """Return the object name of log entry `number`, counted from 1."""
    assert number > 0, number
    return f"log/{number:010}"


def pack_name(session: str, number: int, /) -> str:
    """Return the object name of the `number`-th pack of a session, counted from 1."""
    return f"packs/{session}-{number}"


def manifest_name(point: RecoveryPointId, /, *, session: str, attempt: int) -> str:
    """Return the object name of a point's manifest, as its run stages it, counted from 0."""
    name = in_domain(domain_of_session(session), point)
    return f"points/{name}.{attempt}" if attempt else f"points/{name}"


def moved_manifest_name(point: RecoveryPointId, session: str, /) -> str:
    """Return the object name of the manifest that a repack of this session gives a point."""
    return f"points/{in_domain(domain_of_session(session), point)}.{bare(session)}"


def manifest_copy_name(manifest: str, /) -> str:
    """Return the object name of the second copy of the manifest of this name."""
    return copy_name(manifest)


def map_name(session: str, number: int, /) -> str:
    """Return the object name of the `number`-th object of pages of a session, counted from 1."""
    return f"maps/{session}-{number}"


def copy_name(name: str, /) -> str:
    """Return the object name of the second copy of an object that is kept twice."""
    return f"copies/{name}"


COMMITTED_PORTION: Final = 0
"""Number of the portion that a session writes once its commit stands."""


INDEX: Final = "index/"
ANCHORS: Final = "anchors/"


def index_name(session: str, number: int, /, *, kind: str = INDEX) -> str:
    """Return the object name of the `number`-th portion of a session's index, counted from 1."""
    return f"{kind}{session}-{number}"


def session_of(name: str, /) -> str:
    """Return the session that wrote a pack, an object of pages or a portion of the index."""
    return name.partition("/")[2].rpartition("-")[0]


def encode_record(key: bytes, record: LogRecord, /) -> bytes:
    """Return the bytes of one log object, sealed."""
    body = _json.encode(record) + b"\n"
    return body + object_digest(key, body).encode()


def decode_record(key: bytes, number: int, content: bytes, /) -> LogRecord:
    """Return one log entry.

    Raises:
        RepositoryFeatureError: a later program wrote it.
        LogDamagedError: it is not what was sealed.
    """
    body, end, seal = content.rpartition(b"\n")
    if seal != object_digest(key, body + end).encode():
        raise LogDamagedError(number, "its digest is wrong")
    try:
        return _record_decoder.decode(body)
    except msgspec.MsgspecError as error:
        kind = _kind_of(body)
        if kind not in _KINDS:
            raise RepositoryFeatureError(kind) from error
        raise LogDamagedError(number, str(error)) from error


def _kind_of(body: bytes) -> str:
    """Return what kind of entry this is, known or not; nothing where it is no entry at all."""
    try:
        return msgspec.json.decode(body, type=_AnyRecord).entry.kind
    except msgspec.MsgspecError:
        return ""


def object_digest(key: bytes, content: bytes, /) -> str:
    """Return the keyed digest of a whole object, hexadecimal."""
    return blake3(content, key=key).hexdigest()


def encode_manifest(key: bytes, manifest: Manifest, /) -> tuple[bytes, str]:
    """Return the bytes of a manifest, and their seal for the log."""
    indexes: list[_DiskIndex] = []
    columns: list[bytes] = []
    for disk, entry in manifest.disks.items():
        root = entry.root
        pages = np.flatnonzero(root.objects)
        indexes.append(_DiskIndex(disk=disk, size=entry.size, pages=len(pages)))
        columns += [pages.astype("<u4").tobytes()]
        columns += [root.digests[pages].tobytes(), root.seals[pages].tobytes()]
        places = (root.objects, root.offsets, root.stored)
        columns += [column[pages].astype("<u4").tobytes() for column in places]
    plain = b"".join(columns)
    index = _ManifestIndex(
        record=manifest.record,
        maps=manifest.maps,
        disks=tuple(indexes),
        columns_size=len(plain),
    )
    head = _json.encode(index)
    length = len(head).to_bytes(8, "little")
    return sealed(key, MANIFEST_MAGIC + length + head + METADATA.compressed(plain))


def sealed(key: bytes, body: bytes, /) -> tuple[bytes, str]:
    """Return `body` with its seal behind it, and the seal, hexadecimal."""
    seal = blake3(body, key=key)
    return body + seal.digest(), seal.hexdigest()


def is_sealed(key: bytes, content: bytes, /, *, seal: str) -> bool:
    """Return whether these are the bytes that `sealed` returned together with this seal."""
    found = blake3(content[:-SEAL_SIZE], key=key)
    return found.digest() == content[-SEAL_SIZE:] and found.hexdigest() == seal


def decode_manifest(
    key: bytes,
    content: bytes,
    /,
    *,
    point: RecoveryPointId,
    seal: str,
    block_size: ByteCount,
) -> Manifest:
    """Return a manifest whose seal is the one that the log states.

    Raises:
        ManifestDamagedError: the bytes are not those that were sealed.
    """
    if not is_sealed(key, content, seal=seal):
        raise ManifestDamagedError(point, "its digest is wrong")
    try:
        return _decode_body(content[:-SEAL_SIZE], block_size=block_size)
    except (ValueError, IndexError, ZstdError) as error:
        raise ManifestDamagedError(point, str(error)) from error


def staged_record(key: bytes, content: bytes, /) -> RecoveryPoint | None:
    """Return of which point this is the manifest; None where it is not what was sealed."""
    body, trailer = content[:-SEAL_SIZE], content[-SEAL_SIZE:]
    if blake3(body, key=key).digest() != trailer:
        return None
    try:
        return _decode_index(body)[0].record
    except ValueError:
        return None


def _decode_index(body: bytes) -> tuple[_ManifestIndex, int]:
    """Return the index, and where it ends."""
    if not body.startswith(MANIFEST_MAGIC):
        raise ValueError("it is no manifest")
    start = len(MANIFEST_MAGIC) + 8
    end = start + int.from_bytes(body[len(MANIFEST_MAGIC) : start], "little")
    return _index_decoder.decode(body[start:end]), end


def _decode_body(body: bytes, *, block_size: ByteCount) -> Manifest:
    index, end = _decode_index(body)
    plain = decompress(body[end:])
    if len(plain) != index.columns_size:
        raise ValueError("its roots have the wrong length")
    disks: dict[DiskId, DiskRoot] = {}
    reader = Columns(plain)
    for entry in index.disks:
        blocks = -(-entry.size // block_size)
        root = Root(-(-blocks // PAGE_BLOCKS))
        pages = reader.take("<u4", entry.pages).astype(np.int64)
        root.digests[pages] = reader.take("u1", entry.pages, DIGEST_SIZE)
        root.seals[pages] = reader.take("u1", entry.pages, DIGEST_SIZE)
        for column in (root.objects, root.offsets, root.stored):
            column[pages] = reader.take("<u4", entry.pages)
        if len(pages) and int(root.objects.max()) > len(index.maps):
            raise ValueError("it names an object that it does not list")
        disks[entry.disk] = DiskRoot(size=entry.size, root=root)
    return Manifest(record=index.record, maps=index.maps, disks=disks)
