"""A disk has the size that it had at the cut, whatever is written in between."""

import pytest

from simulator.campaign.trial import run_trial, subject_of
from simulator.scenario.reading import parse_scenario
from tests.strategies.simulated_clusters import scenario_text

QUIET = """
[[happenings]]
kind = "disk-resized"
machine = "x"
size = "1 MiB"
on = {{ machine = "x", step = {step}, occurrence = 1 }}
"""


@pytest.mark.parametrize("step", [5, 6, 10, 12])
@pytest.mark.parametrize("back_end", ["E1", "E2", "E3"])
def test_a_resize_beside_a_cut_is_before_or_after_it(back_end: str, step: int) -> None:
    """A guest that writes nothing at all leaves no doubt about what size a point has."""
    text = scenario_text(back_end=back_end, bursts_per_hour=0, more=QUIET.format(step=step))
    scenario = parse_scenario(f"canary_percent = 0\n{text}", name="quiet.toml")
    subject = subject_of(scenario, name="quiet")

    trial = run_trial(subject, restore_again=False)

    assert [verdict.detail for verdict in trial.verdicts if verdict.holds is False] == []
    sizes = [[int(record.size) for record in point.disks] for point in trial.evidence.points()]
    first, grown = [524288 + 512, 655360], [1 << 20, 655360]
    assert sizes[0] in (first, grown)
    assert sizes[1:] == [grown] * (len(sizes) - 1)
    assert len(sizes) > 1
