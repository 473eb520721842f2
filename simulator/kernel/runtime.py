"""The engine's `Runtime` in virtual time, bound to the node on which the engine runs."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

from simpy.events import Event

from reference_engine.model.errors import DeadlineExceededError
from reference_engine.model.units import Duration, Instant
from simulator.kernel.simulation import Simulation
from simulator.kernel.streams import Stream
from simulator.kernel.task import SimNode, SimTask, TaskCancelledError, wait

Result = TypeVar("Result")


def _refuse_when_closed(sim: Simulation, scope: object) -> None:
    """End what a task does in its `finally` blocks once the simulation is over."""
    if sim.closed:
        raise TaskCancelledError(scope)


class _Deadline:
    """Cancels the task that entered it; what it cancelled it turns into its own error."""

    def __init__(self, sim: Simulation, limit: Duration, /) -> None:
        self._sim, self._limit = sim, limit
        self._task: SimTask | None = None

    @property
    def over(self) -> bool:
        """Whether its timer cancels nobody any more."""
        return self._task is None

    async def __aenter__(self) -> None:
        _refuse_when_closed(self._sim, self)
        self._task = self._sim.current
        self._sim.limit(self._limit, self)

    def reach(self) -> None:
        """Cancel the task, if it is still inside."""
        if self._task is not None:
            self._task.cancel(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.uncancel(self)
        if isinstance(error, TaskCancelledError) and error.scope is self:
            raise DeadlineExceededError(self._limit) from None


class _Group:
    """Tasks of one `async with` block; see `ports.runtime.TaskGroup`."""

    def __init__(self, sim: Simulation, node: SimNode, /) -> None:
        self._sim, self._node = sim, node
        self._children: list[SimTask] = []
        self._told: set[SimTask] = set()
        """Children that were cancelled; a second time would cut off their clean-up."""

        self._first: BaseException | None = None
        self._parent: SimTask | None = None

    def spawn(self, work: Coroutine[Any, Any, None], /, *, name: str) -> None:
        assert self._parent is not None, "a group takes tasks only inside its block"
        path = f"{self._parent.name}/{name}"
        task = self._sim.spawn(self._watch(work), name=path, node=self._node, inner=work)
        task.joined = True
        self._children.append(task)

    async def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TaskCancelledError:
            raise
        except BaseException as error:
            if self._first is None:
                self._first = error
                self._cancel_children()
                if self._parent is not None:
                    self._parent.cancel(self)
            raise

    async def __aenter__(self) -> Self:
        _refuse_when_closed(self._sim, self)
        self._parent = self._sim.current
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        _refuse_when_closed(self._sim, self)
        parent = self._parent
        assert parent is not None
        cancelled: TaskCancelledError | None = None
        if error is not None:
            self._cancel_children()
        while any(not child.done for child in self._children):
            waited = next(child for child in self._children if not child.done)
            try:
                await wait(waited.ended)
            except TaskCancelledError as outer:
                if outer.scope is not self:
                    cancelled = outer
                self._cancel_children()
        self._parent = None
        parent.uncancel(self)
        if isinstance(error, TaskCancelledError) and error.scope is not self:
            return False
        if cancelled is not None:
            raise cancelled
        if self._first is not None and (error is None or isinstance(error, TaskCancelledError)):
            raise self._first
        return False

    def _cancel_children(self) -> None:
        for child in self._children:
            if child not in self._told and child is not self._sim.current:
                self._told.add(child)
                child.cancel(self)


class _Semaphore:
    """Counting semaphore, first come first served; a cancelled waiter leaves the queue."""

    def __init__(self, sim: Simulation, permits: int, /) -> None:
        assert permits > 0, permits
        self._sim, self._free = sim, permits
        self._queue: list[Event] = []

    async def __aenter__(self) -> None:
        _refuse_when_closed(self._sim, self)
        if self._free > 0 and not self._queue:
            self._free -= 1
            return
        turn = self._sim.event()
        self._queue.append(turn)
        try:
            await wait(turn)
        except BaseException:
            if turn.triggered:
                self._hand_on()
            else:
                self._queue.remove(turn)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._sim.closed:
            self._hand_on()

    def _hand_on(self) -> None:
        if self._queue:
            self._queue.pop(0).succeed()
        else:
            self._free += 1


class SimRuntime:
    """Satisfies `ports.runtime.Runtime`; `incarnation` keeps chance fresh after a restart."""

    def __init__(self, sim: Simulation, /, *, node: SimNode, incarnation: int = 0) -> None:
        self._sim, self._node, self._incarnation = sim, node, incarnation

    def now(self) -> Instant:
        """Return virtual time."""
        return self._sim.now()

    async def sleep(self, duration: Duration, /) -> None:
        """Return `duration` later in virtual time."""
        if self._sim.closed:
            raise TaskCancelledError(self)
        await self._sim.sleep(duration)

    def deadline(self, limit: Duration, /) -> AbstractAsyncContextManager[None]:
        """Bound the block inside."""
        return _Deadline(self._sim, limit)

    def task_group(self) -> AbstractAsyncContextManager[_Group]:
        """Open a group of tasks on this runtime's node."""
        return _Group(self._sim, self._node)

    def semaphore(self, permits: int, /) -> AbstractAsyncContextManager[None]:
        """Return a semaphore."""
        return _Semaphore(self._sim, permits)

    def random(self, stream: str, /) -> Stream:
        """Return the stream of this name, new with each incarnation."""
        return self._sim.stream("engine", self._incarnation, stream)

    async def offload(self, work: Callable[[], Result], /) -> Result:
        """Return what `work` returns, at once: the simulator models its cost elsewhere."""
        return work()

    async def offload_all(self, works: Sequence[Callable[[], Result]], /) -> list[Result]:
        """Return what each of `works` returns, at once."""
        return [work() for work in works]

    async def ask_all(self, asks: Sequence[Callable[[], Awaitable[Result]]], /) -> list[Result]:
        """Return what each of `asks` answers, one after the other: an order that repeats."""
        return [await ask() for ask in asks]

    def run(self, main: Coroutine[Any, Any, Any], /) -> Any:
        """Run `main` on this runtime's node to its end; used by the contract suite."""

        async def body() -> Any:
            return await self._sim.spawn(main, name="contract", node=self._node)

        return self._sim.run(body())
