"""`twinshot bench simulate`: how fast virtual time, the default night and a fleet are simulated."""

import resource
import sys
from collections.abc import Callable
from time import process_time  # noqa: TID251 - what is measured
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import HOUR, Duration, Instant
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import PointBecameVisible
from simulator.campaign.judging import Prover
from simulator.campaign.night import Night
from simulator.faults.plan import FaultPlan
from simulator.kernel.simulation import Simulation
from simulator.scenario.library import library
from simulator.scenario.reading import read_scenario
from simulator.scenario.schema import Scenario

_SLEEPERS: Final = 100
_SLEEPS: Final = 500
_MONTH_H: Final = 30 * 24
_LEAST_FOR_A_LAW: Final = 40


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One night, measured in seconds of one processor."""

    name: str
    simulated_h: float
    cpu_s: float
    events: int
    """What the kernel took from its queue."""

    points: int
    """Backups that were committed, each restored and compared at that instant."""

    memory_mib: int
    """Peak of this process so far."""

    half_cpu_s: float
    """When half of the points were there."""

    def month_cpu_s(self) -> float | None:
        """Return what thirty days of it would cost; None where too little was measured.

        The cost of a point is taken to grow linearly with the points that there are already, as
        the two halves show.
        """
        if self.points < _LEAST_FOR_A_LAW:
            return None
        half = self.points / 2
        growth = max(0.0, (self.cpu_s - 2 * self.half_cpu_s) / half**2)
        first = self.half_cpu_s / half - growth * half / 2
        month = self.points * _MONTH_H / self.simulated_h
        return month * max(0.0, first) + growth * month**2 / 2


def simulate(
    *,
    nodes: int = 8,
    machines: int = 100,
    hours: int = 2,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Measure the simulator: bare events, the default night, and a fleet with hourly points.

    Seconds are those of one processor. Every point is restored and compared as it is committed;
    invariants are not judged.

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
    if hours < 1:
        raise InputRefusedError(f"{hours} hours are over at once", "give at least one")
    total = 12 + hours
    with output.steps("bare events", total) as advance:
        bare = _bare_events()

        def night(now: Instant) -> None:
            advance(int(now / HOUR), "the default night")

        def fleet(now: Instant) -> None:
            advance(12 + int(now / HOUR), f"{machines} machines")

        first = read_scenario(library() / "baseline" / "first_night.toml")
        name = f"{machines} machines, {nodes} nodes"
        done = [
            measured("default night", first, night),
            measured(name, fleet_of(nodes, machines, hours), fleet),
        ]
    output.say(f"{bare:,.0f} bare events a second")
    output.table(
        ("WHAT", "SIMULATED", "CPU S", "EVENTS/S", "POINTS", "POINTS/S", "H PER S", "MEMORY"),
        [_row(each) for each in done],
    )
    for each in done:
        output.record("measured", **msgspec.structs.asdict(each), month_cpu_s=each.month_cpu_s())
    month = done[-1].month_cpu_s()
    if month is not None:
        output.say(
            f"30 days of the fleet, extrapolated from how its second half compares with its first: "
            f"{month / 60:,.0f} minutes of one processor"
        )
    output.summary(bare_events_per_s=round(bare), exit_code=int(ExitCode.OK))
    return ExitCode.OK


def fleet_of(nodes: int, machines: int, hours: int, /) -> Scenario:
    """Return quiet machines with hourly points, spread over the hour."""
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
            "protection": {
                "first": "1m",
                "stagger": f"{3_000_000 // machines}ms",
                "runs_at_once": 64,
                "runs_per_volume": 16,
                "runs_per_node": 16,
            },
        }
    )


class _Clocked(Prover):
    """Proves points, and notes what the processor had done at each."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def see(self, fact: Fact, night: Night, /) -> None:
        """Prove a point."""
        super().see(fact, night)
        if isinstance(fact, PointBecameVisible):
            self.at.append(process_time())


def measured(name: str, scenario: Scenario, progress: Callable[[Instant], None], /) -> Measured:
    """Return what simulating a scenario costs, every point restored as it is committed."""
    clocked = _Clocked()
    began = process_time()
    night = Night(
        scenario,
        seed=scenario.seed,
        happenings=scenario.happenings,
        images={},
        plan=FaultPlan(),
        watcher=clocked,
        progress=progress,
    )
    night.run()
    ended = process_time()
    points = len(clocked.at)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(
        name=name,
        simulated_h=scenario.duration / HOUR,
        cpu_s=ended - began,
        events=night.sim.steps,
        points=points,
        memory_mib=peak // (1 << 20 if sys.platform == "darwin" else 1 << 10),
        half_cpu_s=clocked.at[points // 2 - 1] - began if points > 1 else 0.0,
    )


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


def _row(each: Measured) -> tuple[str, ...]:
    return (
        each.name,
        f"{each.simulated_h:g} h",
        f"{each.cpu_s:.1f}",
        f"{each.events / each.cpu_s:,.0f}",
        f"{each.points:,}",
        f"{each.points / each.cpu_s:,.0f}",
        f"{each.simulated_h / each.cpu_s:.2f}",
        f"{each.memory_mib} MiB",
    )
