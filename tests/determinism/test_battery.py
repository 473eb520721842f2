"""The battery of conditions: the engine passes, planted sources do not, differences are shown."""

import json
import re

import pytest

from reference_engine.app.command_line import run
from simulator.campaign.determinism.battery import CONDITIONS, divergence, under
from simulator.campaign.determinism.guard import ForbiddenSourceError, guarded
from simulator.campaign.determinism.planted import SOURCES
from simulator.campaign.determinism.runs import Order, ran

HERE = CONDITIONS[0]


def records(text: str) -> list[dict[str, object]]:
    """Return what a command said as JSON."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_random_scenario_passes_every_condition(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the process is like, and whether somebody watches: one digest."""
    code = run(["determinism", "--seeds", "1", "--first", "4", "--json"])

    [*_, summary] = records(capsys.readouterr().out)
    assert code == 0
    assert summary["different"] == 0
    assert len(summary["conditions"]) >= len(CONDITIONS)  # type: ignore[arg-type]


def test_every_planted_source_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    """Clocks, chance, orders, addresses, threads, finalisers, leftovers: none passes unseen."""
    code = run(["determinism", "--planted", "all", "--json"])

    [*sources, summary] = records(capsys.readouterr().out)
    assert code == 0
    assert summary["missed"] == []
    caught = {str(each["source"]): each["caught_by"] for each in sources}
    assert set(caught) == set(SOURCES)
    # No one condition is enough: these are seen by one sort of them only.
    assert HERE.name not in caught["set-order"]  # type: ignore[operator]
    assert "hash seed 1" not in caught["module-state"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("wall-clock", "time.time_ns"),
        ("unseeded-random", "random.random"),
        ("unseeded-numpy", "numpy.random.default_rng"),
        ("urandom", "os.urandom"),
        ("thread-timing", "threading.Thread.start"),
        ("address-order", "builtins.id"),
    ],
)
def test_the_guard_names_the_call(source: str, refused: str) -> None:
    """A guarded run ends at the call itself, not at a difference that somebody may see later."""
    assert ran(Order(seed=1, planted=source, guard=True)).refused == refused


def test_the_guard_leaves_nothing_behind() -> None:
    """Outside the block everything may be called again."""
    import time  # noqa: PLC0415, TID251 - what is forbidden inside

    with pytest.raises(ForbiddenSourceError, match=r"time\.time makes a run"), guarded():
        time.time()

    assert time.time() > 0
    assert ran(Order(seed=1, planted="set-order", guard=True)).refused == ""


def test_the_first_differing_row_is_found() -> None:
    """Prefix digests lead to the block, and the block to the row: the one that was planted."""
    order = Order(seed=1, planted="module-state")
    ours, theirs = ran(order), under(HERE, [order])[0]

    found = divergence(HERE, order, ours, theirs)

    assert found is not None
    [mine] = [row for row in found.ours if "planted" in row]
    assert mine not in found.theirs
    assert re.search(r'"what":"\d+"', mine)
    assert found.ours[:3] == found.theirs[:3]
