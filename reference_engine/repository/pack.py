"""Packs: solid frames one behind the other, each a megabyte of blocks or pieces compressed as one.

Blocks that are compressed together shrink as well as large blocks do, and are still found one by
one: a place names the frame and the offset inside what the frame holds.
"""

import enum
from collections.abc import Collection, Sequence
from typing import Final

from backports.zstd import (
    CompressionParameter,
    ZstdError,
    decompress,
    get_frame_info,
    get_frame_size,
)

from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.codec import FRAME_MAX, pack_name
from reference_engine.repository.compression import Compressor
from reference_engine.repository.publish import discard, publish_own

PACK_MAX: Final = ByteCount(12 * MIB)
"""The one pack that is being filled is in memory, so this bounds the engine's memory."""

FRAME_SIZE: Final = ByteCount(1 * MIB)
"""How much is compressed at once: more gains nothing, less costs some five percent of space."""


class Level(enum.Enum):
    """How hard blocks are compressed."""

    FAST = "fast"
    DEFAULT = "default"
    BEST = "best"


_COMPRESSORS: Final[dict[Level, Compressor]] = {
    # Zstandard's own levels 1 and 2 look for matches of seven and six bytes. A larger table and
    # shorter matches make the frames of disks 2 % smaller in the same time, as long as the tables
    # fit into a core's caches.
    Level.FAST: Compressor(
        {
            CompressionParameter.compression_level: 1,
            CompressionParameter.hash_log: 15,
            CompressionParameter.window_log: 18,
        }
    ),
    Level.DEFAULT: Compressor(
        {
            CompressionParameter.compression_level: 2,
            CompressionParameter.min_match: 5,
        }
    ),
    Level.BEST: Compressor({CompressionParameter.compression_level: 6}),
}


def compressor(level: Level, /) -> Compressor:
    """Return what compresses so hard."""
    return _COMPRESSORS[level]


FRAME_HEAD: Final = 18
"""A frame's header has at most so many bytes."""


def content_size(head: bytes | memoryview, /) -> int:
    """Return how many bytes a frame holds that begins with `head`.

    Raises:
        ValueError: it is no frame that states it.
    """
    try:
        size = get_frame_info(head).decompressed_size
    except ZstdError as error:
        raise ValueError("it is no frame") from error
    if size is None:
        raise ValueError("it does not state its size")
    return size


def unpack(stored: bytes | memoryview, /) -> bytes:
    """Return what a frame holds.

    Raises:
        ValueError: the bytes are no frame.
    """
    try:
        # The limit keeps an altered frame from unfolding into all of memory.
        size = get_frame_info(stored).decompressed_size
        if size is None or size > FRAME_MAX or get_frame_size(stored) != len(stored):
            raise ValueError("it is no single frame of a known size")
        return decompress(stored)
    except ZstdError as error:
        raise ValueError("it cannot be decompressed") from error


class PackWriter:
    """The packs of one session: gathers frames, and publishes what is full."""

    def __init__(self, store: BlobStore, names: NameTable, /, *, session: str) -> None:
        self._store, self._names, self._session = store, names, session
        self._own = 0
        self._open: list[bytes] = []
        self._filled = 0
        self._open_number = 0
        self._sealed: dict[str, bytes] = {}
        self._publishing = 0
        self.bytes_stored = 0
        self.durable: list[int] = []
        """Numbers of the packs that are published, in the order in which they came to be."""

    def add(self, frames: Sequence[bytes], /) -> list[tuple[int, int, int]]:
        """Take frames in this order; return pack number, offset and length of each.

        Nothing is durable before `flush`.
        """
        places: list[tuple[int, int, int]] = []
        for frame in frames:
            end = self._filled + len(frame)
            if self._filled and end > PACK_MAX:
                self._seal()
                end = len(frame)
            if not self._filled:
                self._own += 1
                self._open_number = self._names.number(pack_name(self._session, self._own))
            places.append((self._open_number, self._filled, len(frame)))
            self._open.append(frame)
            self._filled = end
            self.bytes_stored += len(frame)
        return places

    def _seal(self) -> None:
        self._sealed[self._names.name(self._open_number)] = b"".join(self._open)
        self._open, self._filled = [], 0

    @property
    def has_full(self) -> bool:
        """Whether a pack waits for being published."""
        return bool(self._sealed)

    async def publish_full(self) -> None:
        """Make every full pack durable; what fails stays in memory for the next attempt.

        Raises:
            TransientError: the store failed.
            RefusedError: the store cannot be written to.
        """
        while self._sealed:
            name = next(iter(self._sealed))
            content = self._sealed.pop(name)
            self._publishing += 1
            try:
                await publish_own(self._store, name, content)
                self.durable.append(self._names.number(name))
            except BaseException:
                self._sealed[name] = content
                raise
            finally:
                self._publishing -= 1

    async def flush(self) -> None:
        """Make every pack durable; nobody else may be adding or publishing meanwhile.

        Raises:
            TransientError, RefusedError: as `publish_full`.
        """
        if self._filled:
            self._seal()
        await self.publish_full()
        assert not self._publishing, self._publishing

    async def discard(self, *, keep: Collection[int]) -> None:
        """Delete the packs of this session, of which no manifest may speak, but those to keep."""
        self._open, self._filled = [], 0
        self._sealed = {}
        for own in range(1, self._own + 1):
            name = pack_name(self._session, own)
            if self._names.number(name) not in keep:
                await discard(self._store, name)
