"""Each invariant can fail, fails alone, and claims nothing where there was nothing to check."""

from collections.abc import Mapping
from typing import Final

import pytest

from reference_engine.model.extents import EMPTY
from reference_engine.model.identity import NodeName
from reference_engine.model.recovery_point import Consistency, TransferKind
from reference_engine.model.units import ByteCount, Duration, Instant
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import PointBecameVisible
from simulator.campaign.trial import run_trial, subject_of
from simulator.oracle.evidence import Evidence, Limits
from simulator.oracle.registry import INVARIANTS, judge
from simulator.oracle.verdict import Finding, Invariant, Verdict
from simulator.scenario.reading import parse_scenario
from simulator.world.truth import empty_truth
from tests.strategies.altered_evidence import proofs_of, replace, with_facts
from tests.strategies.deceptions import DECEPTIONS, Deception
from tests.strategies.simulated_clusters import scenario_text

CRASH_MACHINE: Final = """
[[machines]]
name = "y"
node = "B"
guest = "none"
application = "ledger"
disks = [{ volume = "V1", size = "640 KiB" }, { volume = "V1", size = "768 KiB" }]
"""


def night(back_end: str) -> Evidence:
    """Return the evidence of a small night in which nothing goes wrong."""
    scenario = parse_scenario(
        scenario_text(back_end=back_end, more=CRASH_MACHINE), name="night.toml"
    )
    subject = subject_of(scenario, name="night")
    trial = run_trial(
        subject,
        restore_again=True,
        sources_unchanged=lambda: {"a.vhdx": True},
    )
    return replace(trial.evidence, second_digest=trial.digest)


@pytest.fixture(scope="module")
def nights() -> Mapping[str, Evidence]:
    """Return an honest night of each back end."""
    return {back_end: night(back_end) for back_end in ("E1", "E3")}


@pytest.fixture(scope="module")
def honest(nights: Mapping[str, Evidence]) -> Evidence:
    """Return an honest night on host snapshots."""
    return nights["E1"]


def broken(evidence: Evidence) -> set[str]:
    """Return the invariants that do not hold."""
    return {verdict.invariant for verdict in judge(evidence) if verdict.holds is False}


def invariant(name: str) -> Invariant:
    """Return the invariant of this name."""
    return next(each for each in INVARIANTS if each.id == name)


@pytest.mark.parametrize("back_end", ["E1", "E3"])
def test_an_honest_night_holds_everything(nights: Mapping[str, Evidence], back_end: str) -> None:
    """Every invariant was judged, and held, with checks that really were made."""
    verdicts = judge(nights[back_end])

    assert [verdict.holds for verdict in verdicts] == [True] * len(INVARIANTS)
    assert all(verdict.checked > 0 and not verdict.detail for verdict in verdicts)


@pytest.mark.parametrize(
    ("back_end", "deceive", "wanted"), DECEPTIONS, ids=lambda part: getattr(part, "__name__", "")
)
def test_a_deception_is_found_by_its_invariant_alone(
    nights: Mapping[str, Evidence], back_end: str, deceive: Deception, wanted: frozenset[str]
) -> None:
    """One thing is wrong, and exactly those invariants say so that are about it."""
    assert broken(deceive(nights[back_end])) == wanted


def test_every_invariant_can_fail() -> None:
    """No invariant is a decoration: for each there is a deception that it finds."""
    found = frozenset[str]().union(*(wanted for _, _, wanted in DECEPTIONS))

    assert found == {each.id for each in INVARIANTS}


def test_a_night_without_anything_is_not_judged(honest: Evidence) -> None:
    """Where there was nothing to check nothing is claimed but that the night ended."""
    nothing = replace(
        honest,
        facts=(),
        slots={},
        truth=empty_truth(),
        contents={},
        proofs={},
        visible=(),
        later=(),
        items_ordered=(),
        items_taken={},
        own_volumes={},
        live={},
        sources_unchanged={},
        second_digest=None,
    )

    verdicts = {verdict.invariant: verdict for verdict in judge(nothing)}

    assert verdicts.pop("I18").holds is True
    assert {verdict.holds for verdict in verdicts.values()} == {None}
    assert {verdict.checked for verdict in verdicts.values()} == {0}


@pytest.mark.parametrize(
    ("name", "consistency"), [("I2", Consistency.CRASH), ("I3", Consistency.APPLICATION)]
)
def test_a_label_that_nobody_claims_is_not_judged(
    honest: Evidence, name: str, consistency: Consistency
) -> None:
    """An image is held only against what it claims to be."""
    proofs = {proof.point.id: proof for proof in proofs_of(honest, consistency)}

    verdict = invariant(name).verdict(replace(honest, proofs=proofs))

    assert verdict.holds is None


@pytest.mark.parametrize("name", ["I5", "I6", "I8"])
def test_full_copies_have_no_delta_to_judge(honest: Evidence, name: str) -> None:
    """What is asked of an incremental point is asked of no other one."""

    def change(fact: Fact) -> Fact:
        if isinstance(fact, PointBecameVisible):
            full = replace(fact.point.disks[0].transfer, kind=TransferKind.FULL)
            disks = tuple(replace(record, transfer=full) for record in fact.point.disks)
            return replace(fact, point=replace(fact.point, disks=disks))
        return fact

    assert invariant(name).verdict(with_facts(honest, change)).holds is None


def test_a_single_run_is_not_judged_repeatable(honest: Evidence) -> None:
    """Without a second run nobody can tell."""
    assert invariant("I19").verdict(replace(honest, second_digest=None)).holds is None


def test_a_verdict_shows_the_first_violations_and_counts_the_rest() -> None:
    """A detail stays readable, however much is wrong."""

    def wrong(_: Evidence, finding: Finding) -> None:
        for number in range(8):
            finding.check(NodeName(f"n{number}"), "is wrong", holds=number == 0)

    verdict: Verdict = Invariant(id="I0", title="all wrong", judge=wrong).verdict(
        night_of_nothing()
    )

    assert (verdict.holds, verdict.checked, len(verdict.violations)) == (False, 8, 7)
    assert verdict.detail.startswith("n1: is wrong; n2: is wrong")
    assert verdict.detail.endswith("; and 2 more")


def night_of_nothing() -> Evidence:
    """Return evidence that nobody looks at."""
    return Evidence(
        facts=(),
        truth=empty_truth(),
        contents={},
        proofs={},
        visible=(),
        later=(),
        items_ordered=(),
        items_taken={},
        own_volumes={},
        live={},
        frozen_maps=(),
        frozen_guests=(),
        leftovers=(),
        finished="",
        freeze_bound=ByteCount(0),
        sources_unchanged={},
        second_digest=None,
        digest="",
        limits=Limits(at_once=1, per_volume=1, per_node=1),
        slots={},
        damaged=False,
        healed=(),
        foreign_harmed=(),
        redirected=(),
        astray=(),
        calm_from=Instant(0),
        suspects=frozenset(),
        able=frozenset(),
        keep_last=0,
        looks=(),
        lived={},
        misread=(),
        replica=(),
        orders={},
        immutable_for=Duration(0),
        lost=frozenset(),
        scrubbed=None,
        unprotected={},
        nodes=(),
        stay_saved=(),
    )


def test_the_mask_is_what_lies_in_the_diff_area(honest: Evidence) -> None:
    """An honest night really masks something, or the checks above would show little."""
    masks = [record.mask for point in honest.points() for record in point.disks]

    assert any(mask != EMPTY for mask in masks)
