"""The simulation: virtual time, tasks, nodes, and the run to an end."""

from collections.abc import Awaitable, Coroutine
from heapq import heappop, heappush
from typing import Any, Final, Protocol

import simpy
from simpy.events import NORMAL, Event

from reference_engine.model.units import Duration, Instant
from simulator.kernel.streams import Stream, seeded_ties
from simulator.kernel.task import SimNode, SimTask, wait

_NEVER: Final = 1 << 62


class StalledError(AssertionError):
    """Nothing is left to happen, but the main task is not done: it waits for ever."""


class TimeLimit(Protocol):
    """What ends something else when its time has come, unless it is over before."""

    @property
    def over(self) -> bool:
        """Whether nothing happens any more when it is reached."""

    def reach(self) -> None:
        """Do what it is there for, unless it is over."""


class Simulation:
    """Virtual time from 0, in microseconds; the same seed gives the same run."""

    def __init__(self, seed: int, /) -> None:
        self.seed = seed
        self.env = simpy.Environment()
        self._ties = self.env._eid = seeded_ties(seed)  # type: ignore[assignment]  # noqa: SLF001 - see package docstring
        self._queue = self.env._queue  # noqa: SLF001 - as the loop in `run`
        self._limits: list[tuple[int, int, int, TimeLimit]] = []
        """A heap like SimPy's: nearly all of them are over before their time has come, and would
        make every other event dearer."""

        self.tasks: dict[SimTask, None] = {}
        self.graveyard: list[SimTask] = []
        self.current: SimTask | None = None
        self.closed = False
        self.steps = 0
        self._others = False
        """Whether callbacks of the event that happens now are still to be called."""

        self._failure: tuple[str, BaseException] | None = None
        self._outside = SimNode("outside")

    def now(self) -> Instant:
        """Return virtual time."""
        return self.env._now  # type: ignore[return-value]  # noqa: SLF001 - the property costs as much as the step

    def stream(self, *name: str | int) -> Stream:
        """Return the stream of chance with this name."""
        return Stream(self.seed, *name)

    def sleep(self, duration: Duration, /) -> Awaitable[None]:
        """Return an awaitable that is over `duration` later."""
        return wait(self.timer(duration))

    def timer(self, duration: Duration, /) -> Event:
        """Return an event that fires `duration` later."""
        assert duration >= 0, duration
        event = Event(env := self.env)
        event._ok, event._value = True, None  # noqa: SLF001 - as SimPy's Timeout, at half its cost
        heappush(self._queue, (env._now + duration, NORMAL, next(self._ties), event))  # noqa: SLF001
        return event

    def limit(self, duration: Duration, limit: TimeLimit, /) -> None:
        """Let a limit be reached `duration` later."""
        assert duration >= 0, duration
        at = self.env._now + duration  # noqa: SLF001 - as `now`
        heappush(self._limits, (int(at), NORMAL, next(self._ties), limit))

    def event(self) -> Event:
        """Return an event that somebody will trigger."""
        return Event(self.env)

    def tie(self) -> int:
        """Return the next draw of what orders the events of one instant."""
        return next(self._ties)

    def happen(self, event: Event, tie: int, /) -> None:
        """Let an event happen in this instant, ordered by `tie`; the last that a callback does.

        Where nothing else is due in this instant it happens at once: it would be the next anyway.
        """
        event._ok, event._value = True, None  # noqa: SLF001 - as Event.succeed
        queue, callbacks, now = self._queue, event.callbacks, self.env._now  # noqa: SLF001 - as in `run`
        due = (queue and queue[0][0] <= now) or (self._limits and self._limits[0][0] <= now)
        if due or self._others or len(callbacks) > 1:
            heappush(queue, (now, NORMAL, tie, event))
            return
        event.callbacks = None  # type: ignore[assignment]
        for callback in callbacks:
            callback(event)

    def spawn(
        self,
        coro: Coroutine[Any, Any, Any],
        /,
        *,
        name: str,
        node: SimNode | None = None,
        inner: Coroutine[Any, Any, Any] | None = None,
    ) -> SimTask:
        """Start a task on `node`, or on one that never loses power."""
        return SimTask(self, coro, name=name, node=node or self._outside, inner=inner)

    def adopt(
        self,
        coro: Coroutine[Any, Any, Any],
        waits_for: Event,
        /,
        *,
        name: str,
        node: SimNode | None,
    ) -> SimTask:
        """Go on, as a task, with a coroutine that was begun by hand and yielded `waits_for`."""
        return SimTask(self, coro, name=name, node=node or self._outside, waits_for=waits_for)

    def pending(self) -> list[tuple[int, str]]:
        """Return what is bound to happen: when, and to whom; ascending."""
        found = [
            (at, type(limit).__qualname__) for at, _, _, limit in self._limits if not limit.over
        ]
        for at, _, _, event in self._queue:
            for callback in event.callbacks or ():
                owner = getattr(callback, "__self__", None)
                name = owner.name if isinstance(owner, SimTask) else callback.__qualname__
                found.append((int(at), name))
        return sorted(found)

    def fail(self, task: SimTask, error: BaseException, /) -> None:
        """Note an error that nobody awaits: it ends the run."""
        if self._failure is None:
            self._failure = (task.name, error)

    def run(self, main: Coroutine[Any, Any, Any], /, *, limit: Instant | None = None) -> Any:
        """Run until `main` is done and return what it returned.

        Raises:
            StalledError: it is not done, and nothing more will happen before `limit`.
        """
        task = self.spawn(main, name="main")
        task.joined = True
        env, queue, limits = self.env, self._queue, self._limits
        end = _NEVER if limit is None else limit
        steps = 0
        # What follows is the loop of Environment.step without its calls.
        while not task.done and self._failure is None:
            # Ties are unique, so what happens is never compared itself.
            if limits and (not queue or limits[0] < queue[0]):  # type: ignore[operator]
                if limits[0][0] > end:
                    break
                env._now, _, _, reached = heappop(limits)  # noqa: SLF001
                reached.reach()
                steps += 1
                continue
            if not queue or queue[0][0] > end:
                break
            env._now, _, _, event = heappop(queue)  # noqa: SLF001
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
            if len(callbacks) == 1:
                callbacks[0](event)
            else:
                self._others = True
                for callback in callbacks:
                    callback(event)
                self._others = False
            if not event._ok and not event.defused:  # noqa: SLF001
                raise event._value  # noqa: SLF001
            steps += 1
        self.steps += steps
        if self._failure is not None:
            raise self._failure[1]
        if not task.done:
            waiting = ", ".join(sorted(other.name for other in self.tasks))
            raise StalledError(f"main waits for ever; so do: {waiting}")
        if task.error is not None:
            raise task.error
        return task.value

    def close(self) -> None:
        """Unwind every coroutine; `closed` keeps their `finally` blocks from touching the world."""
        self.closed = True
        for task in [*self.tasks, *self.graveyard]:
            task.close()
        self.tasks.clear()
        self.graveyard.clear()
