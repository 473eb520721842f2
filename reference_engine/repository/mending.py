"""Blocks that were lost, and blocks that were found again.

A block is known by the digest of its content, so what stands at a damaged place may be read from
any other place where equal content stands. `wanted/` lists what was found damaged: the next run
stores it anew although it seems to be there. `mends/` lists where such blocks stand now; a reader
that meets damage looks there. Both are index segments (`FORMAT.md`), added to and never changed.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np
from backports.zstd import ZstdDecompressor, ZstdError
from blake3 import blake3

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Inline
from reference_engine.repository.block_map import DIGEST_SIZE, Digests, NameTable, Places
from reference_engine.repository.dedup import KnownBlocks
from reference_engine.repository.domain_names import bare, domain_of, only_of
from reference_engine.repository.fetching import FrameKeys, frame_keys
from reference_engine.repository.pack import unpack
from reference_engine.repository.pages import encode_segment
from reference_engine.repository.portions import batches, read_portions

MENDS: Final = "mends/"
WANTED: Final = "wanted/"
QUARANTINE: Final = "quarantine/"
"""Where damaged bytes are kept when sound ones take their place."""

MEND_SESSION: Final = "mend-"
"""How names of packs begin that no run wrote but a repair; the rest is its token."""

REREADS: Final = 2
"""Memory and cables flip bits too: what is wrong is read this often again before it is lost."""

_CHUNK: Final = 4096
_IN_TURN: Final = Inline()

_NO_DIGESTS: Final[Digests] = np.zeros((0, DIGEST_SIZE), np.uint8)

PlaceName = tuple[str, int, int, int]
"""Name of a pack, offset and stored length of a frame, offset inside what it holds."""


class Lost(NamedTuple):
    """A block that cannot be put together, and the places that it was to be made of.

    The first place is its base's; the others are those of `pieces`, in their order.
    """

    digest: bytes
    length: int
    places: tuple[PlaceName, ...]
    pieces: tuple[int, ...]

    @property
    def domain(self) -> str:
        """The dedup domain of the points that have it."""
        return domain_of(self.places[0][0])


class Listed(NamedTuple):
    """All rows of one kind of list."""

    digests: Digests
    places: Places
    names: NameTable

    def frames(self, packs: NameTable, /) -> FrameKeys:
        """Return where the listed places' frames begin, packs as `packs` numbers them."""
        numbers = np.array(
            [0, *(packs.number(name) for name in self.names.names())], dtype=np.uint64
        )
        return frame_keys(self.places, numbers)


async def listed(
    store: BlobStore, key: bytes, prefix: str, /, *, domain: str | None = None
) -> Listed:
    """Return what the sound ones of the objects below `prefix` say; the others cost space only.

    Given a domain, those of that one only: blocks of others are none of its business.
    """
    names = NameTable()
    present = await store.names(prefix)
    digests, places = [_NO_DIGESTS], [np.zeros((0, 4), np.uint32)]
    for part in batches(present if domain is None else only_of(domain, present)):
        for portion in await read_portions(store, key, part, names, executor=_IN_TURN):
            digests.append(portion.digests)
            places.append(portion.places)
    return Listed(np.concatenate(digests), np.concatenate(places), names)


async def outstanding(store: BlobStore, key: bytes, /, *, domain: str) -> tuple[Listed, Digests]:
    """Return what was ever lost in a domain, and the digests of it that were not stored anew."""
    lost = await listed(store, key, WANTED, domain=domain)
    if not len(lost.digests):
        return lost, lost.digests
    mended = await sound_mends(store, key, lost=lost, domain=domain)
    unique = np.unique(lost.digests, axis=0)
    return lost, unique[~contains(mended.digests, unique)]


async def wanted_count(store: BlobStore, key: bytes, /) -> int:
    """Return how many blocks were lost and not stored anew yet, of all domains."""
    domains = dict.fromkeys(map(domain_of, await store.names(WANTED)))
    return sum([len((await outstanding(store, key, domain=each))[1]) for each in domains])


async def sound_mends(
    store: BlobStore, key: bytes, /, *, domain: str, lost: Listed | None = None
) -> Listed:
    """Return where lost blocks of a domain stand now, but for places that were lost after that."""
    mended = await listed(store, key, MENDS, domain=domain)
    if not len(mended.digests):
        return mended
    lost = await listed(store, key, WANTED, domain=domain) if lost is None else lost
    sound = ~np.isin(frame_keys(mended.places), lost.frames(mended.names))
    return Listed(mended.digests[sound], mended.places[sound], mended.names)


class Mended(NamedTuple):
    """Blocks that were lost and stand somewhere again, by domain."""

    digests: dict[str, Digests]

    def has(self, asked: Digests, /, *, of: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return for each row whether it is among those of the domain that object `of` is of."""
        return contains(self.digests.get(domain_of(of), _NO_DIGESTS), asked)


async def mended(store: BlobStore, key: bytes, /) -> Mended:
    """Return what was lost and stands somewhere again."""
    domains = dict.fromkeys(map(domain_of, await store.names(MENDS)))
    return Mended({each: (await sound_mends(store, key, domain=each)).digests for each in domains})


def is_mend(session: str, /) -> bool:
    """Return whether a session is a repair's."""
    return bare(session).startswith(MEND_SESSION)


def contains(known: Digests, asked: Digests, /) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return for each row of `asked` whether `known` has it."""
    if not len(known):
        return np.zeros(len(asked), np.bool_)
    kind = np.dtype((np.void, DIGEST_SIZE))
    one, other = (np.ascontiguousarray(each).view(kind).ravel() for each in (known, asked))
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.isin(other, one)
    return found


def segment(key: bytes, rows: Sequence[tuple[bytes, PlaceName]], /) -> bytes:
    """Return the bytes of an object of `mends/` or `wanted/`."""
    names = NameTable()
    digests = np.frombuffer(b"".join([digest for digest, _ in rows]), np.uint8)
    places = np.array(
        [(names.number(name), *place) for _, (name, *place) in rows], np.uint32
    ).reshape(-1, 4)
    return encode_segment(key, digests.reshape(-1, DIGEST_SIZE), places, names)


def salvaged(stored: bytes, /) -> bytes:
    """Return what a damaged frame holds up to the damage, or a little beyond it, unchecked."""
    reader = ZstdDecompressor()
    plain = bytearray()
    with suppress(ZstdError, EOFError):
        for at in range(0, len(stored), _CHUNK):
            plain += reader.decompress(stored[at : at + _CHUNK])
    return bytes(plain)


class Rescue:
    """Puts blocks together that could not be read the usual way."""

    def __init__(self, store: BlobStore, key: bytes, /, *, piece: int) -> None:
        self._store, self._key, self._piece = store, key, piece
        self._mends: dict[str, tuple[KnownBlocks, NameTable]] = {}
        """By domain: a block of one is never read from where another one has it."""

    async def block(self, lost: Lost, /) -> bytes | None:
        """Return the lost block, checked, or None: it cannot be had."""
        for _ in range(REREADS):
            content = await self._assembled(lost)
            if content is not None:
                return content
        place = await self._mended(lost.digest, lost.domain)
        if place is None:
            return None
        return await self._assembled(lost._replace(places=(place,), pieces=()))

    async def _mended(self, digest: bytes, domain: str) -> PlaceName | None:
        if domain not in self._mends:
            found = await sound_mends(self._store, self._key, domain=domain)
            self._mends[domain] = KnownBlocks(), found.names
            self._mends[domain][0].learn(found.digests, found.places)
        mends, names = self._mends[domain]
        if not len(mends):
            return None
        here, places = mends.find(np.frombuffer(digest, np.uint8).reshape(1, -1))
        pack, offset, stored, at = places[0].tolist()
        return (names.name(pack), offset, stored, at) if here[0] else None

    async def _assembled(self, lost: Lost) -> bytes | None:
        sizes = [lost.length, *(self._piece for _ in lost.pieces)]
        parts = [
            await self._part(place, size) for place, size in zip(lost.places, sizes, strict=True)
        ]
        content = bytearray(parts[0])
        for piece, part in zip(lost.pieces, parts[1:], strict=True):
            content[piece * self._piece : (piece + 1) * self._piece] = part
        digest = blake3(content, key=self._key).digest(length=DIGEST_SIZE)
        return bytes(content) if digest == lost.digest else None

    async def _part(self, place: PlaceName, size: int) -> bytes:
        """Return `size` bytes at a place as far as they can be read, unchecked."""
        name, offset, stored, at = place
        try:
            frame = await self._store.read_range(name, offset=offset, length=stored)
        except CorruptionError:
            return b""
        try:
            plain = unpack(frame)
        except ValueError:
            plain = salvaged(frame)
        return plain[at : at + size]
