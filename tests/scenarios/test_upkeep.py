"""What an engine does for its repository between backups."""

from reference_engine.trace.engine import SpaceReclaimed, UpkeepDeferred
from simulator.campaign.trial import run_trial, subject_of
from simulator.scenario.reading import parse_scenario

SLOW_REPACK = """
why = "The pack that a repack writes takes longer than any single step of a backup may."
duration = "2h10m"
nodes = [{ name = "A" }]
volumes = [{ name = "V1", coordinator = "A" }]

[[happenings]]
kind = "call-disturbed"
subject = "packs"
operation = "create"
occurrence = 5
answer = "delay"
delay = "20m"

[[machines]]
name = "x"
node = "A"
disks = [{ volume = "V1", size = "1 MiB" }]
writes = { bursts_per_hour = 600 }

[protection]
interval = "30m"
first = "5m"

[repository]
keep_last = 2
upkeep_every = "50m"
"""


def test_a_repack_may_take_as_long_as_the_copies_it_makes() -> None:
    """Of a large repository it takes hours; given up and begun anew, it would never end."""
    scenario = parse_scenario(SLOW_REPACK, name="slow repack")
    trial = run_trial(subject_of(scenario, name="slow repack"), restore_again=False)
    facts = trial.evidence.facts
    assert not [fact for fact in facts if isinstance(fact, UpkeepDeferred)]
    [freed] = [fact for fact in facts if isinstance(fact, SpaceReclaimed)]
    assert freed.at > 7200e6, "the repack began at 6,000 s"
    assert all(verdict.holds is not False for verdict in trial.verdicts)
