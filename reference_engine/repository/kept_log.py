"""The log's older entries, kept on this machine: nobody asks a bucket for a million objects twice.

Entries are write-once, so what was read of one stays true as long as the store has it. Their bytes
are kept as they are stored, sealed where the repository is encrypted, in parts of as many entries
each. The newest entry that is kept is asked for at each opening, and where the store has another
one, or none, everything kept is forgotten. The log checks each entry and the chain through all of
them, wherever they come from. A check of the repository does without: it is to see what is lost.
"""

import re
from typing import Final

from blake3 import blake3

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.local_cache import LocalCache, Range
from reference_engine.repository.codec import log_name

PART: Final = 1024
"""So many entries are kept together; what has not as many is asked for again."""

_ENTRY: Final = re.compile("log/([0-9]{10})")
_BYTES_MAX: Final = 1 << 26
_LENGTH: Final = 4
_SUM: Final = 16
_HELD_MAX: Final = 2
"""Parts in memory: entries are read in order, some at a time."""


class KeptLog(BlobStore):
    """Another store, of which the log's older entries are read from a cache."""

    def __init__(
        self, store: BlobStore, cache: LocalCache, group: str, /, *, parts: int, part: int
    ) -> None:
        self._store, self._cache, self._group = store, cache, group
        self._kept, self._part = parts, part
        self._held: dict[int, list[bytes]] = {}
        self._fresh: dict[int, bytes] | None = {}
        """Entries that were read from the store and will be kept; None: no more are."""

    @classmethod
    async def opened(
        cls, store: BlobStore, cache: LocalCache, /, *, repository: str, part: int = PART
    ) -> "KeptLog":
        """Return the store with what is kept of this repository's log.

        Raises:
            TransientError: the store failed.
        """
        group = blake3(f"log {part} {repository}".encode()).hexdigest(length=16)
        names = await cache.names(group)
        parts = next(
            (number for number, name in enumerate(names) if name != _name(number)), len(names)
        )
        found = cls(store, cache, group, parts=parts, part=part)
        if parts:
            entries = await found._entries(parts - 1)
            if entries is None or entries[-1] != await store.read(log_name(parts * part)):
                for name in names:
                    await cache.forget(group, name)
                found = cls(store, cache, group, parts=0, part=part)
        return found

    def done(self) -> None:
        """Keep nothing that is read from here on; what was kept is still read."""
        self._fresh = None
        self._held.clear()

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None where there is none."""
        match = _ENTRY.fullmatch(name)
        number = int(match[1]) if match else 0
        # The newest that is kept was asked for; whether it is there still is asked of the store.
        if 0 < number < self._kept * self._part:
            which, inside = divmod(number - 1, self._part)
            entries = await self._entries(which)
            if entries is not None:
                return entries[inside]
        content = await self._store.read(name)
        if number and content is not None and self._fresh is not None:
            await self._keep(self._fresh, number, content)
        return content

    async def _keep(self, fresh: dict[int, bytes], number: int, content: bytes) -> None:
        """Take note of an entry; a part that is whole by it is kept."""
        fresh[number] = content
        which = (number - 1) // self._part
        numbers = range(which * self._part + 1, (which + 1) * self._part + 1)
        if len(fresh) < self._part or not all(each in fresh for each in numbers):
            return
        packed = b"".join(
            len(each).to_bytes(_LENGTH, "little") + each for each in map(fresh.pop, numbers)
        )
        await self._cache.keep(self._group, _name(which), packed + blake3(packed).digest(_SUM))

    async def _entries(self, which: int) -> list[bytes] | None:
        """Return the entries of a part, or None where they are not kept as they were."""
        if which not in self._held:
            whole = Range(_name(which), 0, _BYTES_MAX)
            [content] = await self._cache.read(self._group, [whole])
            entries = _unpacked(content)
            if len(entries) != self._part:
                return None
            while len(self._held) >= _HELD_MAX:
                del self._held[next(iter(self._held))]
            self._held[which] = entries
        return self._held[which]

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Do what the store does."""
        return await self._store.create(name, content)

    async def make_durable(self, name: str, /) -> None:
        """Do what the store does."""
        await self._store.make_durable(name)

    async def tidy(self) -> None:
        """Do what the store does."""
        await self._store.tidy()

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return what the store returns."""
        return await self._store.read_range(name, offset=offset, length=length)

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return what the store returns."""
        return await self._store.names(prefix)

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return what the store returns."""
        return await self._store.sizes(prefix)

    async def delete(self, name: str, /) -> None:
        """Do what the store does."""
        await self._store.delete(name)


def _name(part: int) -> str:
    return f"{part:010d}"


def _unpacked(content: bytes) -> list[bytes]:
    """Return the entries of a part; none where it is not what was kept."""
    packed, checked = content[:-_SUM], content[-_SUM:]
    if blake3(packed).digest(_SUM) != checked:
        return []
    entries: list[bytes] = []
    at = 0
    while at < len(packed):
        length = int.from_bytes(packed[at : at + _LENGTH], "little")
        at += _LENGTH
        entries.append(packed[at : at + length])
        at += length
    return entries
