"""What applications find in restored points, with the engine as it is and with planted bugs."""

from contextlib import AbstractContextManager, nullcontext

import pytest

from reference_engine.model.recovery_point import Consistency
from simulator.campaign.mutants import mutant_named, planted
from simulator.campaign.trial import Trial, run_trial, subjects_of
from simulator.scenario.library import library
from simulator.scenario.reading import read_scenario


def tried(name: str, mutant: str | None = None) -> Trial:
    """Return what came of a scenario, with a bug planted or none."""
    path = library() / "application" / f"{name}.toml"
    [subject] = subjects_of(read_scenario(path), name=name, path=path, seed=None, images={})
    bug: AbstractContextManager[object] = nullcontext()
    if mutant is not None:
        bug = planted(mutant_named(mutant))
    with bug:
        return run_trial(subject, restore_again=False)


def broken(trial: Trial) -> dict[str, str]:
    """Return the invariants that do not hold, with what they say."""
    return {each.invariant: each.detail for each in trial.verdicts if each.holds is False}


@pytest.mark.parametrize(
    "name",
    [
        "ledger",
        "ledger_reference_points",
        "sqlite",
        "sqlite_reference_points",
        "sqlite_wal",
        "sqlite_wal_reference_points",
    ],
)
def test_labels_say_whether_there_is_something_to_recover(name: str) -> None:
    """Application-consistent points open clean; some of the others need recovery, and get it."""
    trial = tried(name)

    proofs = [(each.point.consistency, each.application) for each in trial.evidence.proofs.values()]
    clean = {
        label: [proof.opening.clean for each, proof in proofs if each is label and proof]
        for label in Consistency
    }
    assert broken(trial) == {}
    assert len(clean[Consistency.APPLICATION]) > 2
    assert all(clean[Consistency.APPLICATION])
    assert not all(clean[Consistency.CRASH])


@pytest.mark.parametrize(
    ("name", "mutant", "oracle", "found"),
    [
        ("ledger_across_volumes", "torn-cut-accepted", "I3", "of which the log"),
        ("sqlite_across_volumes", "torn-cut-accepted", "I3", "integrity_check"),
        ("ledger", "diff-area-ignored", "I2", "has to recover"),
        ("ledger_across_volumes", "diff-area-ignored", "I2", "of which the log"),
        ("sqlite_across_volumes", "diff-area-ignored", "I2", "transactions, not"),
        ("sqlite_wal", "diff-area-ignored", "I2", "has to recover"),
    ],
)
def test_an_application_sees_what_the_stamps_see(
    name: str, mutant: str, oracle: str, found: str
) -> None:
    """A cut torn across disks, and a skew that was not put back, are found twice over."""
    shown = broken(tried(name, mutant))

    assert oracle in shown
    assert found in shown["I23"]
