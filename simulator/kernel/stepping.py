"""Tasks that are driven call by call, so that whoever drives them chooses every interleaving.

Where `Simulation` lets time decide what happens next, a `SteppedTask` stops before each call that
others could notice and waits to be sent on. The same order of steps gives the same run.
"""

import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any


class PowerLostError(BaseException):
    """The task has no machine to run on any more. Not an Exception: nobody may handle it."""


@types.coroutine
def step(kind: str, /) -> Generator[str, None, None]:
    """Wait to be sent on; `kind` names the call that comes next."""
    yield kind


class SteppedTask:
    """One coroutine that stops at every `step`."""

    __slots__ = ("_coro", "done", "error", "name", "next_kind", "value")

    def __init__(self, name: str, coro: Coroutine[Any, Any, Any], /) -> None:
        self.name = name
        self._coro = coro
        self.done = False
        self.value: Any = None
        self.error: Exception | None = None
        self.next_kind = ""
        """The kind of the call that it stands before; empty before the first and after the last."""

    def advance(self) -> None:
        """Let the task make its next call and go on to the one after it, or to its end."""
        assert not self.done, self.name
        try:
            self.next_kind = self._coro.send(None)
        except StopIteration as stop:
            self.value = stop.value
        except Exception as error:  # noqa: BLE001 - a task's error belongs to whoever drives it
            self.error = error
        else:
            return
        self.done, self.next_kind = True, ""

    def finish(self) -> None:
        """Let the task make all its calls, and raise the error with which it ended."""
        while not self.done:
            self.advance()
        if self.error is not None:
            raise self.error

    def kill(self) -> None:
        """End the task where it stands; what it would do on its way out, its machine refuses."""
        self.done = True
        with suppress(PowerLostError):
            self._coro.close()
