"""Tasks: native coroutines driven by SimPy events, and nodes on which they live and die."""

from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from simpy.events import URGENT, Event

if TYPE_CHECKING:
    from simulator.kernel.simulation import Simulation


class TaskCancelledError(BaseException):
    """Thrown into a task that somebody cancelled; `scope` is who, and only `scope` may stop it."""

    def __init__(self, scope: object, /) -> None:
        super().__init__(scope)
        self.scope = scope


@coroutine
def wait(event: Event, /) -> Generator[Event, Any, Any]:
    """Go on when a SimPy event has happened, with its value."""
    return (yield event)


def first_wait(coro: Coroutine[Any, Any, Any], /) -> Event:
    """Run a new coroutine up to the first event that has not happened yet, and return that.

    Raises:
        StopIteration: the coroutine came to its end; `value` is its result.
    """
    event: Event = coro.send(None)
    while event.processed:
        if event.ok:
            event = coro.send(event.value)
        else:
            event.defused = True
            event = coro.throw(event.value)  # type: ignore[arg-type]
    return event


class SimNode:
    """Something that can lose power: its tasks then stop for good, without their `finally`."""

    def __init__(self, name: str, /) -> None:
        self.name = name
        self.running = True
        self.tasks: dict[SimTask, None] = {}

    def power_off(self) -> list["SimTask"]:
        """Stop every task of the node where it stands; return those tasks, never to run again."""
        self.running = False
        lost = list(self.tasks)
        for task in lost:
            task.abandon()
        self.tasks.clear()
        return lost

    def power_on(self) -> None:
        """Let the node run tasks again."""
        self.running = True


class SimTask:
    """One coroutine in virtual time. Awaiting the task gives its result or its error."""

    __slots__ = (
        "_cancels",
        "_coro",
        "_end_tie",
        "_inner",
        "_resume",
        "_sim",
        "_target",
        "done",
        "ended",
        "error",
        "joined",
        "name",
        "node",
        "value",
    )

    def __init__(
        self,
        sim: "Simulation",
        coro: Coroutine[Any, Any, Any],
        /,
        *,
        name: str,
        node: SimNode,
        inner: Coroutine[Any, Any, Any] | None = None,
        waits_for: Event | None = None,
    ) -> None:
        """Begin in this instant, or go on once what `coro` yielded last, `waits_for`, is there.

        `inner`: what `coro` awaits; closed with it, also if `coro` never began.
        """
        self._sim, self._coro, self.name, self.node = sim, coro, name, node
        self._inner = inner
        self.done = False
        self.joined = False
        self.value: Any = None
        self.error: BaseException | None = None
        self._cancels: list[object] = []
        self._end_tie = 0
        """Once its end is about to be told: how that is ordered among what else happens then."""

        self.ended: Event = Event(sim.env)
        # One bound method for the task's life: removing it from a list compares by identity.
        self._resume: Callable[[Event], None] = self._step
        self._target: Event | None = None
        node.tasks[self] = None
        sim.tasks[self] = None
        start = Event(sim.env) if waits_for is None else waits_for
        start.callbacks.append(self._resume)
        self._target = start
        if waits_for is None:
            start.succeed()

    def _step(self, event: Event) -> None:
        # The properties of an event cost as much as the step.
        sim = self._sim
        sim.current = self
        try:
            while True:
                if event._ok:  # noqa: SLF001 - see above
                    event = self._coro.send(event._value)  # noqa: SLF001 - see above
                else:
                    event.defused = True
                    event = self._coro.throw(event._value)  # noqa: SLF001 - see above
                if self.done:  # the step cut its own node's power
                    break
                if event.callbacks is not None:
                    event.callbacks.append(self._resume)
                    self._target = event
                    break
        except StopIteration as stop:
            self._end(stop.value, None)
        except BaseException as error:  # noqa: BLE001 - a task's error belongs to whoever awaits it
            self._end(None, error)
        finally:
            sim.current = None
        if self._cancels and not self.done:
            self._deliver()
        if self._end_tie:
            tie, self._end_tie = self._end_tie, 0
            sim.happen(self.ended, tie)

    def _end(self, value: Any, error: BaseException | None) -> None:
        if self.done:
            return
        self.done, self.value, self.error, self._target = True, value, error, None
        self._sim.tasks.pop(self, None)
        self.node.tasks.pop(self, None)
        if error is not None and not self.joined and not isinstance(error, TaskCancelledError):
            self._sim.fail(self, error)
        self._end_tie = self._sim.tie()

    def standing(self) -> tuple[tuple[str, int], ...]:
        """Return where the task stands: each coroutine that it is in, and how far that has come."""
        places: list[tuple[str, int]] = []
        inner: Any = self._coro
        while isinstance(inner, CoroutineType) and inner.cr_frame is not None:
            places.append((inner.__qualname__, inner.cr_frame.f_lasti))
            inner = inner.cr_await
        return tuple(places)

    def __await__(self) -> Generator[Event, Any, Any]:
        self.joined = True
        if not self.done:
            yield self.ended
        if self.error is not None:
            raise self.error
        return self.value

    def cancel(self, scope: object, /) -> None:
        """Throw a TaskCancelledError of this scope at the task's next or current await."""
        if self.done:
            return
        self._cancels.append(scope)
        if self._sim.current is not self:
            self._deliver()

    def uncancel(self, scope: object, /) -> None:
        """Take back a cancellation of this scope that has not been thrown yet."""
        if scope in self._cancels:
            self._cancels.remove(scope)

    def _deliver(self) -> None:
        if self._target is None:
            return
        self._detach()
        bolt = Event(self._sim.env)
        bolt.callbacks.append(self._throw)
        self._target = bolt
        bolt._ok, bolt._value = True, None  # noqa: SLF001 - as Event.succeed, but urgent
        self._sim.env.schedule(bolt, URGENT)

    def _throw(self, _: Event) -> None:
        if self.done:
            return
        # Only the task itself takes a cancellation back, and it has not run since.
        assert self._cancels, self.name
        scope = self._cancels.pop(0)
        failed = Event(self._sim.env)
        failed._ok, failed._value = False, TaskCancelledError(scope)  # noqa: SLF001
        failed.defused = True
        self._step(failed)

    def _detach(self) -> None:
        target = self._target
        if target is not None and target.callbacks is not None:
            for callback in (self._resume, self._throw):
                if callback in target.callbacks:
                    target.callbacks.remove(callback)

    def abandon(self) -> None:
        """Never run again; `finally` blocks stay unrun until the simulation is closed."""
        self._detach()
        self._target = None
        self.done = True
        self._sim.tasks.pop(self, None)
        self._sim.graveyard.append(self)

    def close(self) -> None:
        """Unwind the coroutine; called once the world is shut, which answers by cancelling."""
        with suppress(TaskCancelledError):
            self._coro.close()
            if self._inner is not None:
                self._inner.close()
