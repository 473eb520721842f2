"""The saved-state method: the machine stands still with its memory saved, and always goes on."""

from collections.abc import Sequence
from typing import NamedTuple

from reference_engine.jobs.surroundings import ClusterPorts
from reference_engine.model.errors import (
    ConsistencyLostError,
    OperationFailedError,
    TransientError,
    TwinshotError,
)
from reference_engine.model.identity import MachineId, NodeName, RunTag
from reference_engine.model.units import Duration, Instant
from reference_engine.trace.engine import MachineStaysSaved


class Saving:
    """One run's hold on one machine; `resume` is safe in every state."""

    def __init__(self, ports: ClusterPorts, node: NodeName, /, *, run: RunTag) -> None:
        self._ports, self._node, self._run = ports, node, run
        self._asked: Instant | None = None
        self.held = False
        """Whether it stood still until it was told to go on, or stands still yet."""

        self.downtime: Duration | None = None
        """For how long the machine stood still; None while it has not gone on."""

    async def save(self) -> None:
        """Have the machine stand still.

        Raises:
            TransientError, ConsistencyLostError: it does not, or nobody knows.
        """
        self._asked = self._ports.runtime.now()
        await self._ports.host.save(self._node, run=self._run)

    async def resume(self) -> str:
        """Have the machine go on; return why it does not where no node can take it.

        What was saved stays saved then: a machine that goes on late has lost nothing.
        """
        if self._asked is None or self.downtime is not None:
            return ""
        stood, failure = await resume_somewhere(self._ports, self._node, run=self._run)
        self.held = self.held or stood
        if failure is not None:
            return str(failure)
        self.downtime = Duration(self._ports.runtime.now() - self._asked)
        return ""


class Resumed(NamedTuple):
    """What became of a machine that was told to go on."""

    stood: bool
    """Whether it stood still until then, or does so yet; False where nobody knows."""

    failure: TransientError | ConsistencyLostError | None
    """Why it does not go on."""


async def resume_somewhere(ports: ClusterPorts, first: NodeName, /, *, run: RunTag) -> Resumed:
    """Have a saved machine go on, on `first` or on another node."""
    resumed = await _resume_on(ports, (first,), run=run)
    if resumed.failure is None:
        return resumed
    try:
        others = [node for node in await ports.cluster.nodes() if node != first]
    except TransientError as silence:
        return Resumed(stood=False, failure=silence)
    if others:
        resumed = await _resume_on(ports, others, run=run)
    if resumed.failure is not None:
        cause = str(resumed.failure)
        ports.tracer(MachineStaysSaved(at=ports.runtime.now(), run=run, cause=cause))
    return resumed


async def _resume_on(ports: ClusterPorts, nodes: Sequence[NodeName], *, run: RunTag) -> Resumed:
    failure: TransientError | ConsistencyLostError | None = None
    for node in nodes:
        try:
            return Resumed(stood=await ports.host.resume(node, run=run), failure=None)
        except (TransientError, ConsistencyLostError) as refusal:
            failure = refusal
    # A node that refuses has looked: what goes on already needs no room.
    return Resumed(stood=isinstance(failure, OperationFailedError), failure=failure)


async def resume_wherever(ports: ClusterPorts, machine: MachineId, run: RunTag, /) -> None:
    """Have a machine that a dead run saved go on, wherever there is room for it.

    Raises:
        TransientError, ConsistencyLostError: nobody says where it is, or no node takes it; it
            stands still yet, and another attempt may find room.
    """
    try:
        placement = await ports.cluster.locate(machine)
    except TransientError:
        raise
    except TwinshotError:
        return  # the machine is gone: nothing waits to go on
    # Where a copy claims its identity, any of the nodes may hold the one that was saved.
    first = (placement.others or (placement.owner,))[0]
    resumed = await resume_somewhere(ports, first, run=run)
    if resumed.failure is not None:
        raise resumed.failure
