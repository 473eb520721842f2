"""A disk image made of blocks that lie anywhere in its file: dynamic VHD, and every VHDX."""

from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from reference_engine.formats.block_map import BlockMap
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount

Details = TypeVar("Details")


class BlockSource(Protocol):
    """The bytes of an image file, as they are or with patches over them."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly the `length` bytes at `offset`."""

    def close(self) -> None:
        """Give the file back."""


class BlockImage(Generic[Details]):
    """A disk whose existing blocks are found by a block map; all other bytes are zero."""

    __slots__ = ("_blocks", "_source", "details", "format_name")

    def __init__(
        self, source: BlockSource, blocks: BlockMap, /, *, format_name: str, details: Details
    ) -> None:
        """Take over `source`, in which `blocks` has been checked to lie."""
        self._source, self._blocks = source, blocks
        self.format_name = format_name
        self.details = details

    @property
    def size(self) -> ByteCount:
        """The size of the virtual disk."""
        return self._blocks.size

    def allocated(self) -> ExtentSet:
        """Return the bytes of all blocks that exist."""
        return self._blocks.allocated()

    def read(self, offset: ByteCount, length: ByteCount, /) -> bytes:
        """Return exactly the `length` bytes at `offset`."""
        parts = [
            bytes(piece.length) if piece.at is None else self._source.read(piece.at, piece.length)
            for piece in self._blocks.pieces(offset, length)
        ]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, offset: ByteCount, target: memoryview, /) -> None:
        """Fill `target` with the bytes at `offset`."""
        target[:] = self.read(offset, ByteCount(len(target)))

    def close(self) -> None:
        """Give the file back."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()
