"""The bytes of the repository's header, log entries and manifests; `FORMAT.md` in code.

Input is checked here and nowhere else: what decodes is usable.
"""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from backports.zstd import ZstdError, compress, decompress
from blake3 import blake3

from reference_engine.model.extents import decode_extents, encode_extents
from reference_engine.model.identity import DiskId, Epoch, MachineId, RecoveryPointId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.repository.block_map import DIGEST_SIZE, BlockMap
from reference_engine.repository.errors import (
    LogDamagedError,
    ManifestDamagedError,
    RepositoryForeignError,
    RepositoryNewerError,
)

FORMAT: Final = 1
HEADER_NAME: Final = "repository.json"
BLOCK_SIZE_MIN: Final = 16
BLOCK_SIZE_MAX: Final = 8 << 20
MANIFEST_MAGIC: Final = b"TWINPNT1"
SEAL_SIZE: Final = 32
_KEY_CONTEXT: Final = "twinshot repository format 1: content digests"
_COMPRESSION_LEVEL: Final = 1
_COLUMNS: Final = (("<u8", 1), ("u1", DIGEST_SIZE), ("<u4", 1), ("<u4", 1), ("<u4", 1))
"""Block numbers, digests, pack numbers, offsets, stored lengths."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What `repository.json` says. `digest_key` is 64 hexadecimal digits."""

    format: int
    repository: str
    block_size: ByteCount
    digest_key: str

    @property
    def key(self) -> bytes:
        """The key of every digest in the repository."""
        return bytes.fromhex(self.digest_key)


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


Entry = RunOpenedEntry | PointCommittedEntry


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One object of the log."""

    number: int
    previous: str
    """Digest of the object before: `repository.json` for the first entry."""

    entry: Entry


class _DiskIndex(msgspec.Struct, frozen=True, kw_only=True):
    disk: DiskId
    size: ByteCount
    stored_blocks: int


class _ManifestIndex(msgspec.Struct, frozen=True, kw_only=True):
    record: RecoveryPoint
    packs: tuple[str, ...]
    disks: tuple[_DiskIndex, ...]
    columns_size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A point with the map of each of its disks; map pack number n means `packs[n - 1]`."""

    record: RecoveryPoint
    packs: tuple[str, ...]
    maps: dict[DiskId, BlockMap]


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


def manifest_name(point: RecoveryPointId, /) -> str:
    """Return the object name of a point's manifest."""
    return f"points/{point}"


def new_header(identity_token: str, /, *, block_size: ByteCount) -> Header:
    """Return the header of a new repository; its digest key follows from its identity."""
    assert BLOCK_SIZE_MIN <= block_size <= BLOCK_SIZE_MAX, block_size
    key = blake3(identity_token.encode(), derive_key_context=_KEY_CONTEXT).hexdigest()
    return Header(format=FORMAT, repository=identity_token, block_size=block_size, digest_key=key)


def encode_header(header: Header, /) -> bytes:
    """Return the bytes of `repository.json`."""
    return msgspec.json.format(_json.encode(header), indent=2) + b"\n"


def decode_header(content: bytes, /) -> Header:
    """Return what `repository.json` says.

    Raises:
        RepositoryNewerError: a later program wrote it.
        RepositoryForeignError: it is not ours.
    """
    try:
        stated = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        number = msgspec.json.decode(stated.get("format", b"0"), type=int)
        if number > FORMAT:
            raise RepositoryNewerError(number, FORMAT)
        header = msgspec.json.decode(content, type=Header)
        known = number == FORMAT and len(header.key) == SEAL_SIZE
    except ValueError:  # msgspec's errors are ValueErrors, and so is a key that is no hexadecimal
        known = False
    if not known or not BLOCK_SIZE_MIN <= header.block_size <= BLOCK_SIZE_MAX:
        raise RepositoryForeignError(f"{HEADER_NAME} is not a repository's")
    return header


def encode_record(key: bytes, record: LogRecord, /) -> bytes:
    """Return the bytes of one log object, sealed."""
    body = _json.encode(record) + b"\n"
    return body + object_digest(key, body).encode()


def decode_record(key: bytes, number: int, content: bytes, /) -> LogRecord:
    """Return one log entry.

    Raises:
        LogDamagedError: it is not what was sealed.
    """
    body, end, seal = content.rpartition(b"\n")
    if seal != object_digest(key, body + end).encode():
        raise LogDamagedError(number, "its digest is wrong")
    try:
        return _record_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise LogDamagedError(number, str(error)) from error


def object_digest(key: bytes, content: bytes, /) -> str:
    """Return the keyed digest of a whole object, hexadecimal."""
    return blake3(content, key=key).hexdigest()


def encode_manifest(key: bytes, manifest: Manifest, /) -> tuple[bytes, str]:
    """Return the bytes of a manifest, and their seal for the log."""
    indexes: list[_DiskIndex] = []
    columns: list[bytes] = []
    for disk, blocks in manifest.maps.items():
        numbers = blocks.numbers()
        indexes.append(_DiskIndex(disk=disk, size=blocks.size, stored_blocks=len(numbers)))
        columns.append(numbers.astype("<u8").tobytes())
        columns.append(blocks.digests[numbers].tobytes())
        places = (blocks.packs, blocks.offsets, blocks.stored)
        columns.extend(column[numbers].astype("<u4").tobytes() for column in places)
    plain = b"".join(columns)
    index = _ManifestIndex(
        record=manifest.record,
        packs=manifest.packs,
        disks=tuple(indexes),
        columns_size=len(plain),
    )
    head = _json.encode(index)
    body = b"".join(
        (
            MANIFEST_MAGIC,
            len(head).to_bytes(8, "little"),
            head,
            compress(plain, level=_COMPRESSION_LEVEL),
        )
    )
    seal = blake3(body, key=key)
    return body + seal.digest(), seal.hexdigest()


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
    body, trailer = content[:-SEAL_SIZE], content[-SEAL_SIZE:]
    found = blake3(body, key=key)
    if found.digest() != trailer or found.hexdigest() != seal:
        raise ManifestDamagedError(point, "its digest is wrong")
    try:
        return _decode_sealed(body, block_size=block_size)
    except (ValueError, IndexError, ZstdError) as error:
        raise ManifestDamagedError(point, str(error)) from error


def _decode_sealed(body: bytes, *, block_size: ByteCount) -> Manifest:
    if not body.startswith(MANIFEST_MAGIC):
        raise ValueError("it is no manifest")
    start = len(MANIFEST_MAGIC) + 8
    head_size = int.from_bytes(body[len(MANIFEST_MAGIC) : start], "little")
    index = _index_decoder.decode(body[start : start + head_size])
    plain = decompress(body[start + head_size :])
    if len(plain) != index.columns_size:
        raise ValueError("its block maps have the wrong length")
    maps: dict[DiskId, BlockMap] = {}
    at = 0
    for entry in index.disks:
        columns: list[npt.NDArray[np.generic]] = []
        for kind, width in _COLUMNS:
            column = np.frombuffer(plain, kind, entry.stored_blocks * width, at)
            columns.append(column.reshape(-1, width) if width > 1 else column)
            at += column.nbytes
        maps[entry.disk] = _dense(entry, columns, block_size=block_size)
    return Manifest(record=index.record, packs=index.packs, maps=maps)


def _dense(
    entry: _DiskIndex, columns: list[npt.NDArray[np.generic]], *, block_size: ByteCount
) -> BlockMap:
    blocks = BlockMap(entry.size, block_size=block_size)
    numbers = columns[0].astype(np.int64)
    places = np.stack([column.astype(np.uint32) for column in columns[2:]], axis=1)
    blocks.assign(numbers, columns[1].astype(np.uint8), places)
    return blocks
