"""A scenario as text: who is where, and what happens when."""

from collections.abc import Iterator
from typing import Final

from reference_engine.app.output import sized
from reference_engine.model.wording import counted
from simulator.campaign.trial import said_of, wanted_of
from simulator.faults.kinds import Happening
from simulator.faults.moments import AtCall, AtStep, AtTime, Trigger
from simulator.faults.quantities import write_duration
from simulator.scenario.schema import Expectation, Scenario, Variant
from simulator.scenario.topology import Disk, VirtualMachine

_WIDTH: Final = 60
_LATER: Final = 1 << 62
_SLOT_MARK: Final = "|"


def drawing_of(scenario: Scenario, /) -> Iterator[str]:
    """Yield the lines: topology, timeline, what happens, what is expected."""
    catalogue = f"{scenario.catalogue}: " if scenario.catalogue else ""
    yield f"{catalogue}{scenario.why}"
    yield ""
    yield from _topology(scenario)
    yield ""
    yield from _timeline(scenario)
    yield from _happenings(scenario.happenings)
    yield from _expectations(scenario.expect)
    for variant in scenario.variants:
        yield from _variant(variant)


def _topology(scenario: Scenario) -> Iterator[str]:
    yield (
        f"{scenario.back_end}, {counted(len(scenario.nodes), 'node')}, "
        f"{counted(len(scenario.volumes), 'volume')}, "
        f"{counted(len(scenario.machines), 'machine')}, seed {scenario.seed}"
    )
    for node in scenario.nodes:
        led = [volume.name for volume in scenario.volumes if volume.coordinator == node.name]
        here = [machine for machine in scenario.machines if machine.node == node.name]
        own = f" ({node.back_end})" if node.back_end else ""
        clock = f", clock {write_duration(node.clock_offset)} off" if node.clock_offset else ""
        yield f"+- {node.name}{own}{', coordinates ' + ', '.join(led) if led else ''}{clock}"
        for machine in here:
            yield f"|  +- {_machine(machine)}"
            for number, disk in enumerate(machine.disks):
                yield f"|     +- disk{number}: {_disk(disk)}"


def _machine(machine: VirtualMachine) -> str:
    guest = {"vss": "VSS", "fsfreeze": "fsfreeze", "none": "cannot be frozen"}[machine.guest]
    runs = f", runs {machine.application}" if machine.application else ""
    return f"{machine.name}, {guest}, {machine.writes.bursts_per_hour} bursts an hour{runs}"


def _disk(disk: Disk) -> str:
    what = f"image {disk.image}" if disk.size is None else sized(disk.size)
    return f"{what} on {disk.volume}"


def _timeline(scenario: Scenario) -> Iterator[str]:
    """Draw one line a machine, its slots marked, and one for what happens at an instant."""
    protection = scenario.protection
    longest = max(len(machine.name) for machine in scenario.machines)
    yield f"{' ' * longest}  0{'':{_WIDTH - 1}}{write_duration(scenario.duration)}"
    for index, machine in enumerate(scenario.machines):
        line = ["-"] * (_WIDTH + 1)
        first = protection.first + index * protection.stagger
        for at in range(first, scenario.duration, protection.interval):
            line[at * _WIDTH // scenario.duration] = _SLOT_MARK
        yield f"{machine.name:{longest}}  {''.join(line)}"
    timed = [each for each in scenario.happenings if _at(each) < _LATER]
    if timed:
        line = [" "] * (_WIDTH + 1)
        for happening in timed:
            line[_at(happening) * _WIDTH // scenario.duration] = "*"
        yield f"{'':{longest}}  {''.join(line).rstrip()}"
    yield f"{'':{longest}}  {_SLOT_MARK} a backup is due{', * something happens' if timed else ''}"


def _at(happening: Happening) -> int:
    on = getattr(happening, "on", None)
    return on.at if isinstance(on, AtTime) else _LATER


def _happenings(happenings: tuple[Happening, ...], indent: str = "") -> Iterator[str]:
    if happenings:
        yield ""
        yield f"{indent}happens:"
    for happening in sorted(happenings, key=_at):
        said = happening.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "on"})
        words = ", ".join(f"{key} {said_of(value)}" for key, value in said.items())
        on = getattr(happening, "on", None)
        when = f"{_when(on)}: " if on is not None else ""
        yield f"{indent}  {when}{happening.kind}{f' ({words})' if words else ''}"


def _when(on: Trigger) -> str:
    match on:
        case AtTime(at=at):
            return f"at {write_duration(at)}"
        case AtStep():
            later = f" + {write_duration(on.delay)}" if on.delay else ""
            return f"{on.when} S{on.step} of {on.machine}, time {on.occurrence}{later}"
        case AtCall():
            return f"{on.when} call {on.occurrence} of {on.operation} of {on.subject}"


def _expectations(expectations: tuple[Expectation, ...], indent: str = "") -> Iterator[str]:
    if expectations:
        yield ""
        yield f"{indent}must come of it:"
    for each in expectations:
        slot = "every slot" if each.slot is None else f"slot {each.slot}"
        seed = " (under its own seed)" if each.own_seed_only else ""
        yield f"{indent}  {each.machine} {slot}: {wanted_of(each)}{seed}"


def _variant(variant: Variant) -> Iterator[str]:
    yield ""
    yield f"variant {variant.id}"
    yield from _happenings(variant.happenings, "  ")
    yield from _expectations(variant.expect, "  ")
