"""Stores in memory that note what is asked of them."""

from reference_engine.adapters.memory_store import MemoryStore


class CountingReads(MemoryStore):
    """A store that notes which parts of the index were read."""

    def __init__(self) -> None:
        super().__init__()
        self.portions: list[str] = []

    async def read(self, name: str, /) -> bytes | None:
        """Return the object."""
        if name.startswith("index/"):
            self.portions.append(name)
        return await super().read(name)
