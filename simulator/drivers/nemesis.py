"""Makes the scenario's happenings happen: at a time, at a step of a run, or around a call."""

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from reference_engine.model.identity import MachineId, NodeName, VolumeName
from reference_engine.model.units import ByteCount, Duration
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import FaultInjected
from reference_engine.trace.engine import StepEntered, StepLeft
from simulator.drivers.machine_events import happen_to_machine
from simulator.faults.kinds import (
    AgentAppears,
    CallDisturbed,
    ClockJump,
    CoordinatorMove,
    EngineCrash,
    EngineTwin,
    ForeignSnapshot,
    GuestSilence,
    Happening,
    NodeCrash,
    NodeDrain,
    NodeFull,
    NodeLost,
    ObjectDamaged,
    Outage,
    Partition,
    RedirectionDropped,
    RepositoryPowerCut,
    VolumeFills,
    VolumePaused,
    VolumeSlow,
    WriterFailure,
)
from simulator.faults.life_cycle import MachineCreated
from simulator.faults.moments import AtCall, AtStep, AtTime, OfMachine, OfVolume, Trigger
from simulator.faults.orders import (
    ItemsTaken,
    MachineRestored,
    MachineRunFromPoint,
    Ordered,
    PointMounted,
    ReplicaConnected,
)
from simulator.faults.plan import Answer, AnswerKind, FaultPlan
from simulator.world import lifecycle, moves, newcomers, partitions, room, volumes
from simulator.world.cluster import World
from simulator.world.volume import SimVolume

_ANSWERS = {
    "fail": AnswerKind.FAIL,
    "lose": AnswerKind.LOSE,
    "hang": AnswerKind.HANG,
    "delay": AnswerKind.TRUE,
}


_STEPS = (StepEntered, StepLeft)


class EnginePower(Protocol):
    """The engine's own machine."""

    def cut(self, *, down_for: Duration) -> None:
        """Cut its power now and give it back `down_for` later."""

    def twin(self, *, cut_off: Duration, ends_after: Duration) -> None:
        """Start a second engine; the first hangs for `cut_off` and ends after `ends_after`."""

    def damage(self, objects: str, damage: str, /) -> None:
        """Damage the repository's newest object of a kind."""

    def order(self, ordered: Ordered, /) -> None:
        """Have the engine do what an administrator orders, also after its next start."""

    def replicate(self) -> None:
        """Have the engine bring points to the second repository."""

    def lose(self, count: int, /, *, torn: bool) -> None:
        """Lose the repository's newest objects, the oldest of them perhaps only in part."""


class Nemesis:
    """Holds the happenings of one run and watches the trace for their moments."""

    def __init__(self, world: World, plan: FaultPlan, engine: EnginePower, /) -> None:
        self._world, self._plan, self._engine = world, plan, engine
        self._at_step: dict[tuple[str, int, str], list[tuple[AtStep, Happening]]] = {}
        """What happens as a machine's backup enters or leaves a step, by these three."""

        self._steps: dict[tuple[str, int, str], int] = {}

    def expect(self, happenings: Sequence[Happening], /) -> None:
        """Prepare every happening for its moment."""
        for happening in happenings:
            match happening:
                case GuestSilence(machine=machine, occurrence=occurrence, late=late):
                    silent = Answer(kind=AnswerKind.HANG) if late is None else Answer(delay=late)
                    self._plan.disturb(machine, "freeze", occurrence, silent)
                case WriterFailure():
                    cause = f"writer {happening.writer} failed"
                    failed = Answer(kind=AnswerKind.FAIL, cause=cause)
                    for number in range(happening.times):
                        occurrence = happening.occurrence + number
                        self._plan.disturb(happening.machine, "freeze", occurrence, failed)
                case CallDisturbed():
                    answer = Answer(kind=_ANSWERS[happening.answer], delay=happening.delay)
                    for number in range(happening.times):
                        self._plan.disturb(
                            happening.subject,
                            happening.operation,
                            happening.occurrence + number,
                            answer,
                        )
                case _:
                    self._arm(happening, happening.on)

    def _arm(self, happening: Happening, on: Trigger) -> None:
        match on:
            case AtTime(at=at):
                self._later(happening, Duration(at))
            case AtStep():
                key = (on.machine, on.step, on.when)
                self._at_step.setdefault(key, []).append((on, happening))
            case AtCall():
                what = (lambda: self._in(Duration(on.delay), happening),)
                answer = Answer(before=what) if on.when == "before" else Answer(after=what)
                self._plan.disturb(on.subject, on.operation, on.occurrence, answer)

    def watch(self, fact: Fact, /) -> None:
        """Look at one fact of the trace; a step's fact may be a happening's moment."""
        if not isinstance(fact, _STEPS):
            return
        when = "before" if isinstance(fact, StepEntered) else "after"
        key = (fact.run.machine, fact.step, when)
        occurrence = self._steps[key] = self._steps.get(key, 0) + 1
        for on, happening in self._at_step.get(key, ()):
            if on.occurrence == occurrence:
                if on.delay:
                    self._later(happening, Duration(on.delay))
                else:
                    self._happen(happening)

    def _in(self, delay: Duration, happening: Happening) -> None:
        """Let it happen after a delay, or now."""
        self._later(happening, delay) if delay else self._happen(happening)

    def _later(self, happening: Happening, delay: Duration) -> None:
        async def wait() -> None:
            await self._world.sim.sleep(delay)
            self._happen(happening)

        self._spawn(wait(), "wait")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._world.sim.spawn(work, name=f"nemesis/{name}")

    def _happen(self, happening: Happening) -> None:
        world = self._world
        world.emit(
            FaultInjected(
                at=world.sim.now(),
                kind=_kind(happening),
                subject=self._subject(happening),
                what=_words(happening),
            )
        )
        match happening:
            case (
                EngineCrash()
                | EngineTwin()
                | RepositoryPowerCut()
                | ObjectDamaged()
                | MachineRestored()
                | PointMounted()
                | ItemsTaken()
                | ReplicaConnected()
                | MachineRunFromPoint()
            ):
                self._happen_to_engine(happening)
            case NodeCrash() | NodeLost():
                self._crash(happening)
            case NodeFull(node=node, lasts=lasts):
                self._spawn(
                    moves.fill(world, NodeName(node), lasts=Duration(lasts)), happening.kind
                )
            case AgentAppears(node=node):
                world.agentless.discard(NodeName(node))
                world.maps.install(NodeName(node))
            case MachineCreated():
                node, volume = NodeName(happening.node), VolumeName(happening.volume)
                newcomers.create(world, happening.name, node, volume, ByteCount(happening.size))
            case Partition():
                self._cut_off(happening)
            case Outage():
                self._fail(happening)
            case NodeDrain(node=node):
                self._spawn(moves.drain(world, NodeName(node)), happening.kind)
            case ClockJump():
                clock = happening.clock
                known = world.store_clock
                if clock != "repository":
                    known = (
                        world.clocks.get(NodeName(clock)) or world.guest_clocks[MachineId(clock)]
                    )
                known.jump(Duration(happening.by))
            case GuestSilence() | WriterFailure() | CallDisturbed():
                raise AssertionError(happening.kind)
            case OfVolume():
                self._happen_to_volume(happening, world.volumes[VolumeName(happening.volume)])
            case OfMachine():
                machine = world.machines[MachineId(happening.machine)]
                if not machine.deleted:
                    happen_to_machine(world, happening, machine, spawn=self._spawn)

    def _happen_to_engine(
        self,
        happening: EngineCrash
        | EngineTwin
        | RepositoryPowerCut
        | ObjectDamaged
        | MachineRestored
        | PointMounted
        | ItemsTaken
        | ReplicaConnected
        | MachineRunFromPoint,
    ) -> None:
        match happening:
            case ReplicaConnected(lasts=lasts):
                self._spawn(
                    partitions.connect(self._world, partitions.REPLICA, lasts=Duration(lasts)),
                    happening.kind,
                )
                self._engine.replicate()
            case MachineRestored() | PointMounted() | MachineRunFromPoint() | ItemsTaken():
                self._engine.order(happening)
            case EngineCrash():
                self._engine.cut(down_for=Duration(happening.down_for))
            case EngineTwin():
                self._engine.twin(
                    cut_off=Duration(happening.cut_off), ends_after=Duration(happening.ends_after)
                )
            case RepositoryPowerCut(loses=loses, torn=torn):
                self._engine.cut(down_for=Duration(happening.down_for))
                self._engine.lose(loses, torn=torn)
            case ObjectDamaged():
                self._engine.damage(happening.objects, happening.damage)

    def _happen_to_volume(self, happening: OfVolume, volume: SimVolume) -> None:
        world = self._world
        match happening:
            case CoordinatorMove():
                target = NodeName(happening.target)
                if world.member(target) and volume.coordinator != target and not volume.moving:
                    self._spawn(volumes.move_coordinator(world, volume, target), happening.kind)
            case VolumePaused():
                lasts = Duration(happening.lasts)
                self._spawn(volumes.pause(world, volume, lasts=lasts), happening.kind)
            case VolumeSlow():
                lasts, percent = Duration(happening.lasts), happening.percent
                slow = volumes.slow_down(world, volume, percent=percent, lasts=lasts)
                self._spawn(slow, happening.kind)
            case RedirectionDropped():
                volumes.drop_redirection(world, volume)
            case VolumeFills(amount=amount, lasts=lasts):
                fills = room.fill(world, volume, ByteCount(amount), lasts=Duration(lasts))
                self._spawn(fills, happening.kind)
            case ForeignSnapshot():
                lasts = Duration(happening.lasts)
                self._spawn(volumes.foreign_snapshot(world, volume, lasts=lasts), happening.kind)
            case _:
                raise AssertionError(happening)

    def _subject(self, happening: Happening) -> str:
        """Return whom or what the happening concerns first."""
        if isinstance(happening, Partition) and happening.node is not None:
            return self._node(happening.node) or ""
        return _subject(happening)

    def _node(self, named: str) -> NodeName | None:
        """Return the node of this name, or which runs the machine that is named, if one does."""
        if named.startswith("owner-of:"):
            return self._world.machines[MachineId(named.removeprefix("owner-of:"))].node
        return NodeName(named)

    def _cut_off(self, happening: Partition) -> None:
        world, lasts = self._world, Duration(happening.lasts)
        node = None if happening.node is None else self._node(happening.node)
        match happening.cut:
            case "engine-cluster":
                self._spawn(partitions.cut_off(world, partitions.CLUSTER, lasts=lasts), "partition")
            case "engine-repository":
                cut = partitions.cut_off(world, partitions.REPOSITORY, lasts=lasts)
                self._spawn(cut, "partition")
            case "node-engine" if node is not None:
                self._spawn(partitions.cut_off(world, node, lasts=lasts), "partition")
            case "node-cluster" if node is not None:
                self._spawn(partitions.isolate(world, node, lasts=lasts), "partition")
            case _:
                pass  # the machine runs nowhere now, so there is no node of it

    def _fail(self, happening: Outage) -> None:
        port = {
            "guest": partitions.GUEST,
            "tracker": partitions.TRACKER,
            "repository": partitions.STORE,
        }[happening.service]
        machine = None if happening.machine is None else MachineId(happening.machine)
        lasts = Duration(happening.lasts)
        self._spawn(partitions.fail(self._world, port, machine, lasts=lasts), "outage")

    def _crash(self, happening: NodeCrash | NodeLost) -> None:
        world = self._world
        if isinstance(happening, NodeLost):
            lifecycle.lose_node(world, NodeName(happening.node))
            return
        node = self._node(happening.node)
        if node is None:
            return
        crashed = node

        async def back() -> None:
            await world.sim.sleep(Duration(happening.down_for))
            world.start_node(crashed)

        world.crash_node(crashed)
        self._spawn(back(), "power-on")


def _kind(happening: Happening) -> str:
    """Return the happening's kind; an outage says of what."""
    if isinstance(happening, Outage):
        return f"outage/{happening.service}"
    return happening.kind


def _subject(happening: Happening) -> str:
    """Return whom or what the happening concerns first."""
    named = (getattr(happening, key, "") for key in ("machine", "volume", "node", "subject"))
    return next((name for name in named if name), "")


def _words(happening: Happening) -> str:
    """Return the happening in the words of the scenario file."""
    said = happening.model_dump(exclude_defaults=True, exclude={"kind", "on"})
    return ", ".join(f"{key}={value}" for key, value in said.items())
