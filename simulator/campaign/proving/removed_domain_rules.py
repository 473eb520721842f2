"""Rules about dedup domains taken away, one at a time."""

from typing import Any

from reference_engine.repository import domains
from reference_engine.repository.codec import copy_name
from reference_engine.repository.domain_keys import key_names
from reference_engine.repository.domain_names import DOMAINS
from reference_engine.repository.domains import Domains
from reference_engine.repository.log import Log
from reference_engine.repository.publish import publish_own
from reference_engine.repository.segmented_store import SegmentedStore
from simulator.campaign.planted_bugs import Patch


def domain_before_key() -> list[Patch]:
    """The log counts a domain before its key is there."""
    append = Log.append
    held_back: list[tuple[Any, ...]] = []

    async def publish(*publication: Any) -> None:
        held_back.append(publication)

    async def append_and_publish(self: Any, decide: Any, /) -> Any:
        entry = await append(self, decide)
        while held_back:
            await publish_own(*held_back.pop(0))
        return entry

    return [(domains, "publish_own", publish), (Log, "append", append_and_publish)]


def domain_key_deleted_first() -> list[Patch]:
    """A domain's key goes before the log counts the domain no more."""
    shred = Domains.shred

    async def eager(self: Any, name: str, /, **options: Any) -> Any:
        await self._log.refresh()
        domain = self._log.history.domain_named(name)
        for each in key_names(domain) if domain else ():
            await self._store.delete(each)
        return await shred(self, name, **options)

    return [(Domains, "shred", eager)]


def domain_key_copy_left() -> list[Patch]:
    """Of a shredded domain's key one object only is deleted."""
    delete = SegmentedStore.delete

    async def spare(self: Any, name: str, /) -> None:
        if not name.startswith(copy_name(DOMAINS)):
            await delete(self, name)

    return [(SegmentedStore, "delete", spare)]


def domain_key_left_to_reclaim() -> list[Patch]:
    """A shred is acknowledged with the key still there, for the next reclaim to delete."""
    clear, shred = Domains.clear, Domains.shred
    shredding: list[str] = []

    async def put_off(self: Any) -> dict[str, str]:
        return {} if shredding else await clear(self)

    async def shred_without_deletion(self: Any, name: str, /, **options: Any) -> Any:
        shredding.append(name)
        try:
            return await shred(self, name, **options)
        finally:
            shredding.clear()

    return [(Domains, "clear", put_off), (Domains, "shred", shred_without_deletion)]


def domain_points_one_by_one() -> list[Patch]:
    """Points of a domain that is shredded go one after the other."""
    shred = Domains.shred

    async def shred_the_rest(self: Any, name: str, /, *, reclaim: Any, at: Any) -> Any:
        await self._log.refresh()
        domain = self._log.history.domain_named(name)
        for entry in self._log.history.live_in(domain) if domain else ():
            await reclaim.expire((entry.point,), at=at, allow_last=True)
        return await shred(self, name, reclaim=reclaim, at=at)

    return [(Domains, "shred", shred_the_rest)]


def unclaimed_domain_keys_left() -> list[Patch]:
    """A key that no entry speaks of stays for ever."""

    async def none(_: Any) -> tuple[str, ...]:
        return ()

    return [(Domains, "unclaimed", none)]
