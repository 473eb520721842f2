"""How everything stands at one instant of a run: machines, trackers, volumes, runs."""

import msgspec

from reference_engine.model.identity import NodeName, RunTag
from reference_engine.model.outcome import Step
from reference_engine.model.units import Instant
from reference_engine.reporting.figures import precise_clock
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import NodeChanged
from reference_engine.trace.engine import RunEnded, RunOpened, StepEntered, StepLeft
from simulator.campaign.night import Night
from simulator.world.cluster import World
from simulator.world.machine import SimMachine


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One thing and how it stands, for people."""

    what: str
    name: str
    state: str


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one instant."""

    at: Instant
    rows: tuple[Standing, ...]

    def lines(self) -> list[str]:
        """Return the state as lines of text."""
        width = max((len(row.name) for row in self.rows), default=0)
        return [
            f"state at {precise_clock(self.at)}",
            *(f"  {row.what:<8} {row.name:<{width}}  {row.state}" for row in self.rows),
        ]


def state_of(night: Night, /) -> State:
    """Return how everything stands in the night, now."""
    world = night.world
    rows = [_node(world, node) for node in world.nodes]
    rows += [
        Standing(
            what="volume",
            name=volume.name,
            state=f"coordinator {volume.coordinator}"
            + (", writes redirected" if volume.redirected else ""),
        )
        for volume in world.volumes.values()
    ]
    for machine in world.machines.values():
        rows.append(_machine(machine))
        rows += _trackers(world, machine)
    rows += [
        Standing(
            what="snapshot",
            name=str(snapshot.id),
            state=f"of {snapshot.run}, on {snapshot.node or 'the volume'}",
        )
        for snapshot in world.snapshots.values()
        if snapshot.exists
    ]
    rows += [
        Standing(what="run", name=str(run), state=state)
        for run, state in running(night.facts).items()
    ]
    return State(at=night.sim.now(), rows=tuple(rows))


def running(facts: list[Fact], /) -> dict[RunTag, str]:
    """Return each run that is under way after these facts, and where it is."""
    steps: dict[RunTag, str] = {}
    for fact in facts:
        match fact:
            case RunOpened():
                steps.setdefault(fact.run, "opened")
            case StepEntered():
                steps[fact.run] = f"in {_step(fact.step)}"
            case StepLeft():
                steps[fact.run] = f"behind {_step(fact.step)}"
            case RunEnded():
                steps.pop(fact.run, None)
            case NodeChanged(node="engine", running=False):
                steps.clear()
            case _:
                pass
    return steps


def _step(step: Step) -> str:
    return f"S{int(step)} {step.name.lower().replace('_', ' ')}"


def _node(world: World, node: NodeName) -> Standing:
    offset = world.clocks[node].read() - world.sim.now()
    wrong = f", clock {'-' if offset < 0 else '+'}{precise_clock(abs(offset))}" if offset else ""
    power = "running" if world.running(node) else "without power"
    return Standing(what="node", name=node, state=power + wrong)


def _machine(machine: SimMachine) -> Standing:
    where = "runs nowhere" if machine.node is None else f"on {machine.node}"
    signs = [
        ("migrating", machine.migrating),
        ("in blackout", machine.blackout),
        ("guest at rest", machine.guest.at_rest),
        ("guest snapshot kept", machine.guest.shadow is not None),
        ("writes held", bool(machine.holders)),
    ]
    said = [where, *(word for word, holds in signs if holds), f"{machine.stamp} writes"]
    return Standing(what="machine", name=machine.name, state=", ".join(said))


def _trackers(world: World, machine: SimMachine) -> list[Standing]:
    rows = []
    for disk in machine.disks:
        for node, kept in world.maps.known(disk.id):
            noted = kept.noted
            running_map = "lost" if noted is None else f"{noted} pieces noted"
            frozen = [
                f"frozen for {run}{' (lost)' if content is None else ''}"
                for run, content in kept.frozen.items()
            ]
            rows.append(
                Standing(
                    what="tracker",
                    name=f"{disk.id} on {node}",
                    state=", ".join([running_map, *frozen]),
                )
            )
    rows += [
        Standing(
            what="RCT",
            name=machine.name,
            state=f"{point.id} of {point.run}, from write {point.stamp}"
            + (", coarse" if point.coarse else "")
            + (", lost" if point.lost else ""),
        )
        for point in machine.references.values()
    ]
    return rows
