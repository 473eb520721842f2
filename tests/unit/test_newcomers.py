"""Machines that come later are everybody's: the report has them, and they outlive their makers."""

from simulator.campaign.telling import night_for_report, point_rows
from simulator.campaign.trial import run_trial, subject_of
from simulator.scenario.reading import parse_scenario
from tests.strategies.simulated_clusters import scenario_text

LATER = """
[[happenings]]
kind = "machine-created"
name = "new"
node = "B"
volume = "V2"
on = { at = "10m" }

[[happenings]]
kind = "machine-restored"
order = "r1"
machine = "x"
target = "B"
volume = "V2"
on = { at = "20m" }
"""


def test_the_report_has_machines_that_came_later() -> None:
    """Created and restored ones stand where they were first, beside those of the file."""
    scenario = parse_scenario(scenario_text(more=LATER), name="later.toml")
    subject = subject_of(scenario, name="later")
    trial = run_trial(subject, restore_again=False)

    night = night_for_report(trial, point_rows(trial), replay="twinshot replay")

    [landing] = trial.evidence.truth.landings
    assert [(machine.id, machine.node) for machine in night.machines] == [
        ("x", "A"),
        ("new", "B"),
        (landing.machine.id, "B"),
    ]
    assert {row.machine for row in night.machine_rows} == {m.id for m in night.machines}
