"""What every disk image offers to its readers, whatever format it is stored in."""

from types import TracebackType
from typing import Protocol, Self

from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount


class DamagedImageError(CorruptionError):
    """An image file is not what was once written: `cause` names the first thing found wrong."""

    def __init__(self, path: str, cause: str, /) -> None:
        super().__init__(path, cause)
        self.path, self.cause = path, cause

    def __str__(self) -> str:
        return f"{self.path} is damaged: {self.cause}"


class DiskImage(Protocol):
    """The content of one virtual disk; any number of threads may read it at once."""

    @property
    def format_name(self) -> str:
        """The format in words, such as `dynamic VHDX`."""

    @property
    def size(self) -> ByteCount:
        """The size of the virtual disk."""

    def allocated(self) -> ExtentSet:
        """Return every byte that may be other than zero: never too little, perhaps too much."""

    def read(self, offset: ByteCount, length: ByteCount, /) -> bytes:
        """Return exactly the `length` bytes at `offset`; they lie inside the disk.

        Raises:
            SourceChangedError: the file has shrunk since it was opened.
            OperationFailedError: the storage below the file reports a fault.
        """

    def read_into(self, offset: ByteCount, target: memoryview, /) -> None:
        """Fill `target`, writable bytes, with those at `offset`.

        Raises:
            SourceChangedError, OperationFailedError: as `read`.
        """

    def close(self) -> None:
        """Give the file back; closing twice does no harm, reading afterwards fails."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...
