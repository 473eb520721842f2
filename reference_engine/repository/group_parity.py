"""Parity over groups of packs: one lost pack of a group is the exclusive or of all the others.

A group is closed when it is full, and before a manifest, a portion of the index or a list of mended
blocks is published: whatever a point refers to, or others build on, is in a closed group by then.
Packs of several runs may share one. A group protects as long as all of its packs exist; once none
of them does, it goes too.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.repository.publish import publish

GROUPS: Final = "parity/groups/"
_MAGIC: Final = b"TWINGRP2"
_CHECKSUM: Final = 16
_HEAD_MAX: Final = 1 << 20


class Member(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One pack of a group, as it is stored."""

    name: str
    length: int
    digest: str


Whole = Callable[[str], Awaitable[bytes | None]]
"""Returns a pack as it was stored, as well as it can be had."""


def _xor(into: npt.NDArray[np.uint8], content: bytes | bytearray) -> npt.NDArray[np.uint8]:
    """Return the exclusive or; the shorter one goes on with zeros."""
    if len(into) < len(content):
        into = np.concatenate((into, np.zeros(len(content) - len(into), np.uint8)))
    into[: len(content)] ^= np.frombuffer(content, np.uint8)
    return into


def _member(name: str, content: bytes | bytearray) -> Member:
    return Member(name=name, length=len(content), digest=blake3(content).hexdigest())


class PackGroups:
    """The groups of one repository; at most one is open, and in memory."""

    def __init__(self, store: BlobStore, size: int, /) -> None:
        assert size >= 1, size
        self._store, self._size = store, size
        self._members: dict[str, Member] = {}
        self._open = np.zeros(0, np.uint8)
        self._closed: dict[str, tuple[Member, ...]] | None = None

    async def add(self, name: str, content: bytes | bytearray, /) -> None:
        """Take a pack that is durable; once more is as good as once.

        Raises:
            TransientError, RefusedError: the store failed; nothing of the group is lost.
        """
        if name not in self._members:
            self._members[name] = _member(name, content)
            self._open = _xor(self._open, content)
        if len(self._members) >= self._size:
            await self.close()

    async def close(self) -> None:
        """Make the parity of what was added durable.

        Raises:
            TransientError, RefusedError: the store failed; close again.
        """
        members, parity = self._members, self._open
        if not members:
            return
        self._members, self._open = {}, np.zeros(0, np.uint8)
        listed = msgspec.json.encode(tuple(members.values()))
        head = _MAGIC + len(listed).to_bytes(4, "little") + listed
        content = head + blake3(head).digest(length=_CHECKSUM) + parity.tobytes()
        name = GROUPS + next(iter(members)).rpartition("/")[2]
        try:
            await publish(self._store, name, content)
        except BaseException:
            self._open = _xor(parity, self._open.tobytes())
            self._members = {**members, **self._members}
            raise
        if self._closed is not None:
            self._closed[name] = tuple(members.values())

    async def restored(self, name: str, whole: Whole, /) -> bytes | None:
        """Return a pack as it was stored, from all the others of its group; None: it cannot be."""
        for group, members in (await self._all()).items():
            lost = next((member for member in members if member.name == name), None)
            if lost is None:
                continue
            content = await self._store.read(group)
            start = None if content is None else _start(content)
            if content is None or start is None:
                continue
            found = np.frombuffer(content, np.uint8, offset=start).copy()
            for member in members:
                other = b"" if member is lost else await whole(member.name)
                if other is None or (member is not lost and _member(member.name, other) != member):
                    break
                found = _xor(found, other)
            else:
                pack = found[: lost.length].tobytes()
                if _member(name, pack) == lost:
                    return pack
        return None

    async def forget(self, name: str, /) -> None:
        """Note that a pack is deleted; the last one of a closed group takes the parity with it."""
        if name in self._members:
            # What it adds to the parity cannot be told from the rest, so the rest begins anew.
            others = [other for other in self._members if other != name]
            self._members, self._open = {}, np.zeros(0, np.uint8)
            for other in others:
                content = await self._store.read(other)
                if content is not None:
                    await self.add(other, content)
        for group, members in list((await self._all()).items()):
            names = [member.name for member in members]
            if name in names and not [n for n in names if n != name and await self._exists(n)]:
                await self._store.delete(group)
                (await self._all()).pop(group, None)

    async def _exists(self, name: str) -> bool:
        try:
            await self._store.read_range(name, offset=0, length=1)
        except CorruptionError:
            return False
        return True

    async def _all(self) -> dict[str, tuple[Member, ...]]:
        """Return every closed group with its packs, read when first asked for."""
        if self._closed is None:
            found: dict[str, tuple[Member, ...]] = {}
            for group in await self._store.names(GROUPS):
                members = await self._listed(group)
                if members:
                    found[group] = members
            self._closed = found
        return self._closed

    async def _listed(self, group: str) -> tuple[Member, ...]:
        try:
            start = await self._store.read_range(group, offset=0, length=12)
            size = int.from_bytes(start[8:], "little")
            if size > _HEAD_MAX:
                return ()
            head = await self._store.read_range(group, offset=0, length=12 + size + _CHECKSUM)
        except CorruptionError:
            return ()
        return _members(head) if _start(head) is not None else ()


def _start(content: bytes) -> int | None:
    """Return where the parity begins, if what stands before it is sound."""
    end = 12 + int.from_bytes(content[8:12], "little")
    sound = content[end : end + _CHECKSUM] == blake3(content[:end]).digest(length=_CHECKSUM)
    return end + _CHECKSUM if content[:8] == _MAGIC and sound else None


def _members(head: bytes) -> tuple[Member, ...]:
    try:
        return msgspec.json.decode(head[12:-_CHECKSUM], type=tuple[Member, ...])
    except ValueError:  # msgspec's errors are ValueErrors
        return ()
