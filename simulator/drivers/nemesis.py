"""Makes the scenario's happenings happen: at a time, at a step of a run, or around a call."""

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from reference_engine.model.identity import MachineId, NodeName, VolumeName
from reference_engine.model.units import Duration
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import FaultInjected
from reference_engine.trace.engine import StepEntered, StepLeft
from simulator.faults.kinds import (
    AtCall,
    AtStep,
    AtTime,
    CallDisturbed,
    CoordinatorMove,
    EngineCrash,
    GuestSilence,
    Happening,
    LiveMigration,
    NodeCrash,
    TrackerLost,
    Trigger,
)
from simulator.faults.plan import Answer, AnswerKind, FaultPlan, Moment
from simulator.world.cluster import World

_ANSWERS = {
    "fail": AnswerKind.FAIL,
    "lose": AnswerKind.LOSE,
    "hang": AnswerKind.HANG,
    "delay": AnswerKind.TRUE,
}


class EnginePower(Protocol):
    """The engine's own machine."""

    def cut(self, *, down_for: Duration) -> None:
        """Cut its power now and give it back `down_for` later."""


class Nemesis:
    """Holds the happenings of one run and watches the trace for their moments."""

    def __init__(self, world: World, plan: FaultPlan, engine: EnginePower, /) -> None:
        self._world, self._plan, self._engine = world, plan, engine
        self._at_step: list[tuple[AtStep, Happening]] = []
        self._steps: dict[tuple[str, int, str], int] = {}

    def expect(self, happenings: Sequence[Happening], /) -> None:
        """Prepare every happening for its moment."""
        for happening in happenings:
            match happening:
                case GuestSilence(machine=machine, occurrence=occurrence, late=late):
                    silent = Answer(kind=AnswerKind.HANG) if late is None else Answer(delay=late)
                    self._plan.disturb(machine, "freeze", occurrence, silent)
                case CallDisturbed():
                    self._plan.disturb(
                        happening.subject,
                        happening.operation,
                        happening.occurrence,
                        Answer(kind=_ANSWERS[happening.answer], delay=happening.delay),
                    )
                case _:
                    self._arm(happening, happening.on)

    def _arm(self, happening: Happening, on: Trigger) -> None:
        match on:
            case AtTime(at=at):
                self._later(happening, Duration(at))
            case AtStep():
                self._at_step.append((on, happening))
            case AtCall():
                moment = Moment.BEFORE if on.when == "before" else Moment.AFTER
                answer = Answer(moment=moment, happenings=(lambda: self._happen(happening),))
                self._plan.disturb(on.subject, on.operation, on.occurrence, answer)

    def watch(self, fact: Fact, /) -> None:
        """Look at one fact of the trace; a step's fact may be a happening's moment."""
        if not isinstance(fact, StepEntered | StepLeft):
            return
        when = "before" if isinstance(fact, StepEntered) else "after"
        key = (str(fact.run.machine), int(fact.step), when)
        self._steps[key] = self._steps.get(key, 0) + 1
        for on, happening in self._at_step:
            if (on.machine, on.step, on.when) == key and on.occurrence == self._steps[key]:
                if on.delay or not isinstance(happening, EngineCrash):
                    self._later(happening, Duration(on.delay))
                else:
                    self._happen(happening)

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
                kind=happening.kind,
                subject=_subject(happening),
                what=_words(happening),
            )
        )
        match happening:
            case LiveMigration():
                self._spawn(
                    world.migrate(
                        world.machines[MachineId(happening.machine)],
                        NodeName(happening.target),
                        pre_copy=Duration(happening.pre_copy),
                        blackout=Duration(happening.blackout),
                    ),
                    "live-migration",
                )
            case CoordinatorMove():
                volume = world.volumes[VolumeName(happening.volume)]
                target = NodeName(happening.target)
                if world.running(target) and volume.coordinator != target:
                    world.set_coordinator(volume, target, why="balancer")
            case NodeCrash():
                self._crash(happening)
            case EngineCrash():
                self._engine.cut(down_for=Duration(happening.down_for))
            case TrackerLost():
                self._lose_trackers(MachineId(happening.machine))
            case GuestSilence() | CallDisturbed():
                raise AssertionError(happening.kind)

    def _crash(self, happening: NodeCrash) -> None:
        world = self._world
        node: NodeName | None = NodeName(happening.node)
        if happening.node.startswith("owner-of:"):
            node = world.machines[MachineId(happening.node.removeprefix("owner-of:"))].node
        if node is None:
            return
        crashed = node

        async def back() -> None:
            await world.sim.sleep(Duration(happening.down_for))
            world.start_node(crashed)

        world.crash_node(crashed)
        self._spawn(back(), "power-on")

    def _lose_trackers(self, machine: MachineId) -> None:
        found = self._world.machines[machine]
        found.advance()
        for disk in found.disks:
            for _, kept in self._world.maps.known(disk.id):
                kept.lose_running()
            for point in found.references.values():
                point.lost.add(disk.id)


def _subject(happening: Happening) -> str:
    """Return whom or what the happening concerns first."""
    named = (getattr(happening, key, "") for key in ("machine", "volume", "node", "subject"))
    return next((name for name in named if name), "")


def _words(happening: Happening) -> str:
    """Return the happening in the words of the scenario file."""
    said = happening.model_dump(exclude_defaults=True, exclude={"kind", "on"})
    return ", ".join(f"{key}={value}" for key, value in said.items())
