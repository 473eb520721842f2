"""The pages that a run writes, gathered into objects."""

from typing import Final

from reference_engine.model.units import MIB
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.codec import copy_name, map_name
from reference_engine.repository.publish import discard_twice, publish_own

MAPS_MAX: Final = 8 * MIB
"""Pages are gathered up to this size before they are published."""


class MapWriter:
    """The pages of one session."""

    def __init__(self, store: BlobStore, session: str, names: NameTable, /) -> None:
        self._store, self._session, self._names = store, session, names
        self._open = bytearray()
        self._sealed: dict[str, bytes] = {}
        self._own = 0
        self._number = 0

    def add(self, content: bytes, /) -> tuple[int, int]:
        """Take an encoded page; return its object's number and the offset in it."""
        if not self._open:
            self._own += 1
            self._number = self._names.number(map_name(self._session, self._own))
        place = (self._number, len(self._open))
        self._open += content
        if len(self._open) >= MAPS_MAX:
            self._seal()
        return place

    def _seal(self) -> None:
        self._sealed[self._names.name(self._number)] = bytes(self._open)
        self._open = bytearray()

    def held(self, name: str, offset: int, length: int, /) -> bytes | None:
        """Return a part of an object that is not published yet; None where it is not here."""
        content = self._sealed.get(name)
        if content is None and self._open and name == self._names.name(self._number):
            content = bytes(self._open)
        return None if content is None else content[offset : offset + length]

    @property
    def has_full(self) -> bool:
        """Whether an object waits for being published."""
        return bool(self._sealed)

    async def publish_full(self) -> None:
        """Make what is full durable; what fails stays for the next attempt."""
        for name, content in list(self._sealed.items()):
            await publish_own(self._store, name, content)
            await publish_own(self._store, copy_name(name), content)
            self._sealed.pop(name, None)

    async def flush(self) -> None:
        """Make every page durable."""
        if self._open:
            self._seal()
        await self.publish_full()

    async def discard(self) -> None:
        """Delete the objects of this session."""
        self._open, self._sealed = bytearray(), {}
        for number in range(1, self._own + 1):
            await discard_twice(self._store, map_name(self._session, number))
