"""A coordinator that the engine moved goes home."""

import pytest

from reference_engine.trace.cluster import CoordinatorChanged
from simulator.campaign.trial import run_trial, subject_of
from simulator.scenario.reading import parse_scenario

AWAY = """
why = "The machine does not run where its volume is coordinated, so the engine moves the volume."
duration = "1h20m"
[protection]
interval = "30m"
first = "5m"
[[nodes]]
name = "A"
[[nodes]]
name = "B"
[[volumes]]
name = "V1"
coordinator = "A"
[[machines]]
name = "x"
node = "B"
disks = [{ volume = "V1", size = "1 MiB" }]
"""


SILENT_AT_LAST = """
[[happenings]]
kind = "partition"
cut = "engine-cluster"
lasts = "20m"
on = { machine = "x", step = 16, occurrence = 3 }
"""


@pytest.mark.parametrize("trouble", ["", SILENT_AT_LAST], ids=["calm", "silent-at-last"])
def test_a_moved_coordinator_goes_home(trouble: str) -> None:
    """Once the volume has come to rest, the node that should coordinate it does so again.

    Where the cluster cannot be reached then, it is asked until it can.
    """
    scenario = parse_scenario(AWAY + trouble, name="away")
    subject = subject_of(scenario, name="away")

    trial = run_trial(subject, restore_again=False)

    moves = [fact.node for fact in trial.evidence.facts if isinstance(fact, CoordinatorChanged)]
    assert trial.holds
    assert moves[:2] == ["A", "B"]
    assert moves[-1] == "A"
