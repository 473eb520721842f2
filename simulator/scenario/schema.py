"""The vocabulary of scenario files, and what makes a scenario impossible."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from reference_engine.model.outcome import Outcome
from simulator.faults.kinds import Happening, NodeCrash, Outage, Partition
from simulator.faults.life_cycle import MachineCloned, MachineCreated
from simulator.faults.moments import AtCall, AtStep, AtTime
from simulator.faults.quantities import Size, TimeSpan
from simulator.faults.table import Strict
from simulator.scenario.orders import Place, impossible_orders
from simulator.scenario.topology import Disk, Node, VirtualMachine, Volume
from simulator.world.applications.application import (
    LARGEST_CELL,
    LEAST_CELLS,
    SMALLEST_CELL,
)


class Protection(Strict):
    """When backups run, and how patient the engine is."""

    interval: TimeSpan = Field(default=3_600_000_000, gt=0)
    first: TimeSpan = Field(default=600_000_000, ge=0)
    stagger: TimeSpan = Field(default=60_000_000, ge=0)
    """Between one machine's slot and the next one's."""

    application_required: bool = False
    without_guest: Literal["cut", "save"] = "cut"
    """What is done about a machine whose guest cannot come to rest while it runs."""

    physical_disks: Literal["name", "refuse"] = "name"
    """Whether a machine with disks that no snapshot reaches is protected, those disks named."""

    attempts: int = Field(default=3, ge=1, le=10)
    retry_delay: TimeSpan = Field(default=60_000_000, ge=0)
    block: Size = Field(default=16384, ge=4096)
    sample_blocks: int = Field(default=0, ge=0)
    """How many blocks that trackers call unchanged each incremental copy compares."""

    discover: TimeSpan | None = Field(default=None, gt=0)
    """How often the engine looks for new machines, all of which it protects; None: never."""

    volume_reserve: Size = Field(default=1 << 20, ge=0)
    runs_at_once: int = Field(default=4, ge=1)
    runs_per_volume: int = Field(default=4, ge=1)
    runs_per_node: int = Field(default=4, ge=1)


class Store(Strict):
    """The repository: its room, its promises, and how it is looked after."""

    room: Size | None = Field(default=None, gt=0)
    keep_last: int = Field(default=0, ge=0)
    """How many points of each machine are kept; 0: all of them, and nothing is ever removed."""

    upkeep_every: TimeSpan = Field(default=3_600_000_000, gt=0)
    repack_growth_percent: int = Field(default=20, ge=0)
    """By how much packs grow before those of which little is used are repacked after an expiry."""

    immutable_for: TimeSpan = Field(default=0, ge=0)
    replica_kib_s: int = Field(default=1024, ge=1)
    """How fast the link to a second repository is, while there is one: `replica-connected`."""


class Skew(Strict):
    """How long a host takes from the request to the hold of its snapshot: Th - Tg."""

    shortest: TimeSpan = Field(default=500_000, ge=0)
    longest: TimeSpan = Field(default=20_000_000, ge=0)


class Expectation(Strict):
    """What must come of a machine's jobs; slots are counted from 1."""

    machine: str
    order: str | None = None
    """A restore of the machine, to which `outcome` and `cause` belong instead of to its jobs."""

    rewritten: list[str] | None = None
    """Which fields of the machine's configuration the restore says that it changed."""

    replicas: int | None = Field(default=None, ge=0)
    """How many points of the machine the second repository has in the end."""

    points_left: int | None = Field(default=None, ge=0)
    """How many points of the machine there are in the end."""

    slot: int | None = Field(default=None, ge=1)
    outcome: list[Outcome] | None = None
    consistency: Literal["application", "saved-state", "crash"] | None = None
    transfer: list[Literal["full", "incremental", "compare"]] | None = None
    points_at_least: int | None = Field(default=None, ge=0)
    points_at_most: int | None = Field(default=None, ge=0)
    quarantined: str | None = None
    """A node whose machine of the same identity has to be told apart."""

    skew: Literal["empty", "some"] | None = None
    cause: str | None = None
    """A part of the sentence that says why the outcome is no better."""

    disks: int | None = Field(default=None, ge=1)
    sent_at_most: Size | None = None
    attempts_at_most: int | None = Field(default=None, ge=1)
    own_seed_only: bool = False
    """Whether chance decides this: under another seed than the scenario's it is not asked."""


class Variant(Strict):
    """The same scenario with other happenings and expectations."""

    id: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    happenings: tuple[Happening, ...] = ()
    expect: tuple[Expectation, ...] = ()


class Scenario(Strict):
    """One scenario file."""

    why: str = Field(min_length=10)
    catalogue: str | None = None
    """The scenario's id in the catalogue, such as `D19`."""

    seed: int = Field(default=1, ge=0, lt=2**63)
    duration: TimeSpan = Field(gt=0)
    back_end: Literal["E1", "E2", "E3"] = "E1"
    cell: Size = Field(default=4096, ge=512)
    migration_waits_for_backup: bool = False
    rct_after_power_cut: Literal["coarse", "lost"] = "coarse"
    restart_delay: TimeSpan = Field(default=30_000_000, ge=0)
    merge_longest: TimeSpan = Field(default=30_000_000, ge=1_000_000)
    """How long a released checkpoint's difference disk may take to merge."""

    coordinator_move: TimeSpan = Field(default=2_000_000, ge=200_000)
    """How long a coordinator's move may take; above 10 s no snapshot is taken meanwhile."""
    freeze_bound: TimeSpan = Field(default=60_000_000, gt=0)
    canary_percent: int = Field(default=50, ge=0, le=100)
    nodes: list[Node] = Field(min_length=1, max_length=64)
    volumes: list[Volume] = Field(min_length=1, max_length=64)
    machines: list[VirtualMachine] = Field(min_length=1, max_length=1000)
    protection: Protection = Protection()
    repository: Store = Store()
    skew: Skew = Skew()
    happenings: tuple[Happening, ...] = ()
    expect: tuple[Expectation, ...] = ()
    variants: tuple[Variant, ...] = ()


Complaint = tuple[Place, str]
"""Where in the file, and what is wrong there."""


def impossibilities(scenario: Scenario, /) -> Iterator[Complaint]:
    """Yield everything that no cluster can be: names that are nobody's, sizes that do not fit."""
    yield from _duplicates(scenario)
    nodes = {node.name for node in scenario.nodes}
    volumes = {volume.name for volume in scenario.volumes}
    for index, volume in enumerate(scenario.volumes):
        if volume.coordinator not in nodes:
            yield ("volumes", index, "coordinator"), f"there is no node {volume.coordinator!r}"
    for index, machine in enumerate(scenario.machines):
        if machine.node not in nodes:
            yield ("machines", index, "node"), f"there is no node {machine.node!r}"
        shares = machine.writes.sequential_percent + machine.writes.hot_percent
        if shares + machine.writes.rewrite_percent > 100:
            yield ("machines", index, "writes"), "the shares of the bursts exceed 100 percent"
        for number, disk in enumerate(machine.disks):
            place = ("machines", index, "disks", number)
            if disk.volume not in volumes:
                yield (*place, "volume"), f"there is no volume {disk.volume!r}"
            yield from _disk_sizes(scenario, disk, place)
        yield from _application(scenario, machine, ("machines", index, "application"))
    if scenario.skew.longest < scenario.skew.shortest:
        yield ("skew", "longest"), "is shorter than the shortest"
    if scenario.protection.block % scenario.cell:
        yield ("protection", "block"), "is no multiple of the cell"
    yield from _happenings(scenario, scenario.happenings, ("happenings",))
    yield from _expectations(scenario, scenario.expect, ("expect",))
    for index, variant in enumerate(scenario.variants):
        here = ("variants", index)
        yield from _happenings(scenario, variant.happenings, (*here, "happenings"))
        yield from _expectations(scenario, variant.expect, (*here, "expect"))


def _application(scenario: Scenario, machine: VirtualMachine, place: Place) -> Iterator[Complaint]:
    if machine.application is None:
        return
    if not SMALLEST_CELL <= scenario.cell <= LARGEST_CELL:
        yield place, "needs cells of 4 KiB to 64 KiB"
    for disk in machine.disks[:2]:
        if disk.image is not None:
            yield place, "cannot lie on a real disk image, whose files are not its own"
        elif disk.size is not None and disk.size < LEAST_CELLS * scenario.cell:
            yield place, f"needs disks of at least {LEAST_CELLS} cells"


def _disk_sizes(scenario: Scenario, disk: Disk, place: Place) -> Iterator[Complaint]:
    if disk.image is None and disk.size is None:
        yield place, "a disk needs a size or an image"
    elif disk.image is not None and disk.size is not None:
        yield (*place, "size"), "comes from the image; leave one of the two out"
    elif disk.size is not None and disk.size % 512:
        yield (*place, "size"), "is no multiple of 512 bytes, a disk's sector"
    elif disk.size is not None and disk.size < 64 * scenario.cell:
        yield (*place, "size"), "is less than 64 cells, too small for a file system"
    elif disk.size is not None and disk.size > 64 << 40:
        yield (*place, "size"), "is more than 64 TiB, the largest VHDX"
    elif disk.size is not None and (disk.diff_area or 0) > disk.size // 2:
        yield (*place, "diff_area"), "is more than half of the disk"


def _duplicates(scenario: Scenario) -> Iterator[Complaint]:
    for table in ("nodes", "volumes", "machines"):
        seen: set[str] = set()
        for index, entry in enumerate(getattr(scenario, table)):
            if entry.name in seen:
                yield (table, index, "name"), f"{entry.name!r} is there twice"
            seen.add(entry.name)


def _happenings(
    scenario: Scenario, happenings: tuple[Happening, ...], place: Place
) -> Iterator[Complaint]:
    nodes = {node.name for node in scenario.nodes}
    machines = _machines(scenario)
    known = {
        "machine": machines,
        "volume": {volume.name for volume in scenario.volumes},
        "target": nodes,
        "node": nodes,
        "clock": nodes | machines | {"repository"},
    }
    for index, happening in enumerate(happenings):
        here = (*place, index)
        for key, there in known.items():
            named, names = getattr(happening, key, None), there
            if isinstance(happening, NodeCrash | Partition) and key == "node" and happening.node:
                named, names = _node_meant(happening.node, nodes, machines)
            if named is not None and named not in names:
                what = "clock of" if key == "clock" else "node" if key == "target" else key
                yield (*here, key), f"there is no {what} {getattr(happening, key)!r}"
        if isinstance(happening, NodeCrash) and len(nodes) == 1:
            yield here, "the only node cannot crash: nothing could restart its machines"
        if isinstance(happening, Partition):
            if (happening.node is None) == happening.cut.startswith("node-"):
                needs = "no node" if happening.node else "a node"
                yield (*here, "node"), f"a partition {happening.cut} concerns {needs}"
            if happening.cut == "node-cluster" and len(nodes) == 1:
                yield here, "the only node has no cluster to be cut off from"
        if isinstance(happening, Outage) and (
            (happening.machine is None) != (happening.service == "repository")
        ):
            needs = "no machine" if happening.machine else "a machine"
            yield (*here, "machine"), f"an outage of the {happening.service} concerns {needs}"
        yield from _trigger(scenario, happening, here)
    hosting = frozenset(machine.name for machine in scenario.machines if machine.application)
    yield from impossible_orders(happenings, place, hosting)


def _node_meant(named: str, nodes: set[str], machines: set[str]) -> tuple[str, set[str]]:
    """Return whose name is given for a node, and which names there are."""
    owner = named.removeprefix("owner-of:")
    return owner, nodes if owner == named else machines


def _trigger(scenario: Scenario, happening: Happening, here: Place) -> Iterator[Complaint]:
    match getattr(happening, "on", None):
        case AtTime(at=at) if at > scenario.duration:
            yield (*here, "on", "at"), "is after the scenario's end"
        case AtStep(machine=machine) if machine not in _machines(scenario):
            yield (*here, "on", "machine"), f"there is no machine {machine!r}"
        case AtCall() | AtStep() | AtTime() | None:
            pass


def _machines(scenario: Scenario) -> set[str]:
    """Return every machine that there is or will be; `~2` is the second of its name."""
    happenings = scenario.happenings + tuple(
        each for variant in scenario.variants for each in variant.happenings
    )
    created = [each.name for each in happenings if isinstance(each, MachineCreated | MachineCloned)]
    names = {machine.name for machine in scenario.machines}
    numbered = {f"{name}~{number}" for name in created for number in range(2, len(created) + 2)}
    return names.union(created, numbered)


def _expectations(
    scenario: Scenario, expect: tuple[Expectation, ...], place: Place
) -> Iterator[Complaint]:
    there = _machines(scenario)
    numbers = {machine.name: number for number, machine in enumerate(scenario.machines)}
    for index, expectation in enumerate(expect):
        here = (*place, index)
        number = numbers.get(expectation.machine)
        if expectation.machine not in there:
            yield (*here, "machine"), f"there is no machine {expectation.machine!r}"
        if number is None:  # one that comes later: when it is due is up to the engine
            continue
        slots = slot_count(scenario, number)
        if expectation.slot is not None and expectation.slot > slots:
            yield (*here, "slot"), f"the machine has only {slots} slots before the scenario's end"
        frozen = scenario.machines[number].guest != "none"
        if expectation.consistency == "application" and not frozen:
            yield (*here, "consistency"), "a guest that cannot be frozen has no such point"


def slot_count(scenario: Scenario, number: int, /) -> int:
    """Return how often the machine of this place in the file is due."""
    protection = scenario.protection
    first = protection.first + number * protection.stagger
    return max(0, -(-(scenario.duration - first) // protection.interval))
