"""Rules about key slots taken away, one at a time."""

from typing import Any

from reference_engine.repository.access import Keys
from reference_engine.repository.key_entries import KeyChange, KeyChangedEntry
from reference_engine.repository.keys import slots
from reference_engine.repository.keys.slots import delete_slot, read_slots
from reference_engine.repository.publish import publish_own
from simulator.campaign.planted_bugs import Patch


async def _nothing(*_: object, **__: object) -> None:
    """Leave a rule out."""


def old_slot_first() -> list[Patch]:
    """The slot that is replaced goes before the new one is there."""

    async def replace(self: Any, access: Any, /, *, chance: Any) -> str:
        old = self._keyring.slot.slot
        await delete_slot(self._store, old)
        name: str = await self.add(access, chance=chance)
        entry = KeyChangedEntry(change=KeyChange.REMOVED, slot=old)
        await self._log.append(lambda _: entry)
        return name

    return [(Keys, "replace", replace)]


def slots_deleted_before_rotation() -> list[Patch]:
    """Slots of the old master key go before the log counts the new one."""
    rotate = Keys.rotate_master

    async def eager(self: Any, access: Any, /, *, chance: Any) -> str:
        for each in await read_slots(self._store, self._repository):
            await delete_slot(self._store, each.slot)
        return await rotate(self, access, chance=chance)

    return [(Keys, "rotate_master", eager)]


def rotation_before_slot() -> list[Patch]:
    """The log counts a new master key before a slot holds it."""
    rotate, clear = Keys.rotate_master, Keys.clear
    rotating: list[Any] = []
    held_back: list[tuple[Any, ...]] = []

    async def publish(*publication: Any) -> None:
        if rotating:
            held_back.append(publication)
        else:
            await publish_own(*publication)

    async def rotate_without_slot(self: Any, access: Any, /, *, chance: Any) -> str:
        rotating.append(self)
        return await rotate(self, access, chance=chance)

    async def publish_and_clear(self: Any) -> None:
        rotating.clear()
        while held_back:
            await publish_own(*held_back.pop())
        await clear(self)

    return [
        (slots, "publish_own", publish),
        (Keys, "rotate_master", rotate_without_slot),
        (Keys, "clear", publish_and_clear),
    ]


def removed_slots_left() -> list[Patch]:
    """Objects of slots that the log counts no more are left to whoever removed them."""
    return [(Keys, "clear", _nothing)]
