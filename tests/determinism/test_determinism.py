"""The same scenario and seed take the same course, in any process; and a deviation is noticed."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from simulator.campaign.judging import Prover
from simulator.campaign.trial import night_of, subjects_of
from simulator.scenario.reading import parse_scenario
from tests.strategies.simulated_clusters import scenario_text

ROOT: Final = Path(__file__).resolve().parents[2]

HAPPENINGS: Final = """
[[machines]]
name = "y"
node = "B"
guest = "fsfreeze"
disks = [{ volume = "V2", size = "512 KiB" }]

[[happenings]]
kind = "live-migration"
machine = "x"
target = "B"
on = { at = "12m" }

[[happenings]]
kind = "node-crash"
node = "A"
down_for = "5m"
on = { at = "40m" }

[[happenings]]
kind = "engine-crash"
down_for = "1m"
on = { machine = "y", step = 10, occurrence = 2 }
"""

PLANTED: Final = """
class Careless(Prover):
    # Tells of the machines in the order of a set of words: another one for each hash seed.
    told = False

    def see(self, fact, night, /):
        super().see(fact, night)
        if not self.told:
            self.told = True
            for name in {f"machine {number}" for number in range(20)}:
                night.emit(FaultInjected(at=night.sim.now(), kind="planted", subject="", what=name))

Prover = Careless
"""

PROGRAM: Final = """
import sys
from reference_engine.trace.cluster import FaultInjected
from simulator.campaign.judging import Prover
from simulator.campaign.trial import night_of, subjects_of
from simulator.scenario.reading import parse_scenario
{planted}
scenario = parse_scenario(sys.stdin.read(), name="stdin")
[subject] = subjects_of(scenario, name="night", path=None, seed=int(sys.argv[1]), images={{}})
night = night_of(subject, Prover(), lambda _: None)
night.run()
print(night.digest.hexdigest())
"""


def eventful(back_end: str) -> str:
    """Return a night in which much goes wrong."""
    return scenario_text(back_end=back_end, more=HAPPENINGS)


def digest_here(text: str, seed: int) -> str:
    """Return the trace digest of a night in this process."""
    scenario = parse_scenario(text, name="night.toml")
    [subject] = subjects_of(scenario, name="night", path=None, seed=seed, images={})
    night = night_of(subject, Prover(), lambda _: None)
    night.run()
    assert night.finished, night.unfinished
    return night.digest.hexdigest()


def digest_elsewhere(text: str, seed: int, *, planted: str = "", **environment: str) -> str:
    """Return the trace digest of the same night in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(planted=planted), str(seed)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.fixture
def hasty_collection() -> Iterator[None]:
    """Have the garbage collector run as often as it can, for the time of one test."""
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("back_end", ["E1", "E3"])
def test_a_seed_takes_the_same_course_twice(back_end: str) -> None:
    """Nothing is left in the process that a second run could notice."""
    assert digest_here(eventful(back_end), 5) == digest_here(eventful(back_end), 5)


def test_different_seeds_take_different_courses() -> None:
    """The seed reaches everything that is drawn."""
    digests = {digest_here(eventful("E1"), seed) for seed in range(6)}

    assert len(digests) == 6


@pytest.mark.parametrize("hash_seed", ["0", "1", "2"])
@pytest.mark.parametrize("back_end", ["E1", "E3"])
def test_a_fresh_process_takes_the_same_course(back_end: str, hash_seed: str) -> None:
    """No order of a set, no address and no leftover decides anything."""
    elsewhere = digest_elsewhere(eventful(back_end), 5, PYTHONHASHSEED=hash_seed)

    assert elsewhere == digest_here(eventful(back_end), 5)


def test_another_allocator_takes_the_same_course() -> None:
    """Where objects lie in memory decides nothing."""
    elsewhere = digest_elsewhere(eventful("E1"), 5, PYTHONMALLOC="malloc", PYTHONHASHSEED="3")

    assert elsewhere == digest_here(eventful("E1"), 5)


@pytest.mark.usefixtures("hasty_collection")
def test_when_garbage_is_collected_decides_nothing() -> None:
    """No finaliser and no weak reference has a say in the run."""
    quiet = scenario_text(disks=("512 KiB",), duration="40m")

    hasty = digest_here(quiet, 5)

    gc.set_threshold(0)
    assert digest_here(quiet, 5) == hasty


def test_a_planted_order_of_a_set_is_noticed() -> None:
    """The check can fail: facts told in the order of a set differ between two hash seeds."""
    text = scenario_text(duration="10m")

    digests = {
        digest_elsewhere(text, 5, planted=PLANTED, PYTHONHASHSEED=seed) for seed in ("0", "1", "2")
    }

    assert len(digests) > 1
    assert len({digest_elsewhere(text, 5, PYTHONHASHSEED=seed) for seed in ("0", "1")}) == 1
