"""Hypothesis plays the cluster: it lets time pass and things happen, and the engine has to hold."""

from typing import Any, Final

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import TypeAdapter

from reference_engine.model.units import HOUR, SECOND, Duration, Instant
from simulator.campaign.exploring.small_world import BackEndName, Scope, small_scenario
from simulator.campaign.judging import Prover, gather
from simulator.campaign.mutants import with_mutant
from simulator.campaign.night import Night
from simulator.campaign.sweep.seeds import broken_of, findings
from simulator.campaign.trial import subject_of
from simulator.faults.kinds import Happening
from simulator.faults.plan import FaultPlan
from simulator.kernel.task import SimTask
from simulator.oracle.registry import judge
from simulator.scenario.schema import Scenario

HAPPENING: Final[TypeAdapter[Happening]] = TypeAdapter(Happening)
LAST: Final = 20 * 60 * SECOND
"""Nothing more happens after it: one backup follows in peace."""

NODES: Final = st.sampled_from(["A", "B"])
OF_MACHINE: Final = st.sampled_from(
    [
        "guest-writes",
        "tracker-lost",
        "tracker-over-reports",
        "reference-points-removed",
        "guest-thawed",
        "foreign-checkpoint",
        "user-checkpoint",
        "user-revert",
        "disk-replaced",
        "machine-stopped",
    ]
)


class Cluster(RuleBasedStateMachine):
    """The smallest world, in which rules are happenings and waits."""

    @initialize(back_end=st.sampled_from(["E1", "E3"]), seed=st.integers(0, 3))
    def begin(self, back_end: BackEndName, seed: int) -> None:
        """Start a night of three backups."""
        scope = Scope(back_end=back_end, seed=seed, events=1, machines=1, backups=2)
        self.scenario = small_scenario(scope)
        self.prover = Prover()
        self.night = Night(
            self.scenario,
            seed=self.scenario.seed,
            happenings=(),
            images={},
            plan=FaultPlan(),
            watcher=self.prover,
            progress=lambda _: None,
        )
        self.said: list[Happening] = []
        self.main: SimTask = self.night.sim.spawn(self.night._main(), name="night")
        self.main.joined = True

    @property
    def open(self) -> bool:
        """Whether things may still happen."""
        return self.night.sim.now() < LAST

    def happen(self, kind: str, **fields: Any) -> None:
        """Let something happen now, and write it down as a scenario would say it."""
        now = self.night.sim.now()
        at = f"{now / 1000!r}ms"
        self.said.append(HAPPENING.validate_python({"kind": kind, "on": {"at": at}, **fields}))
        self.night.expect((HAPPENING.validate_python({"kind": kind, "on": {"at": 0}, **fields}),))

    @rule(milliseconds=st.sampled_from([1, 20, 150, 700, 2_500, 30_000, 300_000]))
    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.pass_time(Duration(milliseconds * 1000))

    @precondition(lambda self: self.open)
    @rule(milliseconds=st.integers(0, 9_000))
    def wait_for_a_backup(self, milliseconds: int) -> None:
        """Let time pass into the next backup: what happens between two of them is easily met."""
        due = self.scenario.protection
        since = self.night.sim.now() - due.first
        gap = due.interval - since % due.interval if since >= 0 else -since
        self.pass_time(Duration(gap + milliseconds * 1000))

    def pass_time(self, duration: Duration) -> None:
        """Let the night go on for so long."""

        async def passing() -> None:
            await self.night.sim.sleep(duration)

        self.night.sim.run(passing())

    @precondition(lambda self: self.open)
    @rule(kind=OF_MACHINE)
    def happen_to_machine(self, kind: str) -> None:
        """Something happens to the machine, its guest or its trackers."""
        self.happen(kind, machine="vm1")

    @precondition(lambda self: self.open)
    @rule(node=NODES)
    def migrate(self, node: str) -> None:
        """The machine moves to a node."""
        self.happen("live-migration", machine="vm1", target=node, pre_copy="300ms")

    @precondition(lambda self: self.open)
    @rule(node=NODES)
    def move_coordinator(self, node: str) -> None:
        """The volume is coordinated by a node."""
        self.happen("coordinator-move", volume="V", target=node)

    @precondition(lambda self: self.open)
    @rule(node=NODES)
    def crash_node(self, node: str) -> None:
        """A node loses power."""
        self.happen("node-crash", node=node, down_for="90s")

    @precondition(lambda self: self.open)
    @rule()
    def crash_engine(self) -> None:
        """The engine loses power."""
        self.happen("engine-crash", down_for="20s")

    @invariant()
    def every_point_is_what_it_says(self) -> None:
        """Whatever has happened so far: each point was exact in the instant it appeared."""
        if not hasattr(self, "prover"):
            return
        for proof in self.prover.proofs.values():
            assert proof.unreadable == ""
            assert not any(disk.wrong or disk.not_blank for disk in proof.disks), proof

    def teardown(self) -> None:
        """End the night in peace: every invariant holds, also in the scenario written down."""
        if not hasattr(self, "night"):
            return
        night = self.night

        async def end() -> None:
            await self.main

        night.sim.run(end(), limit=Instant(self.scenario.duration + 6 * HOUR))
        evidence = gather(
            night,
            self.prover,
            restore_again=False,
            restored=lambda _, __: None,
            second_digest=None,
            sources_unchanged={},
        )
        night.sim.close()
        broken = broken_of(judge(evidence))
        assert broken == (), (broken, self.said)
        written = Scenario.model_validate(
            {
                **self.scenario.model_dump(mode="json", exclude_defaults=True),
                "happenings": [each.model_dump(mode="json") for each in self.said],
            }
        )
        assert findings(subject_of(written, name="machine")) == ()


def test_a_planted_bug_is_found() -> None:
    """The machine can fail: nobody who clears up behind a dead run does not get past it."""
    found = settings(
        max_examples=40,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
    )

    with with_mutant("leftovers-not-cleared"), pytest.raises(AssertionError):
        run_state_machine_as_test(Cluster, settings=found)


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
