"""The bytes of block map pages and of index segments; `FORMAT.md` in code."""

import numpy as np
import numpy.typing as npt
from backports.zstd import ZstdError, decompress
from blake3 import blake3

from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PAGE_BLOCKS,
    PIECES,
    Digests,
    NameTable,
    Page,
    Places,
)
from reference_engine.repository.codec import SEAL_SIZE, sealed
from reference_engine.repository.columns import Columns
from reference_engine.repository.compression import METADATA
from reference_engine.repository.ordered import distinct


def _packed_places(places: Places) -> list[bytes]:
    return [places[:, column].astype("<u4").tobytes() for column in range(4)]


def _taken_places(columns: Columns, count: int) -> Places:
    places = np.empty((count, 4), np.uint32)
    places.T[:] = columns.take("<u4", 4 * count).reshape(4, count)
    return places


def _local(places: Places, packs: NameTable) -> tuple[Places, tuple[str, ...]]:
    """Return `places` with packs numbered by their position among the names returned."""
    used = distinct(places[:, 0])
    local = places.copy()
    local[:, 0] = used.searchsorted(places[:, 0]) + 1
    return local, tuple(map(packs.name, used.tolist()))


def _global(places: Places, names: list[str] | tuple[str, ...], packs: NameTable) -> Places:
    """Undo `_local`, into the numbers of another table."""
    if not len(places):
        return places
    local = places[:, 0]
    if not 1 <= int(np.minimum.reduce(local)) <= int(np.maximum.reduce(local)) <= len(names):
        raise ValueError("it names a pack that it does not list")
    numbers = np.array([0, *map(packs.number, names)], np.uint32)
    places[:, 0] = numbers[local]
    return places


def encode_page(page: Page, packs: NameTable, /) -> bytes:
    """Return the bytes of a page; `packs` has the names of the pack numbers in it."""
    numbers = page.numbers()
    count, pieces = len(numbers), len(page.piece_keys)
    places, names = _local(np.concatenate((page.places[numbers], page.piece_places)), packs)
    listed = "\n".join(names).encode()
    columns = [
        np.array([count, pieces, len(listed)], "<u4").tobytes(),
        listed,
        numbers.astype("<u2").tobytes(),
        page.digests[numbers].tobytes(),
        *_packed_places(places[:count]),
        page.piece_keys.astype("<u2").tobytes(),
        *_packed_places(places[count:]),
    ]
    return METADATA.compressed(b"".join(columns))


def page_seal(key: bytes, content: bytes, /) -> bytes:
    """Return what the root says of a page's stored bytes."""
    return blake3(content, key=key).digest(length=DIGEST_SIZE)


def decode_page(key: bytes, content: bytes, packs: NameTable, /, *, seal: bytes) -> Page:
    """Return a page whose seal is `seal`; its packs get numbers in `packs`.

    Raises:
        ValueError: the bytes are not those that were sealed.
    """
    if page_seal(key, content) != seal:
        raise ValueError("its digest is wrong")
    try:
        plain = decompress(content)
    except ZstdError as error:
        raise ValueError("it cannot be decompressed") from error
    columns = Columns(plain)
    count, pieces, listed = columns.take("<u4", 3).tolist()
    names = columns.take("u1", listed).tobytes().decode().split("\n")
    numbers = columns.take("<u2", count).astype(np.int64)
    digests = columns.take("u1", count, DIGEST_SIZE)
    places = _taken_places(columns, count)
    page = Page()
    piece_keys = columns.take("<u2", pieces).astype(np.int64)
    page.piece_keys = piece_keys
    page.piece_places = _global(_taken_places(columns, pieces), names, packs)
    if count and int(np.maximum.reduce(numbers)) >= PAGE_BLOCKS:
        raise ValueError("it has too many blocks")
    page.digests[numbers] = digests
    page.places[numbers] = _global(places, names, packs)
    if pieces:
        bits = np.left_shift(1, piece_keys % PIECES).astype(np.uint16)
        np.bitwise_or.at(page.overlaid, piece_keys // PIECES, bits)
    return page


def packs_of_page(key: bytes, content: bytes, /, *, seal: bytes) -> tuple[str, ...]:
    """Return the names of the packs in which the page's blocks and pieces lie.

    Raises:
        ValueError: the bytes are not those that were sealed.
    """
    if page_seal(key, content) != seal:
        raise ValueError("a page's digest is wrong")
    try:
        columns = Columns(decompress(content))
    except ZstdError as error:
        raise ValueError("a page cannot be decompressed") from error
    listed = int(columns.take("<u4", 3)[2])
    return tuple(columns.take("u1", listed).tobytes().decode().split("\n"))


def encode_segment(
    key: bytes, digests: npt.NDArray[np.uint8], places: Places, packs: NameTable, /
) -> bytes:
    """Return the bytes of an index segment, sealed."""
    local, names = _local(places, packs)
    listed = "\n".join(names).encode()
    columns = [
        np.array([len(digests), len(listed)], "<u4").tobytes(),
        listed,
        digests.tobytes(),
        *_packed_places(local),
    ]
    return sealed(key, METADATA.compressed(b"".join(columns)))[0]


def decode_segment(key: bytes, content: bytes, packs: NameTable, /) -> tuple[Digests, Places]:
    """Return the digests and places of an index segment, packs as numbers in `packs`.

    Raises:
        ValueError: the bytes are not those that were sealed.
    """
    body, trailer = content[:-SEAL_SIZE], content[-SEAL_SIZE:]
    if blake3(body, key=key).digest() != trailer:
        raise ValueError("its digest is wrong")
    try:
        columns = Columns(decompress(body))
    except ZstdError as error:
        raise ValueError("it cannot be decompressed") from error
    count, listed = columns.take("<u4", 2).tolist()
    names = columns.take("u1", listed).tobytes().decode().split("\n")
    digests = columns.take("u1", count, DIGEST_SIZE)
    return digests.copy(), _global(_taken_places(columns, count), names, packs)
