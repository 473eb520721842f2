"""Packs: blocks one behind the other, each compressed by itself, up to 16 MiB an object.

A block that does not shrink is stored as it is; a stored length equal to the block's own says so.
"""

from typing import Final

from backports.zstd import ZstdCompressor, ZstdDecompressor, ZstdError

from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import Place
from reference_engine.repository.codec import pack_name
from reference_engine.repository.publish import publish_own

PACK_MAX: Final = ByteCount(16 * MIB)
_LEVEL: Final = 1
"""Level 1 keeps up with a fast disk on one core; higher levels gain little on 16 KiB blocks."""


class PackWriter:
    """The packs of one session: gathers blocks, and publishes what is full.

    `names` is the session's pack table; it begins with the base point's packs, so that blocks of
    the base keep their pack numbers.
    """

    def __init__(self, store: BlobStore, /, *, session: str, inherited: tuple[str, ...]) -> None:
        self._store = store
        self._session = session
        self._compressor = ZstdCompressor(level=_LEVEL)
        self._own = 0
        self._open = bytearray()
        self._sealed: dict[str, bytes] = {}
        self._publishing = 0
        self.names = list(inherited)
        self.bytes_stored = 0

    def add(self, content: memoryview | bytes, /) -> Place:
        """Store one block and return its place; nothing is durable before `flush`."""
        frame = self._compressor.compress(content, ZstdCompressor.FLUSH_FRAME)
        stored: memoryview | bytes = frame if len(frame) < len(content) else content
        if self._open and len(self._open) + len(stored) > PACK_MAX:
            self._seal()
        if not self._open:
            self._own += 1
            self.names.append(pack_name(self._session, self._own))
        place = Place(pack=len(self.names), offset=len(self._open), stored=len(stored))
        self._open += stored
        self.bytes_stored += len(stored)
        return place

    def _seal(self) -> None:
        self._sealed[self.names[-1]] = bytes(self._open)
        self._open = bytearray()

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
        if self._open:
            self._seal()
        await self.publish_full()
        assert not self._publishing, self._publishing

    async def discard(self) -> None:
        """Delete the packs of this session, of which no manifest may speak."""
        self._open = bytearray()
        self._sealed = {}
        for number in range(1, self._own + 1):
            await self._store.delete(pack_name(self._session, number))


def unpack(stored: bytes | memoryview, /, *, length: int) -> bytes:
    """Return the block of `length` bytes that was stored as `stored`.

    Raises:
        ValueError: the bytes are no such block.
    """
    if len(stored) == length:
        return bytes(stored)
    decompressor = ZstdDecompressor()
    try:
        # The limit keeps an altered frame from unfolding into all of memory.
        plain = decompressor.decompress(stored, max_length=length + 1)
    except ZstdError as error:
        raise ValueError("it cannot be decompressed") from error
    if len(plain) != length or not decompressor.eof:
        raise ValueError(f"it does not hold {length} bytes")
    return plain
