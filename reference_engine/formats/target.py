"""What can be written to although it exists already: an image file, a device, a network disk."""

from typing import Protocol

from reference_engine.model.units import ByteCount


class DiskTarget(Protocol):
    """The bytes of somebody's disk, read and written where they are; used by one thread at a time.

    Nothing is known of what it holds: what should be zero has to be made zero.
    """

    name: str
    """What people call it."""

    size: ByteCount
    """How many bytes it has room for."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly the `length` bytes at `offset`.

        Raises:
            OperationFailedError: the storage is faulty, or the connection is lost.
        """

    def write(self, offset: int, data: bytes | memoryview, /) -> None:
        """Put all of `data` at `offset`; it lies inside the disk.

        Raises:
            OperationFailedError: the storage is full or faulty, or the connection is lost.
        """

    def zero(self, offset: int, length: int, /) -> None:
        """Let the `length` bytes at `offset` read as zeros, as cheaply as the target can.

        Raises:
            OperationFailedError: as `write`.
        """

    def sync(self) -> None:
        """Make durable what has been written.

        Raises:
            OperationFailedError: it may be lost.
        """

    def close(self) -> None:
        """Give it back; closing twice does no harm."""
