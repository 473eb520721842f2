"""A store in which nothing is changed, although whoever uses it sees what he did."""

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore


class DryStore(BlobStore):
    """Another store, with creations and deletions in memory only."""

    def __init__(self, store: BlobStore, /) -> None:
        self._store = store
        self._changed: dict[str, bytes | None] = {}

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store `content` in memory; return False, changing nothing, if the name exists."""
        if await self.read(name) is not None:
            return False
        self._changed[name] = bytes(content)
        return True

    async def make_durable(self, name: str, /) -> None:
        """Do nothing: what was changed is in memory only."""

    async def tidy(self) -> None:
        """Do nothing."""

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None where there is none."""
        if name in self._changed:
            return self._changed[name]
        return await self._store.read(name)

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            CorruptionError: the object is missing or shorter.
        """
        if name not in self._changed:
            return await self._store.read_range(name, offset=offset, length=length)
        content = self._changed[name]
        if content is None or offset + length > len(content):
            raise CorruptionError(f"object {name} is missing or too short")
        return content[offset : offset + length]

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending."""
        found = dict.fromkeys(await self._store.names(prefix))
        for name, content in self._changed.items():
            if name.startswith(prefix):
                found[name] = None
            if content is None:
                found.pop(name, None)
        return tuple(sorted(found))

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return the length in bytes of every object whose name starts with `prefix`."""
        found = await self._store.sizes(prefix)
        for name, content in self._changed.items():
            found.pop(name, None)
            if content is not None and name.startswith(prefix):
                found[name] = len(content)
        return dict(sorted(found.items()))

    async def delete(self, name: str, /) -> None:
        """Forget an object; true also where there is none."""
        self._changed[name] = None
