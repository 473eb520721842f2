"""Stores in memory at which one chosen call goes wrong."""

import enum

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import DeadlineExceededError, OperationFailedError


class PowerCutError(BaseException):
    """The machine that runs the engine is off."""


class Fault(enum.Enum):
    """What happens at one call that changes the store."""

    CUT_BEFORE = "power cut, nothing stored"
    CUT_AFTER = "power cut, object stored"
    FAILED = "failure reported, nothing stored"
    ANSWER_LOST = "failure reported, object stored"


class FaultyStore(MemoryStore):
    """A store with a fault at its `at`-th changing call, counted from 0."""

    def __init__(self, objects: dict[str, bytes], /, *, at: int, fault: Fault) -> None:
        super().__init__()
        self.objects = objects
        self.left = at
        self.fault = fault
        self.hit = ""

    async def create(self, name: str, content: bytes, /) -> bool:
        """Create the object, unless this is the call at which it goes wrong."""
        self.left -= 1
        if self.left != -1:
            return await super().create(name, content)
        self.hit = name
        if self.fault in {Fault.CUT_AFTER, Fault.ANSWER_LOST}:
            await super().create(name, content)
        if self.fault in {Fault.CUT_BEFORE, Fault.CUT_AFTER}:
            raise PowerCutError
        if self.fault is Fault.FAILED:
            raise OperationFailedError("creating", "planned")
        raise DeadlineExceededError(1)


class DyingStore(MemoryStore):
    """A store whose machine dies at the `left`-th change, counted from 0, and stays off."""

    def __init__(self, objects: dict[str, bytes], left: int, /) -> None:
        super().__init__()
        self.objects, self.left = objects, left

    def _change(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PowerCutError

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Create the object, or die."""
        self._change()
        return await super().create(name, content)

    async def delete(self, name: str, /) -> None:
        """Delete the object, or die."""
        self._change()
        await super().delete(name)
