"""Time, tasks and chance: everything by which a run could differ from its repetition."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from reference_engine.model.units import Duration, Instant

Result = TypeVar("Result")


class RandomStream(Protocol):
    """A named stream of chance: its n-th draw depends on the seed, its name and n only."""

    def below(self, limit: int, /) -> int:
        """Return a whole number in `[0, limit)`, each equally likely; `limit` is positive."""

    def token(self) -> str:
        """Return 32 hexadecimal digits, fit for an identity."""


class TaskGroup(Protocol):
    """Tasks that end before the `async with` block that opened the group does."""

    def spawn(self, work: Coroutine[Any, Any, None], /, *, name: str) -> None:
        """Start `work` beside the caller. Its first error cancels the group and is raised."""


class Executor(Protocol):
    """Where work that burns a core or blocks is done; it touches no shared state."""

    async def offload_all(self, works: Sequence[Callable[[], Result]], /) -> list[Result]:
        """Return what each of `works` returns, in their order; they may run at the same time.

        The first error, in their order, is raised when all of them have ended.
        """

    async def ask_all(self, asks: Sequence[Callable[[], Awaitable[Result]]], /) -> list[Result]:
        """Return what each of `asks` answers, in their order; several may wait at the same time.

        They only ask: nothing depends on the order in which they are answered. The first error,
        in their order, is raised when all that were begun have ended.
        """
        return [await ask() for ask in asks]


class Inline(Executor):
    """Does the work where it is asked for: right for small amounts and for simulated time."""

    async def offload_all(self, works: Sequence[Callable[[], Result]], /) -> list[Result]:
        """Return what each of `works` returns."""
        return [work() for work in works]


class Runtime(Executor, Protocol):
    """Where the engine's coroutines run: asyncio in the real world, SimPy in the simulator."""

    def now(self) -> Instant:
        """Return this machine's monotonic clock; only differences of it mean anything."""

    async def sleep(self, duration: Duration, /) -> None:
        """Return `duration` later."""

    def deadline(self, limit: Duration, /) -> AbstractAsyncContextManager[None]:
        """Bound the block inside: cancelled after `limit`, it raises DeadlineExceededError."""

    def task_group(self) -> AbstractAsyncContextManager[TaskGroup]:
        """Open a group; leaving the block waits for its tasks, cancelled or not."""

    def semaphore(self, permits: int, /) -> AbstractAsyncContextManager[None]:
        """Return a semaphore: at most `permits` holders at once, first come first served."""

    def random(self, stream: str, /) -> RandomStream:
        """Return the stream of this name."""

    async def offload(self, work: Callable[[], Result], /) -> Result:
        """Return what `work` returns; it burns a core or blocks, and touches no shared state."""
