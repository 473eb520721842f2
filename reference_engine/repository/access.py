"""Who can open an encrypted repository: key slots, changed so that nobody is locked out.

Slots are objects outside the log, because they are read before there is a key. Which of them
count as removed is decided by the log: whoever removes one has read every removal before, so that
two of them cannot take the last two slots away together. A new master key counts from its log
entry on: of two rotations at once, one wins, and the slot of the other opens nothing new.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor, RandomStream
from reference_engine.repository.codec import Entry
from reference_engine.repository.history import History
from reference_engine.repository.key_entries import KeyChange, KeyChangedEntry
from reference_engine.repository.keys.errors import (
    KeyRetiredError,
    LastSlotError,
    SlotsFullError,
    SlotUnknownError,
    WrongKeyError,
)
from reference_engine.repository.keys.keyring import Keyring
from reference_engine.repository.keys.material import Secret, SlotKind
from reference_engine.repository.keys.slots import (
    GENERATIONS_MAX,
    Access,
    Slot,
    add_slot,
    delete_slot,
    read_slots,
    slot_label,
)
from reference_engine.repository.log import Log
from reference_engine.repository.renewal_entries import LogRenewedEntry


class SlotView(NamedTuple):
    """One way into the repository, as its owners see it."""

    slot: str
    kind: SlotKind
    label: str
    opened: bool
    """Whether the repository was opened by it."""


class Keys:
    """The ways into one opened repository.

    Raises:
        WrongKeyError, KeyRetiredError: the slot that was opened counts no more.
    """

    def __init__(
        self, store: BlobStore, log: Log, keyring: Keyring, /, *, executor: Executor
    ) -> None:
        self._store, self._log, self._executor = store, log, executor
        self._keyring = keyring
        self._repository = keyring.repository
        if keyring.slot.slot in removed_slots(log.history.entries):
            raise WrongKeyError
        keyring.settle(rotations(log.history.entries))

    @property
    def master_keys(self) -> int:
        """How many master keys there are; the newest seals what is written."""
        return self._keyring.sealing

    async def slots(self) -> tuple[SlotView, ...]:
        """Return every slot that counts, by name.

        Raises:
            LogDamagedError: the history is not what was written.
        """
        await self._log.refresh()
        first = self._keyring.generations[0]
        return tuple(
            SlotView(
                slot=slot.slot,
                kind=slot.kind,
                label=slot_label(slot, first),
                opened=slot.slot == self._keyring.slot.slot,
            )
            for slot in await self._standing(self._log.history.entries)
        )

    async def _standing(self, entries: Sequence[Entry]) -> tuple[Slot, ...]:
        gone = removed_slots(entries)
        newest = 1 + len(rotations(entries))
        found = await read_slots(self._store, self._repository)
        standing = {s.slot: s for s in found if s.slot not in gone and s.generation >= newest}
        return tuple(standing.values())

    async def add(self, access: Access, /, *, chance: RandomStream) -> str:
        """Return the name of a new slot that opens the repository from now on.

        Raises:
            SlotsFullError: there are as many as there may be.
            TransientError, RefusedError: the store failed.
        """
        masters = self._keyring.generations[: self._keyring.sealing]
        slot = await self._made(access, masters, chance)
        await self._log.append(lambda _: KeyChangedEntry(change=KeyChange.ADDED, slot=slot.slot))
        return slot.slot

    async def _made(
        self, access: Access, masters: tuple[Secret, ...], chance: RandomStream
    ) -> Slot:
        return await add_slot(
            self._store,
            access,
            masters,
            repository=self._repository,
            chance=chance,
            executor=self._executor,
        )

    async def remove(self, slot: str, /) -> None:
        """Let this slot open the repository no more; what it opened so far may be known for ever.

        Called again, also after an error or a crash, it does what is left to do.

        Raises:
            SlotUnknownError: there is none of this name.
            LastSlotError: nobody could open the repository any more.
            TransientError: the store failed.
        """
        present = await read_slots(self._store, self._repository)

        def decide(history: History) -> Entry | None:
            gone = removed_slots(history.entries)
            if slot in gone:
                return None
            if slot not in {each.slot for each in present}:
                raise SlotUnknownError(slot)
            newest = 1 + len(rotations(history.entries))
            left = [s for s in present if s.slot not in {*gone, slot} and s.generation >= newest]
            if not left:
                raise LastSlotError(slot)
            return KeyChangedEntry(change=KeyChange.REMOVED, slot=slot)

        await self._log.append(decide)
        await self.clear()

    async def named(self, beginning: str, /) -> str:
        """Return the one slot whose name begins so: one that counts, else one that was removed.

        What fits none or several is returned as it is.
        """
        standing = [view.slot for view in await self.slots()]
        for names in (standing, removed_slots(self._log.history.entries)):
            fitting = [name for name in names if beginning and name.startswith(beginning.lower())]
            if fitting:
                return fitting[0] if len(fitting) == 1 else beginning
        return beginning

    async def clear(self) -> None:
        """Leave no object of a slot that the log does not count any more; whoever was to may die.

        Slots of attempts to create the repository that came to nothing go too: its header stands.

        Raises:
            TransientError, RefusedError: the store failed; what is left opens nothing.
        """
        await self._log.settle()
        entries = self._log.history.entries
        gone, newest = removed_slots(entries), 1 + len(rotations(entries))
        for each in await read_slots(self._store, None):
            ours = each.repository == self._repository
            if not ours or each.slot in gone or each.generation < newest:
                await delete_slot(self._store, each.slot)

    async def replace(self, access: Access, /, *, chance: RandomStream) -> str:
        """Return the name of a new slot, which takes the place of the one that was opened.

        Raises:
            SlotsFullError, TransientError, RefusedError: as `add`; the old slot still opens.
        """
        name = await self.add(access, chance=chance)
        await self.remove(self._keyring.slot.slot)
        return name

    async def rotate_master(self, access: Access, /, *, chance: RandomStream) -> str:
        """Return the name of the one slot that opens the repository from now on.

        It holds a new master key, which seals everything from here on, and all former ones, which
        open what there is. Every other slot is removed: its owner may know the old key only.

        Raises:
            KeyRetiredError: another rotation was quicker; open the repository again.
            SlotsFullError: the master key was rotated as often as can be.
            TransientError, RefusedError: the store failed.
        """
        ring = self._keyring
        masters = (*ring.generations[: ring.sealing], Secret.drawn(chance))
        if len(masters) > GENERATIONS_MAX:
            raise SlotsFullError(GENERATIONS_MAX)
        slot = await self._made(access, masters, chance)
        # Until the log counts our master key, no slot with as many keys is anybody's last word.
        before = [each.slot for each in await read_slots(self._store, self._repository)]
        successor = Keyring(self._repository, masters, slot=slot)
        fingerprint = successor.fingerprint(len(masters))

        def decide(history: History) -> Entry | None:
            known = rotations(history.entries)
            if fingerprint in known:
                return None
            if len(known) + 2 != len(masters):
                raise KeyRetiredError
            return KeyChangedEntry(
                change=KeyChange.ROTATED, slot=slot.slot, fingerprint=fingerprint
            )

        await self._log.append(decide)
        for each in before:
            if each != slot.slot:
                await delete_slot(self._store, each)
        await self.clear()
        return slot.slot


def removed_slots(entries: Iterable[Entry], /) -> tuple[str, ...]:
    """Return the names of the slots that were removed, in their order."""
    found: list[str] = []
    for entry in entries:
        if isinstance(entry, LogRenewedEntry):
            found += entry.removed
        elif isinstance(entry, KeyChangedEntry) and entry.change is KeyChange.REMOVED:
            found.append(entry.slot)
    return tuple(found)


def rotations(entries: Iterable[Entry], /) -> tuple[str, ...]:
    """Return the fingerprints of every master key but the first, in their order."""
    found: list[str] = []
    for entry in entries:
        if isinstance(entry, LogRenewedEntry):
            found += entry.rotated
        elif isinstance(entry, KeyChangedEntry) and entry.change is KeyChange.ROTATED:
            found.append(entry.fingerprint)
    return tuple(found)
