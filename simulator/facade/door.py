"""The one door between the engine and the world."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec

from reference_engine.model.errors import HostUnreachableError, OperationFailedError
from reference_engine.model.identity import NodeName
from reference_engine.model.units import MILLISECOND, SECOND, Duration, Instant
from reference_engine.trace.cluster import FaultInjected
from simulator.faults.plan import Answer, AnswerKind, FaultPlan, Happenings
from simulator.kernel.digest import TraceDigest
from simulator.kernel.streams import NumberedStreams
from simulator.kernel.task import SimNode, SimTask, TaskCancelledError, first_wait, wait
from simulator.world.cluster import World
from simulator.world.partitions import CLUSTER, REPLICA, REPOSITORY

_LATENCY_LEAST: Final = 200
_LATENCY_MOST: Final = 20 * MILLISECOND
_COURSES: Final = {
    AnswerKind.TRUE: "is on time",
    AnswerKind.FAIL: "fails",
    AnswerKind.LOSE: "is done, its answer is lost",
    AnswerKind.HANG: "never returns",
}


_NETWORK_TIMEOUT: Final = Duration(21 * SECOND)
"""How long TCP goes on to connect. Source: three tries, 3, 6 and 12 s apart."""

Work = Callable[[], Coroutine[Any, Any, Any]]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a call concerns, and which node has to do it; None: a service that never goes down."""

    subject: str
    node: NodeName | None


class Implementation(Protocol):
    """One port's world side: its methods are the port's, run behind the door."""

    def address(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Address:
        """Return whom a call concerns."""


def _side(port: str, address: Address) -> str:
    """Return whom a call has to reach."""
    if port == "blob_store":
        return REPOSITORY
    if port == "replica_store":
        return REPLICA
    if port == "cluster":
        return CLUSTER
    return address.node or ""


class Door:
    """Counts, traces, delays and disturbs every call; see the package docstring."""

    def __init__(self, world: World, digest: TraceDigest, plan: FaultPlan, /) -> None:
        self._world, self._digest, self._plan = world, digest, plan
        self._calls: dict[tuple[str, str], tuple[NumberedStreams, int]] = {}
        """Of each subject's operations: how long they take, and how many there were."""

        self._cut_off: dict[str, Instant] = {}
        self._far: dict[SimTask, None] = {}
        world.on_node_loss.append(self._node_lost)

    def opened(self, port: str, implementation: Implementation, /) -> Any:
        """Return the port as the engine sees it: every call goes through this door."""
        return _Proxy(self, port, implementation)

    def cut_off(self, engine: SimNode, /, *, until: Instant) -> None:
        """Let nothing pass between an engine's machine and everybody else for a while."""
        self._cut_off[engine.name] = until

    async def _reach(self) -> None:
        """Wait while the caller's machine is cut off; its calls arrive afterwards."""
        sim = self._world.sim
        caller = None if sim.current is None else sim.current.node.name
        until = self._cut_off.get(caller or "")
        if until is not None and until > sim.now():
            await sim.sleep(Duration(until - sim.now()))

    async def perform(self, port: str, operation: str, address: Address, work: Work) -> Any:
        """Carry one call to the far side and its answer back."""
        sim = self._world.sim
        if sim.closed:
            raise TaskCancelledError(self)
        if self._cut_off:
            await self._reach()
        subject = address.subject
        key = (subject, operation)
        latencies, before = self._calls.get(key) or (
            NumberedStreams(sim.seed, "latency", *key),
            0,
        )
        occurrence = before + 1
        self._calls[key] = latencies, occurrence
        self._digest.add(
            f"{sim.now()} {port}.{operation} {subject} {occurrence} {address.node}".encode()
        )
        there, back = latencies.pair_between(_LATENCY_LEAST, _LATENCY_MOST, number=occurrence)
        answer = self._plan.consult(subject, operation, occurrence)
        if answer.kind is not AnswerKind.TRUE or answer.delay:
            self._tell(f"call-disturbed/{port}", f"{operation} {occurrence}", address, answer)
        if answer.before:
            await self._disturb(answer.before)
        await sim.sleep(Duration(there))
        if answer.kind is AnswerKind.FAIL:
            raise OperationFailedError(operation, answer.cause)
        if answer.kind is AnswerKind.HANG:
            await wait(sim.event())
        world = self._world
        if world.outages:
            self._look_for_outage(port, operation, address)
        if answer.delay:
            work = self._late(port, operation, address, work, delay=Duration(answer.delay))
        if world.cut_off:
            await self._through(_side(port, address), operation)
        result = await self._far_side(port, operation, address.node, work)
        if world.cut_off:
            await self._through(_side(port, address), operation)
        await sim.sleep(Duration(back))
        if answer.after:
            await self._disturb(answer.after)
        if answer.kind is AnswerKind.LOSE:
            raise OperationFailedError(operation, "the reply was lost")
        return result

    def _look_for_outage(self, port: str, operation: str, address: Address) -> None:
        outages = self._world.outages
        if (port, "") in outages or (port, address.subject) in outages:
            raise OperationFailedError(operation, "the service has failed")

    async def _through(self, side: str, operation: str) -> None:
        """Return if the network passes; a side that is cut off is given up after a while.

        Raises:
            HostUnreachableError, OperationFailedError: it does not.
        """
        if side not in self._world.cut_off:
            return
        await self._world.sim.sleep(_NETWORK_TIMEOUT)
        if side in {CLUSTER, REPLICA, REPOSITORY}:
            raise OperationFailedError(operation, f"the {side} does not answer")
        raise HostUnreachableError(NodeName(side))

    def _tell(self, kind: str, call: str, address: Address, answer: Answer) -> None:
        """State that this call takes another course than it would have taken."""
        world = self._world
        course = _COURSES[answer.kind] if answer.delay == 0 else f"is {answer.delay / 1e6:g} s late"
        world.emit(
            FaultInjected(
                at=world.sim.now(),
                kind=kind,
                subject=address.subject,
                what=f"{call} {course}",
            )
        )

    def _late(
        self, port: str, operation: str, address: Address, work: Work, /, *, delay: Duration
    ) -> Work:
        """Return work that begins later; it is on its way even if nobody waits for it any more.

        It comes to nothing where the service that was to do it has failed meanwhile.
        """

        async def later() -> Any:
            await self._world.sim.sleep(delay)
            self._look_for_outage(port, operation, address)
            return await work()

        return later

    async def _disturb(self, happenings: Happenings) -> None:
        """Let something else happen in this very moment; it may be the caller's own end."""
        for happening in happenings:
            happening()
        await self._world.sim.sleep(Duration(0))

    async def _far_side(self, port: str, operation: str, node: NodeName | None, work: Work) -> Any:
        """Have the work done on its own node, whatever becomes of the caller meanwhile."""
        sim = self._world.sim
        if node is not None and (not self._world.running(node) or node in self._world.agentless):
            unreachable = HostUnreachableError(node)
            self._plan.answered(None, unreachable)
            raise unreachable
        far = work()
        try:
            waits_for = first_wait(far)
        except StopIteration as stop:
            # Most calls are answered in the instant in which they arrive: nothing can come between.
            self._plan.answered(stop.value, None)
            return stop.value
        except BaseException as error:
            self._plan.answered(None, error)
            raise
        place = None if node is None else self._world.nodes[node]
        task = sim.adopt(far, waits_for, name=f"far/{port}.{operation}", node=place)
        if place is not None:
            self._far[task] = None
        try:
            return await task
        finally:
            self._far.pop(task, None)
            self._plan.answered(task.value, task.error)

    def _node_lost(self, node: NodeName, lost: list[SimTask]) -> None:
        for task in lost:
            if task in self._far:
                task.error = HostUnreachableError(node)
                task.ended.succeed()


class _Proxy:
    """Looks like the port; sends every call through the door."""

    def __init__(self, door: Door, port: str, implementation: Implementation, /) -> None:
        self._door, self._port, self._implementation = door, port, implementation

    def __getattr__(self, operation: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._implementation, operation)
        door, port, address_of = self._door, self._port, self._implementation.address

        def call(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            address = address_of(operation, args, kwargs)
            return door.perform(port, operation, address, lambda: method(*args, **kwargs))

        setattr(self, operation, call)
        return call
