"""The store of a repository with features: what goes through it is sealed, and mended on reading.

The rest of the engine sees the contents of objects, under the same names and of the lengths that
it wrote. Only header and key slots pass as they are: they are read before there is a key.
"""

from collections import OrderedDict
from typing import Final

from reference_engine.model.errors import CorruptionError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.codec import ANCHORS, INDEX
from reference_engine.repository.domain_keys import DomainKeys
from reference_engine.repository.domain_names import domain_of, only_of
from reference_engine.repository.envelope import (
    HEAD_SIZE,
    SEGMENT,
    TAG,
    Head,
    ObjectCipher,
    Sealing,
    SegmentDamagedError,
    content_length,
    decode_head,
    opened,
    sealed,
)
from reference_engine.repository.group_parity import PackGroups
from reference_engine.repository.header import HEADER_COPIES, HEADER_NAME
from reference_engine.repository.mending import MENDS
from reference_engine.repository.parity import SECTOR_MAX, ParityPlan, mended, parity_of
from reference_engine.repository.publish import publish, publish_own

PARITY: Final = "parity/"
_PACKS: Final = "packs/"
"""What there is no second copy of, and more than space would be lost with."""

_RENEWED: Final = "parity/renewed/"
_BUILT_ON: Final = ("points/", INDEX, ANCHORS, MENDS)
"""What lets points, or later runs, build on the packs before it."""

_HEADS_MAX: Final = 4096
_MENDED_MAX: Final = 2
"""Whole objects that stay in memory because the stored ones are damaged."""

_TRIES: Final = 3
"""What one task has mended another one may push out of memory before it was read."""

_CLEAR: Final = (HEADER_NAME, *HEADER_COPIES)
_CLEAR_BELOW: Final = ("keys/", "copies/keys/", PARITY)


class SegmentedStore(BlobStore):
    """Objects in sealed segments over another store, with parity or without."""

    def __init__(
        self,
        store: BlobStore,
        sealing: Sealing,
        /,
        *,
        parity: ParityPlan | None,
        executor: Executor,
        domains: DomainKeys | None = None,
    ) -> None:
        self._store, self._sealing, self._domains = store, sealing, domains
        self._parity, self._executor = parity, executor
        grouped = 0 if parity is None else parity.group
        self._groups = PackGroups(store, grouped) if grouped else None
        self._heads: OrderedDict[str, tuple[Head, ObjectCipher]] = OrderedDict()
        self._whole: OrderedDict[str, bytes] = OrderedDict()
        self._hopeless: set[str] = set()
        self._mended: dict[str, int] = {}

    @property
    def mended(self) -> dict[str, int]:
        """How many sectors of which objects were restored from parity, as they were read."""
        return dict(self._mended)

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store `content` durably under `name`; return False, changing nothing, if it exists."""
        if _is_clear(name):
            return await self._store.create(name, content)
        await self._with_key(name)
        if self._groups is not None and name.startswith(_BUILT_ON):
            await self._groups.close()
        [stored] = await self._executor.offload_all([lambda: sealed(self._sealing, name, content)])
        created = await self._store.create(name, stored)
        plan = self._parity if name.startswith(_PACKS) else None
        # After a lost answer the object is ours, and its parity may be missing.
        if plan is not None and (created or await self._store.read(name) == bytes(stored)):
            [parity] = await self._executor.offload_all([lambda: parity_of(plan, stored)])
            await publish(self._store, parity_name(name), parity)
            if self._groups is not None:
                await self._groups.add(name, stored)
        return created

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None where there is none.

        One that cannot be opened is empty: whoever reads whole objects checks their seal anyhow,
        and goes on with another copy where there is one.
        """
        if _is_clear(name):
            return await self._store.read(name)
        stored = await self._store.read(name)
        content = None if stored is None else await self._opened(name, stored)
        if content is None and await self._mend(name, stored):
            content = await self._opened(name, self._whole[name])
        return b"" if content is None and stored is not None else content

    async def learn(self, domain: str, /) -> bool:
        """Know the key of a domain, if it is one; return False where it cannot be had.

        Raises:
            TransientError: the store failed.
        """
        if self._domains is None or not domain:
            return not domain
        return self._domains.knows(domain) or (
            await self._domains.learn(domain, self.read) is not None
        )

    def forget(self, domain: str, /) -> None:
        """Know the key of a domain no more, nor any that follows from it."""
        if self._domains is not None and self._domains.knows(domain):
            self._domains.forget(domain)
            for name in only_of(domain, self._heads):
                del self._heads[name]

    async def _with_key(self, name: str) -> None:
        """Know the key of the domain that the object is of, if it is of one and the key is there.

        Other engines add domains meanwhile, so it is looked for when it is needed.
        """
        domain = domain_of(name)
        if domain:
            await self.learn(domain)

    async def _opened(self, name: str, stored: bytes) -> bytes | None:
        await self._with_key(name)
        try:
            head = decode_head(stored[:HEAD_SIZE])
            if head.stored != len(stored):
                return None
            cipher = self._sealing.resume(name, head)
            [content] = await self._executor.offload_all(
                [lambda: opened(cipher, 0, memoryview(stored)[HEAD_SIZE:])]
            )
        except SegmentDamagedError:
            return None
        return bytes(content)

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            CorruptionError: the object is missing, shorter, or not what was stored.
        """
        if _is_clear(name):
            return await self._store.read_range(name, offset=offset, length=length)
        for _ in range(_TRIES):
            try:
                return await self._range(name, offset, length)
            except (CorruptionError, SegmentDamagedError) as error:
                failure = error
            if not self._can_mend(name) or not await self._mend(name, await self._store.read(name)):
                break
        raise _said(name, failure) from failure

    async def _range(self, name: str, offset: int, length: int) -> bytes:
        head, cipher = await self._head(name)
        if offset + length > head.length:
            raise CorruptionError(f"object {name} ends at byte {head.length}")
        if not length:
            return b""
        first, last = offset // SEGMENT, (offset + length - 1) // SEGMENT
        start = HEAD_SIZE + first * (SEGMENT + TAG)
        end = min(HEAD_SIZE + (last + 1) * (SEGMENT + TAG), head.stored)
        stored = await self._fetch(name, start, end - start)
        [content] = await self._executor.offload_all([lambda: opened(cipher, first, stored)])
        at = offset - first * SEGMENT
        return bytes(content[at : at + length])

    async def _head(self, name: str) -> tuple[Head, ObjectCipher]:
        known = self._heads.get(name)
        if known is None:
            head = decode_head(await self._fetch(name, 0, HEAD_SIZE))
            await self._with_key(name)
            known = self._heads[name] = head, self._sealing.resume(name, head)
            while len(self._heads) > _HEADS_MAX:
                self._heads.popitem(last=False)
        return known

    async def _fetch(self, name: str, offset: int, length: int) -> bytes:
        whole = self._whole.get(name)
        if whole is None:
            return await self._store.read_range(name, offset=offset, length=length)
        return whole[offset : offset + length]

    def _can_mend(self, name: str) -> bool:
        """Return whether there may be parity, and it was not tried in vain before."""
        protected = self._parity is not None and name.startswith(_PACKS)
        return protected and name not in self._hopeless

    async def _mend(self, name: str, stored: bytes | None) -> bool:
        """Have the object whole in memory, restored from its parity; return whether it could be."""
        if name in self._whole:
            return True
        if not self._can_mend(name):
            return False
        found = await self._own_mended(name, stored)
        if found is None:
            pack = await self._store.read(_RENEWED + name)
            if pack is None and self._groups is not None:
                pack = await self._groups.restored(name, self._best)
            found = None if pack is None else (pack, -(-len(pack) // SECTOR_MAX))
        if found is None:
            self._hopeless.add(name)
            return False
        self._whole[name], self._mended[name] = found
        self._heads.pop(name, None)
        while len(self._whole) > _MENDED_MAX:
            self._whole.popitem(last=False)
        return True

    async def _own_mended(self, name: str, stored: bytes | None) -> tuple[bytes, int] | None:
        """Return the object restored from the parity that stands by it, if anything was lost."""
        parity = await self._store.read(parity_name(name))
        if parity is None:
            return None
        [found] = await self._executor.offload_all([lambda: mended(stored or b"", parity)])
        return found if found is not None and found[1] else None

    async def _best(self, name: str) -> bytes | None:
        """Return another object as it was stored, mended where that is possible."""
        stored = await self._store.read(name)
        found = await self._own_mended(name, stored)
        return stored if found is None else found[0]

    async def renew(self, name: str, /) -> bytes | None:
        """Store an object of `mended` as it was; return the damaged bytes, None where it cannot be.

        Killed in between, the object is read from what was put beside it before it went.

        Raises:
            TransientError, RefusedError: the store failed, or cannot be written to.
        """
        damaged = await self._store.read(name)
        if not await self._mend(name, damaged):
            return None
        whole = self._whole[name]
        if await self._opened(name, whole) is None:
            return None
        await publish(self._store, _RENEWED + name, whole)
        await self._replace(name, whole)
        await self.protect(name)
        for held in (self._heads, self._whole, self._mended):
            held.pop(name, None)
        return damaged or b""

    async def _replace(self, name: str, content: bytes | bytearray) -> None:
        if await self._store.read(name) != content:
            await self._store.delete(name)
            await publish_own(self._store, name, content)

    async def unprotected(self, packs: tuple[str, ...], /) -> tuple[str, ...]:
        """Return those of the packs beside which no parity stands although it should."""
        if self._parity is None:
            return ()
        parities = {*await self._store.names(parity_name(_PACKS))}
        return tuple(name for name in packs if parity_name(name) not in parities)

    async def protect(self, name: str, /) -> bool:
        """Let the right parity stand beside a pack; return False where the pack is not sound.

        Raises:
            TransientError, RefusedError: the store failed, or cannot be written to.
        """
        assert self._parity is not None, name
        plan, stored = self._parity, await self._store.read(name)
        if stored is None or await self._opened(name, stored) is None:
            return False
        [parity] = await self._executor.offload_all([lambda: parity_of(plan, stored)])
        await self._replace(parity_name(name), parity)
        await self._store.delete(_RENEWED + name)
        return True

    async def make_durable(self, name: str, /) -> None:
        """Let an object that was read survive a power cut."""
        await self._store.make_durable(name)

    async def tidy(self) -> None:
        """Remove what writers that died left behind."""
        await self._store.tidy()
        for renewed in await self._store.names(_RENEWED):
            # Where the pack is not there, or not sound, it is all that is left.
            await self.protect(renewed.removeprefix(_RENEWED))

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending; parity is nobody's business."""
        found = await self._store.names(prefix)
        return tuple(name for name in found if not name.startswith(PARITY))

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return the length in bytes of every object's content; parity is nobody's business."""
        found = await self._store.sizes(prefix)
        return {
            name: stored if _is_clear(name) else content_length(stored)
            for name, stored in found.items()
            if not name.startswith(PARITY)
        }

    async def delete(self, name: str, /) -> None:
        """Remove an object; true also where there is none."""
        # In this order: an object is never restored from parity after it was removed.
        if self._parity is not None and name.startswith(_PACKS):
            await self._store.delete(_RENEWED + name)
            await self._store.delete(parity_name(name))
        await self._store.delete(name)
        if self._groups is not None and name.startswith(_PACKS):
            await self._groups.forget(name)
        self._heads.pop(name, None)
        self._whole.pop(name, None)


def parity_name(name: str, /) -> str:
    """Return the name of the parity that stands by an object."""
    return PARITY + name


def _is_clear(name: str) -> bool:
    return name in _CLEAR or name.startswith(_CLEAR_BELOW)


def _said(name: str, error: Exception) -> CorruptionError:
    if isinstance(error, CorruptionError):
        return error
    return CorruptionError(f"object {name}: {error}")
