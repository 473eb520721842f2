"""A store in memory whose objects can be locked, and whose calendar is the test's."""

from collections.abc import Sequence

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import ObjectLockedError, OperationFailedError
from reference_engine.model.units import Instant
from reference_engine.ports.object_locks import LockRule, ObjectLocks


class MemoryLocks(ObjectLocks):
    """Locks of objects in memory; `at` is the time, which only the test lets pass."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects
        self.rule: LockRule | None = None
        self.ends: dict[str, Instant] = {}
        self.at = Instant(10**15)
        self.extended: list[str] = []
        self.dies_after: int | None = None
        """How many more locks are prolonged before the store fails; None: it does not."""

    def begin(self, rule: LockRule, /) -> None:
        """From now on lock what is created."""
        self.rule = rule

    async def prove(self, rule: LockRule, /) -> None:
        """Begin: this store keeps what is locked."""
        self.begin(rule)

    def now(self) -> Instant:
        """Return the test's time."""
        return self.at

    async def until(self, name: str, /) -> Instant | None:
        """Return until when the object is locked."""
        return self.ends.get(name)

    async def extend(self, names: Sequence[str], /, *, until: Instant) -> None:
        """Let these objects be locked until then at least."""
        for name in names:
            if self.dies_after is not None:
                if not self.dies_after:
                    raise OperationFailedError(f"locking {name}", "the test wants it so")
                self.dies_after -= 1
            if name in self._objects:
                self.extended.append(name)
                self.ends[name] = max(self.ends.get(name, until), until)


class LockingMemoryStore(MemoryStore):
    """A `MemoryStore` that keeps what is locked."""

    def __init__(self) -> None:
        super().__init__()
        self.locks = MemoryLocks(self.objects)

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store and lock it; return False, changing nothing, if it exists."""
        created = await super().create(name, content)
        if created and self.locks.rule is not None:
            self.locks.ends[name] = self.locks.rule.end_of_new(self.locks.at)
        return created

    async def delete(self, name: str, /) -> None:
        """Remove an object unless it is locked."""
        end = self.locks.ends.get(name, 0)
        if name in self.objects and end > self.locks.at:
            raise ObjectLockedError(name, str(end))
        await super().delete(name)
        self.locks.ends.pop(name, None)
