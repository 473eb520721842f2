"""A failing scenario in one sentence."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from reference_engine.model.outcome import Step
from simulator.campaign.sweep.seeds import Breach
from simulator.faults.kinds import CallDisturbed, GuestSilence, Happening, Partition
from simulator.faults.moments import AtCall, AtStep, AtTime
from simulator.faults.quantities import write_duration
from simulator.oracle.registry import INVARIANTS
from simulator.scenario.schema import Scenario

_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth")


def story_of(scenario: Scenario, breach: Breach, /) -> str:
    """Return what happens to whom, and what breaks."""
    happenings = "; ".join(map(told, scenario.happenings)) or "nothing unusual happens"
    titles = {invariant.id: invariant.title for invariant in INVARIANTS}
    promise = titles.get(breach.invariant, "")
    broken = f"{breach.invariant} ({promise}) breaks" if promise else f"{breach.invariant} breaks"
    first = breach.detail.partition("; ")[0]
    sentence = f"{_cluster(scenario)}: {happenings}; then {broken}: {first}."
    return " ".join(sentence.split())


def _cluster(scenario: Scenario) -> str:
    counts = (
        (len(scenario.machines), "machine"),
        (len(scenario.nodes), "node"),
        (sum(len(machine.disks) for machine in scenario.machines), "disk"),
    )
    said = ", ".join(f"{count} {word}{'s' if count != 1 else ''}" for count, word in counts)
    return f"{scenario.back_end}, {said}"


def told(happening: Happening, /) -> str:
    """Return one happening as part of a sentence; a kind without words of its own by its name."""
    on = getattr(happening, "on", None)
    when = "" if on is None else f"{_when(on)} "
    return when + _SAYINGS.get(happening.kind, _plainly)(happening)


def _plainly(happening: Any) -> str:
    said = happening.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "on"})
    return " ".join([happening.kind, *(f"{key}={value}" for key, value in said.items())])


def _silence(silence: GuestSilence) -> str:
    nth = _nth(silence.occurrence)
    if silence.late is None:
        return f"{silence.machine} never answers its {nth} freeze"
    return f"{silence.machine} is {write_duration(silence.late)} late with its {nth} freeze"


def _sides(partition: Partition) -> str:
    one, other = partition.cut.split("-")
    if partition.node is not None:
        one = partition.node.replace("owner-of:", "the node of ")
        return f"{one} and the {other}"
    return f"the {one} and the {other}"


_SAYINGS: Final[Mapping[str, Callable[[Any], str]]] = {
    "live-migration": lambda each: f"{each.machine} migrates to {each.target}",
    "coordinator-move": lambda each: f"the coordinator of {each.volume} moves to {each.target}",
    "node-crash": lambda each: (
        f"{each.node.replace('owner-of:', 'the node of ')} loses power for "
        f"{write_duration(each.down_for)}"
    ),
    "partition": lambda each: (
        f"{_sides(each)} cannot reach each other for {write_duration(each.lasts)}"
    ),
    "outage": lambda each: (
        f"the {each.service} service {f'of {each.machine} ' if each.machine else ''}"
        f"fails for {write_duration(each.lasts)}"
    ),
    "engine-crash": lambda each: f"the engine loses power for {write_duration(each.down_for)}",
    "tracker-lost": lambda each: f"the trackers of {each.machine} lose what they knew",
    "guest-silence": _silence,
    "call-disturbed": lambda each: f"{_nth_call(each)} {_course(each)}",
}


def _course(happening: CallDisturbed) -> str:
    return {
        "fail": "fails",
        "lose": "is carried out, but its answer is lost",
        "hang": "never returns",
        "delay": f"comes {write_duration(happening.delay)} late",
    }[happening.answer]


def _nth_call(call: CallDisturbed | AtCall) -> str:
    return f"the {_nth(call.occurrence)} {call.operation} of {call.subject}"


def _when(on: AtTime | AtStep | AtCall) -> str:
    match on:
        case AtTime(at=at):
            return f"at {write_duration(at)}"
        case AtStep():
            step = f"S{on.step} ({Step(on.step).name.lower().replace('_', ' ')})"
            verb = "enters" if on.when == "before" else "leaves"
            later = f", {write_duration(on.delay)} later" if on.delay else ""
            where = f"{verb} {step} the {_nth(on.occurrence)} time"
            return f"when the backup of {on.machine} {where}{later},"
        case AtCall():
            return f"{on.when} {_nth_call(on)}"


def _nth(number: int) -> str:
    return _ORDINALS[number - 1] if number <= len(_ORDINALS) else f"{number}th"
