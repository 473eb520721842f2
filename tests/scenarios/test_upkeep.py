"""What an engine does for its repository between backups."""

from itertools import pairwise

from reference_engine.model.outcome import Outcome
from reference_engine.repository.reclaim_entries import PointsExpiredEntry, PointsMovedEntry
from reference_engine.trace.engine import JobEnded, SpaceReclaimed, UpkeepDeferred
from simulator.campaign.restoring import settled
from simulator.campaign.trial import Trial, run_trial, subject_of
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


OFTEN = """
why = "Points expire at every upkeep, and each leaves packs of which little is used."
duration = "6h10m"
nodes = [{ name = "A" }]
volumes = [{ name = "V1", coordinator = "A" }]

[[machines]]
name = "x"
node = "A"
disks = [{ volume = "V1", size = "1 MiB" }]
writes = { bursts_per_hour = 600 }

[protection]
interval = "20m"
first = "5m"

[repository]
keep_last = 2
upkeep_every = "30m"
"""

RESTARTED = """
[[happenings]]
kind = "engine-crash"
on = { at = "3h10m" }
"""


def _ran(*, growth: int, happenings: str = "", room: str = "") -> Trial:
    text = f"{OFTEN}repack_growth_percent = {growth}\n{room}{happenings}"
    scenario = parse_scenario(text, name="often")
    trial = run_trial(subject_of(scenario, name="often"), restore_again=False)
    assert all(verdict.holds is not False for verdict in trial.verdicts)
    return trial


def _repacks(trial: Trial) -> list[int]:
    """Return after how many expiries points were moved, each time."""
    expiries = 0
    found: list[int] = []
    for entry in settled(trial.night.restorer.repository().entries()):
        expiries += isinstance(entry, PointsExpiredEntry)
        if isinstance(entry, PointsMovedEntry):
            found.append(expiries)
    return found


def test_packs_are_left_alone_until_they_have_grown() -> None:
    """What is copied after each expiry would be many times what the expiry frees."""
    assert _repacks(_ran(growth=0)) == list(range(1, 12)), "there is something to do every time"
    repacks = _repacks(_ran(growth=100))
    assert repacks[0] == 1
    between = [after - before for before, after in pairwise(repacks)]
    assert between, "packs that have doubled are looked at again"
    assert min(between) >= 2


def test_an_engine_that_takes_over_looks_at_packs_that_it_knows_nothing_of() -> None:
    """How much they held is remembered by an engine, and nowhere else."""
    assert _repacks(_ran(growth=10_000)) == [1]
    first, second = _repacks(_ran(growth=10_000, happenings=RESTARTED))
    assert (first, second) == (1, 6), "the engine died behind the fifth expiry"


def test_packs_are_looked_at_where_a_run_found_no_room() -> None:
    """What a repack would free is room that somebody waits for."""
    trial = _ran(growth=10_000, room='room = "800 KiB"\n')
    jobs = [fact for fact in trial.evidence.facts if isinstance(fact, JobEnded)]
    assert Outcome.FAIL_CLEAN in {job.outcome for job in jobs}
    assert len(_repacks(trial)) > 1
    assert jobs[-1].outcome is Outcome.OK, "the room that was given back is enough"
