"""The real world's time, tasks and chance, on asyncio."""

import asyncio  # noqa: TID251 - this adapter is where asyncio lives
import hashlib
import os
import time  # noqa: TID251 - and real time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

from reference_engine.adapters.allocator import keep_freed_memory
from reference_engine.model.errors import DeadlineExceededError
from reference_engine.model.units import SECOND, Duration, Instant
from reference_engine.ports.runtime import RandomStream, Runtime, TaskGroup

Result = TypeVar("Result")

_ASKED_MAX: Final = 8
"""Questions that wait for an answer at the same time: a bucket answers them side by side."""

_BLOCKING_MAX: Final = 8
"""Threads that wait for disks and networks; they come one by one as they are needed."""


class AsyncioRuntime(Runtime):
    """Runs the engine's coroutines for real. With a `seed`, its streams of chance repeat."""

    def __init__(self, *, seed: int | None) -> None:
        self._seed = seed
        self._cores: ThreadPoolExecutor | None = None
        self._streams: dict[str, _Stream] = {}

    def run(self, work: Coroutine[Any, Any, Result], /) -> Result:
        """Return what `work` returns, run on an event loop of its own."""
        keep_freed_memory()

        async def with_threads() -> Result:
            # What burns a core has a thread a core, and waits for nobody's disk; more threads than
            # that gain nothing and keep memory of their own.
            blocking = ThreadPoolExecutor(_BLOCKING_MAX)
            asyncio.get_running_loop().set_default_executor(blocking)
            with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as self._cores:
                return await work

        return asyncio.run(with_threads())

    def now(self) -> Instant:
        """Return this machine's monotonic clock."""
        return Instant(time.monotonic_ns() // 1000)

    async def sleep(self, duration: Duration, /) -> None:
        """Return `duration` later."""
        await asyncio.sleep(duration / SECOND)

    @asynccontextmanager
    async def deadline(self, limit: Duration, /) -> AsyncIterator[None]:
        """Bound the block inside: cancelled after `limit`, it raises DeadlineExceededError."""
        scope = asyncio.timeout(limit / SECOND)
        try:
            async with scope:
                yield
        except TimeoutError as error:
            # The operating system's own time-out is another error, and not ours to rename.
            if not scope.expired() or isinstance(error.__cause__, OSError):
                raise
            raise DeadlineExceededError(limit) from error

    @asynccontextmanager
    async def task_group(self) -> AsyncIterator[TaskGroup]:
        """Open a group; leaving the block waits for its tasks, cancelled or not."""
        errors: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    yield _Group(group, errors)
                except asyncio.CancelledError:
                    raise
                except BaseException as error:
                    errors.append(error)
                    raise
        except BaseExceptionGroup as many:
            first = errors[0] if errors else many
            raise first from first.__cause__

    def semaphore(self, permits: int, /) -> AbstractAsyncContextManager[None]:
        """Return a semaphore: at most `permits` holders at once, first come first served."""
        return asyncio.Semaphore(permits)

    def random(self, stream: str, /) -> RandomStream:
        """Return the stream of this name, which goes on where it was left."""
        if stream not in self._streams:
            self._streams[stream] = _Stream(self._seed, stream)
        return self._streams[stream]

    async def offload(self, work: Callable[[], Result], /) -> Result:
        """Return what `work` returns, run in a thread."""
        return await asyncio.to_thread(work)

    async def offload_all(self, works: Sequence[Callable[[], Result]], /) -> list[Result]:
        """Return what each of `works` returns, run in threads."""
        assert self._cores is not None, "threads are there while `run` runs"
        return _results(await _all_done(self._cores, works))

    async def ask_all(self, asks: Sequence[Callable[[], Awaitable[Result]]], /) -> list[Result]:
        """Return what each of `asks` answers; some of them wait at the same time."""
        turns = asyncio.Semaphore(_ASKED_MAX)

        async def asked(ask: Callable[[], Awaitable[Result]]) -> Result:
            async with turns:
                return await ask()

        answers = [asked(ask) for ask in asks]
        return _results(await asyncio.gather(*answers, return_exceptions=True))


async def _all_done(
    threads: ThreadPoolExecutor, works: Sequence[Callable[[], Result]]
) -> list[Result | BaseException]:
    """Return what each of `works` returns or raises, when all of them have ended.

    The event loop hears of the last one only: asyncio's own futures would wake it for each, and
    that costs more than hashing a few blocks does.
    """
    if not works:
        return []
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    results: dict[int, Result | BaseException] = {}

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    def ended(number: int, work: Callable[[], Result]) -> None:
        try:
            result: Result | BaseException = work()
        except BaseException as error:  # noqa: BLE001 - raised by whoever asked for it
            result = error
        # To put something into a dictionary is atomic, so whoever is last sees all of them there.
        results[number] = result
        if len(results) == len(works):
            loop.call_soon_threadsafe(wake)

    running = [threads.submit(ended, number, work) for number, work in enumerate(works)]
    try:
        await done
    except asyncio.CancelledError:
        # A thread cannot be stopped, but what was not begun need not be.
        for each in running:
            each.cancel()
        raise
    return [results[number] for number in range(len(works))]


def _results(ended: Sequence[Result | BaseException]) -> list[Result]:
    """Return results, or raise the first error among them."""
    for result in ended:
        if isinstance(result, BaseException):
            raise result
    return [result for result in ended if not isinstance(result, BaseException)]


class _Group(TaskGroup):
    """Tasks of one group; `errors` gathers what they raise, in the order in which it happens."""

    def __init__(self, group: asyncio.TaskGroup, errors: list[BaseException], /) -> None:
        self._group = group
        self._errors = errors

    def spawn(self, work: Coroutine[Any, Any, None], /, *, name: str) -> None:
        """Start `work` beside the caller. Its first error cancels the group and is raised."""
        try:
            task = self._group.create_task(work, name=name)
        except RuntimeError:
            # The group is being left; without this, the coroutine would complain at collection.
            work.close()
            raise
        task.add_done_callback(self._note)

    def _note(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._errors.append(error)


class _Stream(RandomStream):
    """Chance from the operating system, or, with a seed, from keyed BLAKE2b over a counter."""

    def __init__(self, seed: int | None, name: str, /) -> None:
        self._key = None if seed is None else hashlib.blake2b(str(seed).encode()).digest()
        self._name = name.encode()
        self._drawn = 0

    def below(self, limit: int, /) -> int:
        """Return a whole number in `[0, limit)`, each equally likely; `limit` is positive."""
        assert limit > 0, limit
        # 512 bits leave a bias of less than one in 2**400 for every limit that occurs.
        return int.from_bytes(self._draw(), "big") % limit

    def token(self) -> str:
        """Return 32 hexadecimal digits, fit for an identity."""
        return self._draw()[:16].hex()

    def _draw(self) -> bytes:
        if self._key is None:
            return os.urandom(64)
        self._drawn += 1
        counter = self._drawn.to_bytes(8, "big")
        return hashlib.blake2b(counter + self._name, key=self._key).digest()


def wall_clock() -> Instant:
    """Return what this machine's clock shows, in microseconds since 1970; anybody may set it."""
    return Instant(time.time_ns() // 1000)
