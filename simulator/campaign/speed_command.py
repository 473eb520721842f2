"""`twinshot bench simulate`: how fast virtual time, the default night and a fleet are simulated."""

import multiprocessing
import resource
import sys
from array import array
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import perf_counter, process_time  # noqa: TID251 - what is measured
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import HOUR, Duration, Instant
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import PointBecameVisible
from reference_engine.trace.engine import JobEnded
from simulator.campaign.judging import Prover
from simulator.campaign.long_proof import LongProver
from simulator.campaign.night import Night, Watcher
from simulator.faults.plan import FaultPlan
from simulator.kernel.simulation import Simulation
from simulator.oracle.evidence import PointProof
from simulator.scenario.library import library
from simulator.scenario.reading import read_scenario
from simulator.scenario.schema import Scenario

_SLEEPERS: Final = 100
_SLEEPS: Final = 500
_MONTH_H: Final = 30 * 24
_LEAST_FOR_A_LAW: Final = 40
_HOURS_MAX: Final = 2 * _MONTH_H
_HOUR_BYTES: Final = 4
"""What goes from a measuring process to the other is an hour of this length, or the result."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One night, measured."""

    name: str
    simulated_h: float
    cpu_s: float
    """Seconds of one processor, everything that proves the points included."""

    wall_s: float
    events: int
    """What the kernel took from its queue."""

    jobs: int
    """Slots that the engine ran to an end."""

    points: int
    """Backups that were committed, each held against the truth in that instant."""

    whole: int
    """How many of the points were read whole then; of the others what had changed."""

    kept: int
    """How many of the points still existed in the end, and were all read whole once more."""

    wrong: tuple[str, ...]
    """What was not as the truth says."""

    memory_mib: int
    """Peak of the process that did nothing else."""

    half_cpu_s: float
    """When half of the points were there."""

    last_cpu_s: float
    """When the last point was there; then the points that still exist are read once more."""

    def month_cpu_s(self) -> tuple[float, float] | None:
        """Return what thirty days of it would cost; None where too little was measured.

        First at the pace of the second half; then if the cost of a point goes on growing linearly
        with the points that there were before, as it did from the first half to the second. The
        first half is always a little cheaper, for there is less to expire: the truth is between.
        """
        if self.points < _LEAST_FOR_A_LAW:
            return None
        half = self.points / 2
        month = self.points * _MONTH_H / self.simulated_h
        later = month * (self.last_cpu_s - self.half_cpu_s) / half
        growth = (self.last_cpu_s - 2 * self.half_cpu_s) / half**2
        if growth <= 0:
            return later, later
        first = self.half_cpu_s / half - growth * half / 2
        return later, max(later, month * max(0.0, first) + growth * month**2 / 2)


def simulate(
    *,
    nodes: int = 8,
    machines: int = 100,
    hours: int = 24,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Measure the simulator: bare events, the default night, and a fleet with hourly points.

    Each is simulated in a process of its own. Every point is compared with the truth as it is
    committed: of the night whole; of the fleet what changed since the point before, whole every
    16th time, and all that still exist in the end. Invariants are not judged.

    Args:
        nodes: Nodes of the fleet, each with a volume.
        machines: Machines of the fleet.
        hours: How long the fleet is simulated.
        output: Where results go.
    """
    for name, amount, most in (("nodes", nodes, 64), ("machines", machines, 1000)):
        if not 1 <= amount <= most:
            raise InputRefusedError(
                f"a fleet of {amount} {name} cannot be simulated", f"give 1 to {most}"
            )
    if not 1 <= hours <= _HOURS_MAX:
        raise InputRefusedError(
            f"a fleet cannot be simulated for {hours} hours", f"give 1 to {_HOURS_MAX}"
        )
    fleet = (nodes, machines, hours)
    with output.steps("bare events", 12 + hours) as advance:
        bare = _bare_events()
        done = [
            _apart(None, lambda hour: advance(hour, "the default night")),
            _apart(fleet, lambda hour: advance(12 + hour, f"{machines} machines")),
        ]
    output.say(f"{bare:,.0f} bare events a second")
    output.table(_HEADER, [_row(each) for each in done])
    for each in done:
        output.record("measured", **msgspec.structs.asdict(each), month_cpu_s=each.month_cpu_s())
        for wrong in each.wrong:
            output.say(f"{each.name}: {wrong}")
    month = done[-1].month_cpu_s()
    if month is not None and hours < _MONTH_H:
        output.say(
            f"30 days of the fleet: {month[0] / 60:,.0f} minutes of one processor at the pace of "
            f"its second half, {month[1] / 60:,.0f} if it goes on slowing down as since the first"
        )
    code = ExitCode.FINDING if any(each.wrong for each in done) else ExitCode.OK
    output.summary(bare_events_per_s=round(bare), exit_code=int(code))
    return code


def fleet_of(nodes: int, machines: int, hours: int, /) -> Scenario:
    """Return quiet machines with hourly points, spread over the hour, of which three are kept."""
    return Scenario.model_validate(
        {
            "why": "A fleet, to see what a point costs.",
            "duration": f"{hours}h",
            "back_end": "E3",
            "nodes": [{"name": f"N{number}"} for number in range(nodes)],
            "volumes": [
                {"name": f"V{number}", "coordinator": f"N{number}"} for number in range(nodes)
            ],
            "machines": [
                {
                    "name": f"vm{number}",
                    "node": f"N{number % nodes}",
                    "disks": [{"volume": f"V{number % nodes}", "size": "1 MiB"}],
                    "writes": {"bursts_per_hour": 12},
                }
                for number in range(machines)
            ],
            "repository": {"keep_last": 3},
            "protection": {
                "first": "1m",
                "stagger": f"{3_000_000 // machines}ms",
                "runs_at_once": 64,
                "runs_per_volume": 16,
                "runs_per_node": 16,
            },
        }
    )


class _Clocked(Watcher):
    """Hands facts on, counts jobs, and notes what the processor had done at each point."""

    def __init__(self, prover: Prover | LongProver, /) -> None:
        self.prover, self.keeps_facts = prover, prover.keeps_facts
        self.jobs = 0
        self.at = array("d")

    def see(self, fact: Fact, night: Night, /) -> None:
        """Prove a point."""
        self.prover.see(fact, night)
        if isinstance(fact, JobEnded):
            self.jobs += 1
        elif isinstance(fact, PointBecameVisible):
            self.at.append(process_time())


def measured(
    name: str, scenario: Scenario, prover: Prover | LongProver, progress: Callable[[int], None], /
) -> Measured:
    """Return what it costs to simulate a scenario and to prove its points; told of each hour."""
    clocked = _Clocked(prover)
    told = [0]

    def passed(now: Instant) -> None:
        if now // HOUR > told[0]:
            told[0] = now // HOUR
            progress(told[0])

    wall, began = perf_counter(), process_time()
    night = Night(
        scenario,
        seed=scenario.seed,
        happenings=scenario.happenings,
        images={},
        plan=FaultPlan(),
        watcher=clocked,
        progress=passed,
    )
    night.run()
    kept, wrong, whole = 0, list[str](), len(clocked.at)
    if isinstance(prover, LongProver):
        kept, wrong, whole = prover.finish(night), prover.wrong, prover.whole
    else:
        wrong = [str(p.point.id) for p in prover.proofs.values() if _differs(p)]
    ended = process_time()
    points = len(clocked.at)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(
        name=name,
        simulated_h=scenario.duration / HOUR,
        cpu_s=ended - began,
        wall_s=perf_counter() - wall,
        events=night.sim.steps,
        jobs=clocked.jobs,
        points=points,
        whole=whole,
        kept=kept,
        wrong=tuple(wrong),
        memory_mib=peak // (1 << 20 if sys.platform == "darwin" else 1 << 10),
        half_cpu_s=clocked.at[points // 2 - 1] - began if points > 1 else 0.0,
        last_cpu_s=clocked.at[-1] - began if points else 0.0,
    )


def _differs(proof: PointProof) -> bool:
    return bool(proof.unreadable) or any(disk.wrong or disk.not_blank for disk in proof.disks)


def _apart(fleet: tuple[int, int, int] | None, progress: Callable[[int], None]) -> Measured:
    """Measure in a process of its own, whose peak of memory is then nobody else's."""
    spawning = multiprocessing.get_context("spawn")
    receiving, sending = spawning.Pipe(duplex=False)
    process = spawning.Process(target=_measure, args=(fleet, sending))
    process.start()
    sending.close()
    while True:
        heard = receiving.recv_bytes()
        if len(heard) > _HOUR_BYTES:
            process.join()
            return msgspec.msgpack.decode(heard, type=Measured)
        progress(int.from_bytes(heard, "little"))


def _measure(fleet: tuple[int, int, int] | None, sending: Connection) -> None:
    """Measure the default night, or a fleet, and send the hours and then the result."""

    def progress(hour: int) -> None:
        sending.send_bytes(hour.to_bytes(_HOUR_BYTES, "little"))

    if fleet is None:
        scenario = read_scenario(library() / "baseline" / "first_night.toml")
        done = measured("default night", scenario, Prover(), progress)
    else:
        nodes, machines, _ = fleet
        name = f"{machines} machines, {nodes} nodes"
        done = measured(name, fleet_of(*fleet), LongProver(), progress)
    sending.send_bytes(msgspec.msgpack.encode(done))


def _bare_events() -> float:
    """Return how many events a second the kernel handles when tasks only sleep."""
    sim = Simulation(1)

    async def sleeper(number: int) -> None:
        for turn in range(_SLEEPS):
            await sim.sleep(Duration(1 + (number * turn) % 97))

    async def main() -> None:
        for task in [sim.spawn(sleeper(number), name=str(number)) for number in range(_SLEEPERS)]:
            await task

    began = process_time()
    sim.run(main())
    steps = sim.steps
    sim.close()
    return steps / (process_time() - began)


_HEADER: Final = (
    "WHAT",
    "SIMULATED",
    "CPU S",
    "EVENTS/S",
    "JOBS/S",
    "POINTS",
    "POINTS/S",
    "H PER S",
    "MEMORY",
)


def _row(each: Measured) -> tuple[str, ...]:
    return (
        each.name,
        f"{each.simulated_h:g} h",
        f"{each.cpu_s:.1f}",
        f"{each.events / each.cpu_s:,.0f}",
        f"{each.jobs / each.cpu_s:,.0f}",
        f"{each.points:,}",
        f"{each.points / each.cpu_s:,.0f}",
        f"{each.simulated_h / each.wall_s:.2f}",
        f"{each.memory_mib} MiB",
    )
