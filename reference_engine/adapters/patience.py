"""How long a service behind a network is waited for, and when it is given up.

Everything ends in bounded time: one request by `answer` and its size, all attempts together by how
long the service may be out. Once it was out for longer, each operation tries just once, briefly.
"""

import asyncio  # noqa: TID251 - adapters are where answers from outside meet the event loop
import os
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
from obstore.exceptions import BaseError

from reference_engine.adapters.object_answers import explained, is_answer
from reference_engine.model.errors import CorruptionError, TransientError, TwinshotError
from reference_engine.model.units import KIB, SECOND, ByteCount, Duration

Result = TypeVar("Result")

_SLOWEST: Final = ByteCount(256 * KIB)
"""Bytes a second: a pack on a line of 2 Mbit/s must not be given up as hanging."""

_PAUSE_FIRST: Final = 0.2
_PAUSE_MAX: Final = 5.0


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for a service that does not answer."""

    answer: Duration = Duration(30 * SECOND)
    """For one answer, beside the time that its bytes take."""

    outage: Duration = Duration(60 * SECOND)
    """From its first failure on, for a service that did answer before; as long for one operation
    that goes on failing while others are answered."""

    stranger: Duration = Duration(5 * SECOND)
    """For a service that never answered: most likely its address is wrong."""

    farewell: Duration = Duration(3 * SECOND)
    """For one answer once the outage has lasted too long."""


class PatientService:
    """One service, with what is known of how it has answered so far."""

    def __init__(self, place: str, patience: Patience, /) -> None:
        self.place = place
        self.patience = patience
        self._answered = False
        self._out_since: float | None = None

    async def asked(self, doing: str, ask: Callable[[], Awaitable[Result]]) -> Result:
        """Return the answer; a failure that may pass is met with patience."""
        pause = _PAUSE_FIRST
        failing_since: float | None = None
        while True:
            try:
                answer = await ask()
            except CorruptionError:
                self._note_answer()
                raise
            except (BaseError, OSError, TransientError) as error:
                failure: TwinshotError
                if isinstance(error, TransientError):
                    failure = error
                else:
                    # A service that is starting answers 500: it is no stranger, only not ready.
                    self._answered = self._answered or is_answer(error)
                    failure = explained(error, doing=doing, place=self.place)
                if not isinstance(failure, TransientError):
                    raise failure from error
                if failing_since is None:
                    failing_since = asyncio.get_running_loop().time()
                if self._is_lost() or self._is_over(failing_since):
                    raise failure from error
            else:
                self._note_answer()
                return answer
            # Engines that lost one service together should not come back in step.
            await asyncio.sleep(pause * (0.5 + os.urandom(1)[0] / 512))
            pause = min(2 * pause, _PAUSE_MAX)

    def _note_answer(self) -> None:
        self._answered, self._out_since = True, None

    def _is_lost(self) -> bool:
        """Note a failure; return whether failures have gone on for too long by now."""
        if self._out_since is None:
            self._out_since = asyncio.get_running_loop().time()
        return self._was_lost()

    def _was_lost(self) -> bool:
        """Return whether the service has failed for too long to be waited for."""
        return self._out_since is not None and self._is_over(self._out_since)

    def _is_over(self, since: float) -> bool:
        """Return whether what has failed since then has failed for too long."""
        limit = self.patience.outage if self._answered else self.patience.stranger
        return asyncio.get_running_loop().time() - since >= limit / SECOND

    def limit(self, size: int) -> asyncio.Timeout:
        """Return the limit of one request that carries `size` bytes."""
        if self._was_lost():
            return asyncio.timeout(self.patience.farewell / SECOND)
        return asyncio.timeout(self.patience.answer / SECOND + size / _SLOWEST)
