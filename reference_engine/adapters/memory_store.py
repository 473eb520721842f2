"""A blob store in memory, for tests and for simulated storage."""

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore


class MemoryStore(BlobStore):
    """Objects in a dictionary; `objects` is open to whoever plants damage."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store `content` under `name`; return False, changing nothing, if it exists."""
        if name in self.objects:
            return False
        self.objects[name] = bytes(content)
        return True

    async def make_durable(self, name: str, /) -> None:
        """Do nothing: what is visible is all there is."""

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None where there is none."""
        return self.objects.get(name)

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            CorruptionError: the object is missing or shorter.
        """
        content = self.objects.get(name)
        if content is None:
            raise CorruptionError(f"object {name} is missing")
        if offset + length > len(content):
            raise CorruptionError(f"object {name} ends at byte {len(content)}")
        return content[offset : offset + length]

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending."""
        return tuple(sorted(name for name in self.objects if name.startswith(prefix)))

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return the size of every object whose name starts with `prefix`, in bytes."""
        return {name: len(self.objects[name]) for name in await self.names(prefix)}

    async def delete(self, name: str, /) -> None:
        """Remove an object; true also where there is none."""
        self.objects.pop(name, None)
