"""What every disk writer offers: bytes go in at offsets, and a whole image or none comes out."""

from collections.abc import Iterator
from types import TracebackType
from typing import Final, Protocol, Self

from reference_engine.model.units import KIB, ByteCount

PIECE: Final = 64 * KIB
"""Zeros are told from data in pieces of this size; shorter runs of zeros are written out."""

_ZEROS: Final = bytes(PIECE)
_HEAD: Final = 64


class DiskWriter(Protocol):
    """A new image of a disk that is zero wherever nothing is written; used by one thread."""

    @property
    def size(self) -> ByteCount:
        """The size of the virtual disk."""

    def write(self, offset: ByteCount, data: bytes | memoryview, /) -> None:
        """Put `data` at `offset`; it lies inside the disk.

        Writes may come in any order and may overlap, the last one counts. In ascending order
        zeros take no space.

        Raises:
            OperationFailedError: the storage is full or faulty; nothing of the image is left.
        """

    def finish(self) -> None:
        """Make the image durable, then give it its name.

        Raises:
            InputRefusedError: another file has taken the name meanwhile; nothing is left.
            OperationFailedError: the storage is full or faulty; nothing is left.
        """

    def abandon(self) -> None:
        """Leave nothing of the image behind; after `finish` there is nothing to abandon."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


def data_runs(data: bytes | memoryview, /) -> Iterator[tuple[int, int]]:
    """Yield the `[start, end)` ranges of `data` that are left without its pieces of zeros."""
    start = None
    whole = len(data) - len(data) % PIECE
    for at in range(0, len(data), PIECE):
        # Views compare byte by byte and slowly, so only what begins with zeros is looked at.
        blank = bytes(data[at : at + _HEAD]) == _ZEROS[: min(_HEAD, len(data) - at)] and (
            bytes(data[at : at + PIECE]) == (_ZEROS if at < whole else bytes(len(data) - whole))
        )
        if blank and start is not None:
            yield start, at
            start = None
        elif not blank and start is None:
            start = at
    if start is not None:
        yield start, len(data)
