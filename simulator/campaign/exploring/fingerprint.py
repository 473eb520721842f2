"""What a run's future depends on, as one digest: everything of the world, all the engine was told.

The world is walked by pickling it, so that no field can be forgotten; only what is named here is
told in another way: what belongs to the kernel, what is shared, and what never changes.
"""

import io
import pickle
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final

import msgspec
from blake3 import blake3

from reference_engine.model.extents import encode_extents
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import (
    CoordinatorChanged,
    FaultInjected,
    MachinePlaced,
    MigrationEnded,
    MigrationStarted,
    NodeChanged,
)
from simulator.campaign.night import ENGINE, Night
from simulator.kernel.bandwidth import SharedLink
from simulator.kernel.gate import Gate
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode
from simulator.world.content import DiskContent
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.trackers import FilterMaps
from simulator.world.truth import Truth
from simulator.world.workload import Workload

_ENCODER: Final = msgspec.json.Encoder(enc_hook=encode_extents)
_BY_ITSELF: Final = (
    CoordinatorChanged,
    FaultInjected,
    MachinePlaced,
    MigrationEnded,
    MigrationStarted,
    NodeChanged,
)
"""Facts of the cluster that no invariant holds against the order of the engine's own facts: of them
only what they say and their own order are kept. What they change is in the world."""

_INSTANTS: Final = ("at", "blackout")
_NOTHING: Final = object()


class _Walker(pickle.Pickler):
    """Writes values without their identities; nobody ever reads what it writes."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.fast = True  # equal values look equal, whether they are shared or not

    def persistent_id(self, obj: Any) -> Any:
        told = _TOLD.get(type(obj), _NOTHING)
        if told is _NOTHING:
            return None
        return told(obj) if callable(told) else told


def _link(link: SharedLink) -> Any:
    left = sorted(link._left.values())  # noqa: SLF001 - a key that leaves out a field is unsound
    return ("link", link.rate, left, link._since if left else 0)  # noqa: SLF001 - as above


def _workload(workload: Workload) -> Any:
    return ("workload", workload._batch, workload._next)  # noqa: SLF001 - as above


_TOLD: Final[dict[type, Any]] = {
    BuiltinFunctionType: "code",
    DiskContent: "content",
    FilterMaps: "maps",
    FunctionType: "code",
    Gate: lambda gate: ("gate", gate.closed),
    MethodType: "code",
    SharedLink: _link,
    SimDisk: lambda disk: ("disk", disk.id),
    SimMachine: lambda machine: ("machine", machine.id),
    SimNode: lambda node: ("node", node.name, node.running),
    Simulation: "simulation",
    Truth: "truth",
    Workload: _workload,
    frozenset: lambda values: ("set", sorted(map(repr, values))),
    set: lambda values: ("set", sorted(map(repr, values))),
}


def written(value: Any, /) -> bytes:
    """Return bytes that are equal for equal values, whoever shares them."""
    file = io.BytesIO()
    _Walker(file).dump(value)
    return file.getvalue()


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How far a history was digested, and to what: each kind of rows by itself."""

    told: int
    facts: int
    writes: tuple[int, ...]
    digests: tuple[Any, Any, Any, Any]
    """Of what was told, of the engine's facts, of the cluster's own, and of the guests' writes."""


class History:
    """All that the engine asked and was told, all facts, and all writes, digested as they come."""

    def __init__(self, night: Night, /) -> None:
        self._night = night
        self._told: list[Any] = []
        self._at = Mark(
            told=0,
            facts=0,
            writes=(0,) * len(night.world.machines),
            digests=(blake3(), blake3(), blake3(), blake3()),
        )

    def tell(self, *what: Any) -> None:
        """Take a call, or an answer; what it holds must never change."""
        self._told.append(what)

    def mark(self) -> Mark:
        """Return how far the history has come; the same one for every run with this beginning."""
        at = self._at
        told, facts, aside, written_cells = (digest.copy() for digest in at.digests)
        for row in self._told[at.told :]:
            told.update(written(row))
        for fact in self._night.facts[at.facts :]:
            if isinstance(fact, _BY_ITSELF) and not _of_engine(fact):
                aside.update(_timeless(fact))
            else:
                facts.update(_ENCODER.encode(fact))
        counts = []
        for seen, writes in zip(at.writes, self._night.truth.writes.values(), strict=True):
            for batch in writes[seen:]:
                row = (batch.disk, batch.node, batch.cells, batch.stamps)
                written_cells.update(written(row))
            counts.append(len(writes))
        self._at = Mark(
            told=len(self._told),
            facts=len(self._night.facts),
            writes=tuple(counts),
            digests=(told, facts, aside, written_cells),
        )
        return self._at

    def go_on_from(self, mark: Mark, /) -> None:
        """Take over what an earlier run digested that began in the same way."""
        self._at = mark

    def state(self) -> bytes:
        """Return what the run's future and its verdict depend on."""
        night = self._night
        world, sim = night.world, night.sim
        for machine in world.machines.values():
            machine.advance()
        parts: list[Any] = [
            sim.now(),
            {key: value for key, value in vars(world).items() if key != "machines"},
            vars(world.maps),
            [
                (vars(machine), [vars(disk) for disk in machine.disks])
                for machine in world.machines.values()
            ],
            [(name, cut.stamp) for name, cut in night.truth.guest_cuts.items()],
            [(name, cut.stamp) for name, cut in night.truth.host_cuts.items()],
            night.truth.depths,
            night.damaged,
            [(task.name, task.standing()) for task in sim.tasks],
            sim.pending(),
        ]
        digest = blake3(written(parts))
        for each in self.mark().digests:
            digest.update(each.digest())
        return bytes(digest.digest(16))


def _of_engine(fact: Fact) -> bool:
    """Return whether it is about an engine's own machine, which ends its runs."""
    return isinstance(fact, NodeChanged) and fact.node.startswith(ENGINE)


def _timeless(fact: Fact) -> bytes:
    gone = {name: 0 for name in _INSTANTS if hasattr(fact, name)}
    return _ENCODER.encode(msgspec.structs.replace(fact, **gone))
