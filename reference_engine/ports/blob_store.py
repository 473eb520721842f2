"""Where a repository keeps its objects: a directory, an object store, simulated memory.

Objects are write-once. A name is lower-case letters, digits, `-`, `.` and `/`.
"""

from typing import Protocol


class BlobStore(Protocol):
    """Named immutable byte strings, with create-if-absent as the only way to write."""

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store `content` durably under `name`; return False, changing nothing, if it exists.

        When this returns True the object survives a power cut, whole.
        """

    async def make_durable(self, name: str, /) -> None:
        """Let an object that was read survive a power cut, whoever created it.

        An object may be visible before its creator was told that it is durable. Stores where the
        one implies the other do nothing.
        """

    async def tidy(self) -> None:
        """Remove what writers that died left behind and what never became an object.

        A writer that is alive may lose what it is writing, and writes it again.
        """

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None where there is none."""

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            CorruptionError: the object is missing or shorter.
        """

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending."""

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return the length in bytes of every object whose name starts with `prefix`."""

    async def delete(self, name: str, /) -> None:
        """Remove an object; true also where there is none."""
