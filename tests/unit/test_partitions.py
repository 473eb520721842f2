"""Partitions and outages: who reaches whom, and what each side makes of the silence."""

from typing import Final

import pytest

from reference_engine.model.units import MINUTE, SECOND
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import (
    CoordinatorChanged,
    FaultInjected,
    GuestThawed,
    MachinePlaced,
    PointBecameVisible,
)
from simulator.campaign.sweep.coverage import cells_hit
from simulator.campaign.trial import Trial, run_trial, subject_of
from simulator.scenario.reading import ScenarioRefusedError, parse_scenario
from tests.strategies.simulated_clusters import scenario_text

OTHERS: Final = (
    '[[machines]]\nname = "y"\nnode = "B"\ndisks = [{ volume = "V2", size = "1 MiB" }]\n'
)
PLACED: Final = ("node-isolated", "failover", "quorum-loss")


def tried(happening: str, *, guest: str = "vss", more: str = "") -> Trial:
    """Return what came of a small night in which one thing happens."""
    text = scenario_text(guest=guest, more=f"{more}\n[[happenings]]\n{happening}")
    scenario = parse_scenario(text, name="partition.toml")
    subject = subject_of(scenario, name="partition")
    return run_trial(subject, restore_again=False)


def broken(trial: Trial) -> list[str]:
    """Return what does not hold."""
    return [f"{each.invariant}: {each.detail}" for each in trial.verdicts if each.holds is False]


def placed(trial: Trial) -> list[tuple[str, str]]:
    """Return where machines came to be, and why, after the start."""
    return [
        (str(fact.machine), fact.why)
        for fact in trial.evidence.facts
        if isinstance(fact, MachinePlaced) and fact.why in PLACED
    ]


def began(trial: Trial) -> Fact:
    """Return the fact that the disturbance began."""
    return next(fact for fact in trial.evidence.facts if isinstance(fact, FaultInjected))


def test_an_isolated_node_is_given_up_after_ten_seconds() -> None:
    """Its machines start elsewhere and its volumes fail over, though it has power."""
    trial = tried(
        'kind = "partition"\ncut = "node-cluster"\nnode = "A"\nlasts = "10m"\non = { at = "20m" }'
    )

    moved = [fact for fact in trial.evidence.facts if isinstance(fact, CoordinatorChanged)]
    failover = next(fact for fact in moved if fact.why == "failover")
    assert placed(trial) == [("x", "node-isolated"), ("x", "failover")]
    assert failover.at == began(trial).at + 10 * SECOND
    assert broken(trial) == []


def test_a_short_isolation_is_outlasted() -> None:
    """Nothing moves for a few lost heartbeats."""
    trial = tried(
        'kind = "partition"\ncut = "node-cluster"\nnode = "A"\nlasts = "8s"\non = { at = "20m" }'
    )

    assert placed(trial) == []
    assert broken(trial) == []


@pytest.mark.parametrize("cut", ["engine-repository", "engine-cluster"])
def test_nothing_becomes_visible_while_the_engine_is_cut_off(cut: str) -> None:
    """No point is committed through a network that is down, and the next run makes one."""
    trial = tried(
        f'kind = "partition"\ncut = "{cut}"\nlasts = "20m"\n'
        'on = { machine = "x", step = 2, occurrence = 2 }'
    )

    start = began(trial).at
    seen = [fact.at for fact in trial.evidence.facts if isinstance(fact, PointBecameVisible)]
    assert not [at for at in seen if start < at < start + 20 * MINUTE]
    assert [at for at in seen if at < start]
    assert [at for at in seen if at > start + 20 * MINUTE]
    assert broken(trial) == []


def test_a_host_lets_a_guest_go_whose_requestor_is_silent() -> None:
    """A guest that stands still is not forgotten when the engine cannot reach its node."""
    trial = tried(
        'kind = "partition"\ncut = "node-engine"\nnode = "owner-of:x"\nlasts = "10m"\n'
        'on = { machine = "x", step = 5, occurrence = 2 }',
        guest="fsfreeze",
    )

    whys = [fact.why for fact in trial.evidence.facts if isinstance(fact, GuestThawed)]
    assert "session-lost" in whys
    assert broken(trial) == []


def test_a_guest_goes_on_when_its_service_ends() -> None:
    """The end of an integration service thaws what it had frozen."""
    trial = tried(
        'kind = "outage"\nservice = "guest"\nmachine = "x"\nlasts = "10m"\n'
        'on = { machine = "x", step = 5, occurrence = 2 }',
        guest="fsfreeze",
    )

    whys = [fact.why for fact in trial.evidence.facts if isinstance(fact, GuestThawed)]
    assert "service-lost" in whys
    assert broken(trial) == []


@pytest.mark.parametrize("step", range(17))
def test_a_happening_at_a_steps_border_falls_into_the_step(step: int) -> None:
    """Also where the step is over in the same instant."""
    on = f'on = {{ machine = "x", step = {step} }}'
    trial = tried(
        f'kind = "partition"\ncut = "node-engine"\nnode = "owner-of:x"\nlasts = "1s"\n{on}',
        more=OTHERS,
    )

    hits = cells_hit(trial.subject.scenario, trial.evidence.facts)
    assert hits[step, "partition"] == 1


@pytest.mark.parametrize(
    ("happening", "complaint"),
    [
        ('kind = "partition"\ncut = "node-cluster"', "concerns a node"),
        ('kind = "partition"\ncut = "engine-cluster"\nnode = "A"', "concerns no node"),
        ('kind = "partition"\ncut = "node-engine"\nnode = "Z"', "there is no node 'Z'"),
        ('kind = "outage"\nservice = "guest"', "concerns a machine"),
        ('kind = "outage"\nservice = "repository"\nmachine = "x"', "concerns no machine"),
        ('kind = "outage"\nservice = "guest"\nmachine = "z"', "there is no machine 'z'"),
    ],
)
def test_what_cannot_fail_is_refused(happening: str, complaint: str) -> None:
    """A partition has two sides, and a service belongs to somebody."""
    text = scenario_text(more=f'\n[[happenings]]\n{happening}\non = {{ at = "20m" }}\n')

    with pytest.raises(ScenarioRefusedError, match=complaint):
        parse_scenario(text, name="x.toml")
