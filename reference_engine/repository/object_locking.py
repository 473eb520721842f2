"""What the store has to keep, whoever asks for its deletion: locks on every object that counts.

Every object is put under a lock. As points of later stretches of time go on using it, its lock has
to be prolonged: whoever is about to commit a point, and finds that nobody has done so in this
stretch, prolongs the lock of everything that is not swept: whatever his point uses is among it, or
was put in this stretch, with a lock that is as long. The header comes last, so that its lock says
what all others have; whoever dies before leaves all of it to the next one.

What is swept is never prolonged again, nor are key slots that open nothing, nor keys of domains
that were shredded.
"""

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.object_locks import LockRule, ObjectLocks, locks_of
from reference_engine.repository.access import Keys
from reference_engine.repository.codec import PointCommittedEntry
from reference_engine.repository.domain_names import keyed_domain
from reference_engine.repository.header import HEADER_NAME
from reference_engine.repository.keys.slots import is_slot_object, slot_names
from reference_engine.repository.log import Log
from reference_engine.repository.segmented_store import parity_name
from reference_engine.repository.settings import Settings


class HeldObjects:
    """The locks of one opened repository."""

    def __init__(
        self, store: BlobStore, locks: ObjectLocks, rule: LockRule, log: Log, keys: Keys | None, /
    ) -> None:
        self._store, self._locks, self._rule = store, locks, rule
        self._log, self._keys = log, keys
        self._held = 0

    async def hold(self) -> None:
        """Let everything that a point made by now may use be locked for the whole period.

        Raises:
            RefusedError: the store does not let these credentials prolong locks.
            TransientError: the store failed; what is left is done by the next call.
        """
        end = self._rule.end(self._locks.now())
        if self._held >= end:
            return
        known = await self._locks.until(HEADER_NAME)
        if known is None or known < end:
            await self._locks.extend(await self._names(), until=end)
        elif not self._has_points():
            # Slots are older than the header, and perhaps of the stretch before.
            await self._locks.extend(await self._slots(), until=end)
        await self._locks.extend((HEADER_NAME,), until=end)
        self._held = end

    def _has_points(self) -> bool:
        return any(isinstance(e, PointCommittedEntry) for e in self._log.history.entries)

    async def _names(self) -> tuple[str, ...]:
        """Return every object that may count but the header itself."""
        history = self._log.history
        prefix = parity_name("")
        others = tuple(
            name
            for name in await self._store.names("")
            if name != HEADER_NAME
            and not is_slot_object(name)
            and not history.is_swept(name.removeprefix(prefix))
            and keyed_domain(name) not in history.shredded
        )
        return others + await self._slots()

    async def _slots(self) -> tuple[str, ...]:
        """Return both copies of every key slot that counts."""
        standing = () if self._keys is None else await self._keys.slots()
        return tuple(name for view in standing for name in slot_names(view.slot))


def begun(
    store: BlobStore, settings: Settings, log: Log, keys: Keys | None, /
) -> HeldObjects | None:
    """Return the locks that are put on objects from now on; None: the repository wants none.

    None also where the store has none: a copy of a bucket in a directory can be read and written.
    """
    rule, locks = settings.lock_rule, locks_of(store)
    if rule is None or locks is None:
        return None
    locks.begin(rule)
    return HeldObjects(store, locks, rule, log, keys)


async def proven(store: BlobStore, settings: Settings, /) -> None:
    """Return only if the store locks objects as the settings of a new repository want it.

    Raises:
        RefusedError: it does not.
        TransientError: the store failed.
    """
    rule, locks = settings.lock_rule, locks_of(store)
    if rule is not None and locks is not None:
        await locks.prove(rule)
