"""Long runs: what is proved by induction, what is read whole, and what is forgotten behind it."""

import pytest

from simulator.campaign.judging import Prover
from simulator.campaign.long_proof import LongProver
from simulator.campaign.mutants import MUTANTS, planted
from simulator.campaign.night import Night, Watcher
from simulator.campaign.speed_command import fleet_of
from simulator.faults.plan import FaultPlan
from simulator.scenario.schema import Scenario
from simulator.world.truth import first_stamp

KNOWN = {mutant.name: mutant for mutant in MUTANTS}
KEEP_ALL = {"keep_last": 0}


def fleet(hours: int, **changed: object) -> Scenario:
    """Return three machines with hourly points, with these parts of the scenario changed."""
    return Scenario.model_validate(fleet_of(2, 3, hours).model_dump() | changed)


def night(scenario: Scenario, watcher: Watcher) -> Night:
    """Return a night that is over."""
    found = Night(
        scenario,
        seed=scenario.seed,
        happenings=(),
        images={},
        plan=FaultPlan(),
        watcher=watcher,
        progress=lambda _: None,
    )
    found.run()
    return found


def without_guests(scenario: Scenario) -> Scenario:
    """Return the scenario with guests of which only crash-consistent points can be made."""
    machines = [each.model_dump() | {"guest": "none"} for each in scenario.machines]
    protection = scenario.protection.model_dump() | {"application_required": False}
    changed = {"machines": machines, "protection": protection}
    return Scenario.model_validate(scenario.model_dump() | changed)


def test_both_provers_see_the_same_night() -> None:
    """Who watches has no say in what happens."""
    long, whole = LongProver(), Prover()

    first, second = night(fleet(5), long), night(fleet(5), whole)

    assert first.digest.hexdigest() == second.digest.hexdigest()
    assert long.points == len(whole.proofs) == 15
    assert long.wrong == []


@pytest.mark.parametrize(
    "mutant", ["range-end-cut", "recovery-not-carried", "commit-before-blocks"]
)
def test_a_wrong_point_is_found_whether_it_is_read_whole_or_not(mutant: str) -> None:
    """By induction the same points are found to be wrong as by reading every byte of each."""
    long, whole = LongProver(whole_every=1000), Prover()
    scenario = fleet(6, repository=KEEP_ALL)

    with planted(KNOWN[mutant]):
        night(scenario, long)
        night(scenario, whole)

    wrong = {
        str(proof.point.id)
        for proof in whole.proofs.values()
        if proof.unreadable or any(disk.wrong or disk.not_blank for disk in proof.disks)
    }
    first_wrong = {each.partition(" ")[0].rstrip(":") for each in long.wrong}
    assert wrong
    assert first_wrong
    assert first_wrong <= wrong


def test_what_can_no_longer_be_read_is_found_in_the_end() -> None:
    """A digest that is right says nothing of the stored bytes: points that exist are read whole."""
    prover = LongProver(whole_every=1000)
    done = night(fleet(4, repository=KEEP_ALL), prover)
    assert prover.wrong == []

    first = next(name for name in done.kept.objects if name.startswith("packs/"))
    done.kept.objects[first] = bytes(len(done.kept.objects[first]))
    existing = prover.finish(done)

    assert existing == 12
    assert prover.wrong


def test_points_whose_instant_is_replayed_are_right_after_the_past_was_folded() -> None:
    """Writes before a proved point become part of the image with which replays begin."""
    folding, keeping = LongProver(forget_every=2), LongProver(forget_every=10**6)
    scenario = without_guests(fleet(8))

    folded, kept = night(scenario, folding), night(scenario, keeping)

    assert folding.points == keeping.points == 24
    assert folding.wrong == keeping.wrong == []
    assert folded.digest.hexdigest() == kept.digest.hexdigest()


def test_the_truth_of_expired_points_is_forgotten() -> None:
    """What is left belongs to the newest point of each machine, and to nothing before it."""
    prover = LongProver(forget_every=1)

    done = night(fleet(8), prover)

    truth = done.truth
    assert len(truth.host_cuts) <= 2 * 3
    assert len(truth.guest_cuts) <= 2 * 3
    assert len(truth.switched) <= 2 * 3
    assert done.facts == []
    for machine, batches in truth.writes.items():
        cuts = [cut.stamp for cut in truth.host_cuts.values() if cut.run.machine == machine]
        assert all(first_stamp(batch) > min(cuts) for batch in batches)
    assert prover.finish(done) < 8 * 3


def test_some_points_are_read_whole() -> None:
    """A machine's first point, and then each whose number is a multiple; machines begin apart."""
    prover = LongProver(whole_every=2)

    night(fleet(4), prover)

    # First ones are 0, 1 and 2; of those behind them 2 is whole, 2 and 4 are, and 4 is.
    assert prover.whole == 3 + 1 + 2 + 1
