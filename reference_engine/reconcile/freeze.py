"""The guest's states during a backup, as a table, and the driver that walks it.

Whatever happens, a guest that may be frozen is told to thaw: the table has no way to `DONE` that
does not pass a thaw once a freeze was sent. A freeze that timed out may still be carried out
later, so its thaw is repeated until the guest had every chance to act on the freeze.
"""

import enum
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

import msgspec

from reference_engine.model.errors import (
    ConsistencyLostError,
    HostUnreachableError,
    OperationFailedError,
    TransientError,
    TwinshotError,
)
from reference_engine.model.identity import NodeName, RunTag
from reference_engine.model.units import SECOND, Duration
from reference_engine.ports.consistency import Consistency, GuestSnapshot
from reference_engine.ports.runtime import Runtime

_THAW_TRIES: Final = 4


class FreezeState(enum.Enum):
    """Where a guest stands, as far as the engine knows."""

    RUNNING = "running"
    ASKED = "asked"
    AT_REST = "at rest"
    UNKNOWN = "unknown"
    """It was asked and did not answer: it may be frozen, or freeze later."""

    THAW_SENT = "thaw sent"
    DONE = "done"


class FreezeEvent(enum.Enum):
    """What moves a guest from one state to the next."""

    ASK = "ask"
    ANSWER = "answer"
    REFUSAL = "refusal"
    SILENCE = "silence"
    THAW = "thaw"
    CONFIRMATION = "confirmation"


TABLE: Final[Mapping[tuple[FreezeState, FreezeEvent], FreezeState]] = MappingProxyType(
    {
        (FreezeState.RUNNING, FreezeEvent.ASK): FreezeState.ASKED,
        (FreezeState.ASKED, FreezeEvent.ANSWER): FreezeState.AT_REST,
        (FreezeState.ASKED, FreezeEvent.REFUSAL): FreezeState.UNKNOWN,
        (FreezeState.ASKED, FreezeEvent.SILENCE): FreezeState.UNKNOWN,
        # The run was cancelled while it waited for the guest's answer.
        (FreezeState.ASKED, FreezeEvent.THAW): FreezeState.THAW_SENT,
        (FreezeState.AT_REST, FreezeEvent.THAW): FreezeState.THAW_SENT,
        (FreezeState.UNKNOWN, FreezeEvent.THAW): FreezeState.THAW_SENT,
        (FreezeState.THAW_SENT, FreezeEvent.THAW): FreezeState.THAW_SENT,
        (FreezeState.THAW_SENT, FreezeEvent.CONFIRMATION): FreezeState.DONE,
        (FreezeState.DONE, FreezeEvent.THAW): FreezeState.THAW_SENT,
        # Two thaws were under way: the run's own, and one that outlasts a late answer.
        (FreezeState.DONE, FreezeEvent.CONFIRMATION): FreezeState.DONE,
    }
)


def moved(state: FreezeState, event: FreezeEvent, /) -> FreezeState:
    """Return the state after `event`, which the table must know in this state."""
    following = TABLE.get((state, event))
    assert following is not None, (state, event)
    return following


class FreezeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a guest may take, and how long a silent one is looked after."""

    freeze: Duration
    thaw: Duration
    thaw_again: Duration
    late_answer: Duration


class FreezeDriver:
    """Freezes and thaws the guest of one run; `thaw` is safe in every state."""

    def __init__(
        self,
        runtime: Runtime,
        consistency: Consistency,
        /,
        *,
        run: RunTag,
        node: NodeName,
        limits: FreezeLimits,
    ) -> None:
        self._runtime, self._consistency = runtime, consistency
        self._run, self._node, self._limits = run, node, limits
        self.state = FreezeState.RUNNING
        self.silent = False
        """Whether a freeze may still be carried out although nobody waits for it any more."""

        self.held = False
        """Whether the guest still stood still when it was first told to go on."""

    async def freeze(self) -> tuple[GuestSnapshot | None, str]:
        """Return the guest's snapshot, or None and why there is none.

        Raises:
            ConsistencyLostError: the machine has moved; start over.
        """
        self.state = moved(self.state, FreezeEvent.ASK)
        try:
            async with self._runtime.deadline(self._limits.freeze):
                snapshot = await self._consistency.freeze(self._node, run=self._run)
        except OperationFailedError as refusal:
            self.state = moved(self.state, FreezeEvent.REFUSAL)
            self.silent = True  # the refusal may be a lost answer: the guest may be frozen
            return None, str(refusal)
        except (ConsistencyLostError, HostUnreachableError):
            self.state = moved(self.state, FreezeEvent.REFUSAL)
            raise
        except TransientError as silence:
            self.state = moved(self.state, FreezeEvent.SILENCE)
            self.silent = True
            return None, f"the guest did not freeze: {silence}"
        self.state = moved(self.state, FreezeEvent.ANSWER)
        return snapshot, ""

    async def thaw(self) -> None:
        """Have the guest go on, if there is any chance that it does not.

        Raises:
            TransientError, ConsistencyLostError: the thaw could not be delivered.
        """
        if self.state is FreezeState.RUNNING:
            return
        if self.state is FreezeState.ASKED:
            self.silent = True  # its answer was not waited for: it may freeze yet
        for attempt in range(_THAW_TRIES):
            self.state = moved(self.state, FreezeEvent.THAW)
            try:
                # A frozen guest is an outage: no thaw may wait as long as other calls do.
                async with self._runtime.deadline(self._limits.thaw):
                    stood = await self._consistency.thaw(self._node, run=self._run)
            except HostUnreachableError:
                raise
            except TransientError:
                if attempt == _THAW_TRIES - 1:
                    raise
            else:
                self.held = self.held or stood
                self.state = moved(self.state, FreezeEvent.CONFIRMATION)
                return

    async def outlast_late_answer(self) -> None:
        """After a silence, thaw again and again for as long as a late freeze may still come."""
        if not self.silent:
            return
        began = self._runtime.now()
        while self._runtime.now() - began < self._limits.late_answer:
            await self._runtime.sleep(self._limits.thaw_again)
            with suppress(TwinshotError):  # the next one may be delivered
                await self.thaw()


DEFAULT_LIMITS: Final = FreezeLimits(
    freeze=Duration(20 * SECOND),
    thaw=Duration(5 * SECOND),
    thaw_again=Duration(5 * SECOND),
    late_answer=Duration(90 * SECOND),
)
