"""A cache in memory, for tests and for simulated machines."""

from collections.abc import Sequence

from reference_engine.ports.local_cache import LocalCache, Range


class MemoryCache(LocalCache):
    """Kept in a dictionary by group and name; `files` is open to whoever plants damage."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}

    async def names(self, group: str, /) -> tuple[str, ...]:
        """Return what is kept in a group, ascending."""
        return tuple(sorted(name for kept, name in self.files if kept == group))

    async def read(self, group: str, ranges: Sequence[Range], /) -> list[bytes]:
        """Return the bytes of each range: fewer or none where there are no more."""
        return [
            self.files.get((group, each.name), b"")[each.offset : each.offset + each.length]
            for each in ranges
        ]

    async def keep(self, group: str, name: str, content: bytes | bytearray, /) -> bool:
        """Keep `content`, in the place of what had the name."""
        self.files[group, name] = bytes(content)
        return True

    async def forget(self, group: str, name: str, /) -> None:
        """Delete it."""
        self.files.pop((group, name), None)
