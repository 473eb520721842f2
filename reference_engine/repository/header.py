"""What a repository says of itself: the bytes of `repository.json`; `FORMAT.md` in code."""

from typing import Final, NamedTuple

import msgspec
from blake3 import blake3

from reference_engine.model.errors import RefusedError
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import PIECES
from reference_engine.repository.codec import SEAL_SIZE, object_digest
from reference_engine.repository.errors import (
    RepositoryAbsentError,
    RepositoryFeatureError,
    RepositoryForeignError,
    RepositoryNewerError,
)
from reference_engine.repository.parity import ParityPlan
from reference_engine.repository.settings import Settings

FORMAT: Final = 2
HEADER_NAME: Final = "repository.json"
HEADER_COPIES: Final = ("copies/repository-1.json", "copies/repository-2.json")
BLOCK_SIZE_MIN: Final = 16
BLOCK_SIZE_MAX: Final = 8 << 20
ENCRYPTION: Final = "encryption"
PARITY: Final = "parity"
FEATURES: Final = (ENCRYPTION, PARITY)
"""What this program knows beyond the plain format."""

_KEY_CONTEXT: Final = "twinshot repository format 2: content digests"
_CHECKSUM_CONTEXT: Final = "twinshot repository format 2: header"
_json: Final = msgspec.json.Encoder(order="deterministic")


class StoredHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `repository.json` says; without features it is what the first program wrote."""

    format: int
    repository: str
    block_size: ByteCount
    digest_key: str = ""
    """64 hexadecimal digits; empty in an encrypted repository, where it is a secret."""

    settings: Settings | None = None
    """None where there is nothing to say: the bytes are those of before there were any."""

    features: tuple[str, ...] = ()
    """What a program must know to read and write here, in alphabetical order."""

    parity: ParityPlan | None = None
    authenticator: str = ""
    """Of an encrypted repository: what only an owner of the master key can write."""


class Header:
    """The header of an opened repository, with the key of every digest in it."""

    def __init__(self, stored: StoredHeader, /, *, key: bytes) -> None:
        self.stored = stored
        self.key = key
        """Never shown: in an encrypted repository it is a secret."""

    @property
    def repository(self) -> str:
        """The token that the repository was created with."""
        return self.stored.repository

    @property
    def block_size(self) -> ByteCount:
        """How many bytes a block holds."""
        return self.stored.block_size

    @property
    def settings(self) -> Settings:
        """What the repository was told when it was made."""
        return self.stored.settings or Settings()


def plain_header(
    identity_token: str,
    /,
    *,
    block_size: ByteCount,
    settings: Settings,
    parity: ParityPlan | None = None,
) -> StoredHeader:
    """Return the header of a new repository whose digest key follows from its identity."""
    assert BLOCK_SIZE_MIN <= block_size <= BLOCK_SIZE_MAX, block_size
    key = blake3(identity_token.encode(), derive_key_context=_KEY_CONTEXT).hexdigest()
    return StoredHeader(
        format=FORMAT,
        repository=identity_token,
        block_size=block_size,
        digest_key=key,
        settings=None if settings == Settings() else settings,
        features=() if parity is None else (PARITY,),
        parity=parity,
    )


def encode_header(header: StoredHeader, /) -> bytes:
    """Return the bytes of `repository.json` and of its copies."""
    body = msgspec.json.format(_json.encode(header), indent=2) + b"\n"
    return body + object_digest(_header_key(header), body).encode() + b"\n"


def _header_key(header: StoredHeader) -> bytes:
    if ENCRYPTION in header.features:
        # Damage has to show before there is a key; `authenticator` shows who wrote it.
        token = header.repository.encode()
        return blake3(token, derive_key_context=_CHECKSUM_CONTEXT).digest()
    return bytes.fromhex(header.digest_key)


def decode_header(content: bytes, /) -> StoredHeader:
    """Return what `repository.json` says.

    Raises:
        RepositoryNewerError, RepositoryFeatureError: a later program wrote it.
        RepositoryForeignError: it is not ours, or not as it was written.
    """
    body = content[: content.rfind(b"}") + 1] + b"\n"
    fields = StoredHeader.__struct_encode_fields__
    try:
        stated = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        number = msgspec.json.decode(stated.get("format", b"0"), type=int)
        stated_features = stated.get("features", b"[]") if number == FORMAT else b"[]"
        features = msgspec.json.decode(stated_features, type=tuple[str, ...])
        unknown = [name for name in stated if name not in fields] if number == FORMAT else []
        unknown += [name for name in features if name not in FEATURES]
        fits = number == FORMAT and not unknown
        header = msgspec.json.decode(body, type=StoredHeader) if fits else None
    except ValueError:  # msgspec's errors are ValueErrors
        number, header, unknown = 0, None, []
    if number > FORMAT:
        raise RepositoryNewerError(number, FORMAT)
    if unknown:
        raise RepositoryFeatureError(unknown[0])
    if header is None or not _is_sound(header, content):
        raise RepositoryForeignError(f"{HEADER_NAME} is not a repository's")
    return header


def _is_sound(header: StoredHeader, content: bytes) -> bool:
    try:
        whole = len(_header_key(header)) == SEAL_SIZE and content == encode_header(header)
    except ValueError:  # a key that is no hexadecimal
        return False
    fits = BLOCK_SIZE_MIN <= header.block_size <= BLOCK_SIZE_MAX
    agrees = (header.parity is not None) == (PARITY in header.features)
    hidden = bool(header.digest_key) != (ENCRYPTION in header.features)
    return whole and fits and agrees and hidden and header.block_size % PIECES == 0


class FoundHeader(NamedTuple):
    """A header that is sound, as it was read."""

    stored: StoredHeader
    content: bytes
    missing: tuple[str, ...]
    """Copies that are not there."""


async def read_header(store: BlobStore, /) -> FoundHeader:
    """Return the header, of which one sound copy is enough.

    Raises:
        RepositoryAbsentError: there is none.
        RepositoryForeignError: what is there is not ours.
        RepositoryNewerError, RepositoryFeatureError: a later program wrote it.
    """
    missing: list[str] = []
    refusal: RefusedError = RepositoryAbsentError()
    sound: tuple[StoredHeader, bytes] | None = None
    for name in (HEADER_NAME, *HEADER_COPIES):
        content = await store.read(name)
        if content is None:
            missing.append(name)
            continue
        try:
            sound = sound or (decode_header(content), content)
        except RefusedError as error:
            refusal = error if isinstance(refusal, RepositoryAbsentError) else refusal
    if sound is None:
        raise refusal
    return FoundHeader(*sound, tuple(missing))
