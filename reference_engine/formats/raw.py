"""A raw image: the file is the disk, byte for byte. A block device is one as well."""

from types import TracebackType
from typing import Self

from reference_engine.formats.image_file import ImageFile
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount


class FlatImage:
    """A disk whose bytes lie in the file one after the other, from its first byte on."""

    __slots__ = ("_file", "format_name", "size")

    def __init__(self, file: ImageFile, /, *, size: ByteCount, format_name: str) -> None:
        """Take over `file`, of which the first `size` bytes are the disk."""
        assert size <= file.length, (size, file.length)
        self._file, self.size, self.format_name = file, size, format_name

    def allocated(self) -> ExtentSet:
        """Return every byte that the file system does not know to be a hole."""
        return self._file.data().clipped(self.size)

    def read(self, offset: ByteCount, length: ByteCount, /) -> bytes:
        """Return exactly the `length` bytes at `offset`."""
        assert 0 <= offset <= offset + length <= self.size, (offset, length, self.size)
        return self._file.read(offset, length)

    def read_into(self, offset: ByteCount, target: memoryview, /) -> None:
        """Fill `target` with the bytes at `offset`."""
        assert 0 <= offset <= offset + len(target) <= self.size, (offset, len(target), self.size)
        self._file.read_into(offset, target)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

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


def raw_image(file: ImageFile, /) -> FlatImage:
    """Return `file` as the disk that it is."""
    return FlatImage(file, size=ByteCount(file.length), format_name="raw")
