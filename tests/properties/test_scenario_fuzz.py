"""Whatever a file holds, it is a scenario or is refused with clean sentences, soon.

A longer run: `pytest tests/properties/test_scenario_fuzz.py --hypothesis-profile=fuzz`.
"""

import re
from typing import Any, Final

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario.library import library, scenario_files
from simulator.scenario.reading import ScenarioRefusedError, parse_scenario, read_scenario
from simulator.scenario.schema import impossibilities
from simulator.scenario.writing import as_data, as_toml
from tests.strategies.scenario_texts import VALID, WORDS, arbitrary_texts, mutated_scenarios

NAME: Final = "night.toml"
CLEAN: Final = re.compile(rf"{re.escape(NAME)}:[1-9][0-9]*: [^\n]*[^\s:]")
FILES: Final = [file.read_text("utf-8") for file in scenario_files((library(),))]
SEEDS: Final = [text for text in FILES if len(text) < 4000]
DATA: Final = [as_data(parse_scenario(text, name=NAME)) for text in SEEDS]

keys = st.sampled_from(
    ("name", "on", "kind", "machine", "at", "disks", "size", "why", "slot", "x", "", "a.b", "\n")
)
leaves = (
    st.none().map(lambda _: "nothing")
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(("1h", "-5s", "0s", "64 MiB", "1e9d", "A", "x", "V1", "E1", "live-migration"))
    | st.dates()
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in plain data."""
    found = [path] if path else []
    below: list[tuple[Any, Any]] = []
    if isinstance(data, dict):
        below = list(data.items())
    elif isinstance(data, list):
        below = list(enumerate(data))
    for key, each in below:
        found += places(each, (*path, key))
    return found


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of plain data with one value replaced."""
    if not path:
        return value
    if isinstance(data, dict):
        return {**data, path[0]: changed(data[path[0]], path[1:], value)}
    return [*data[: path[0]], changed(data[path[0]], path[1:], value), *data[path[0] + 1 :]]


@st.composite
def grafted_scenarios(draw: st.DrawFn) -> str:
    """A scenario of the library in which some values were replaced by anything that TOML has."""
    data = draw(st.sampled_from(DATA))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(data)))
        data = changed(data, path, draw(trees))
    return tomli_w.dumps(data)


@st.composite
def spliced_files(draw: st.DrawFn) -> str:
    """Pieces of several scenarios, cut anywhere, with slips of the hand in between."""
    pieces = []
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from(SEEDS))
        start = draw(st.integers(0, len(text)))
        pieces += [text[start : start + draw(st.integers(0, 800))], draw(st.sampled_from(WORDS))]
    return "".join(pieces)


def complaints_about(text: str) -> tuple[str, ...]:
    """Return what is said of a text; nothing where it is a scenario that can be written again."""
    try:
        scenario = parse_scenario(text, name=NAME)
    except ScenarioRefusedError as refused:
        return refused.complaints or ("refused without a reason",)
    assert list(impossibilities(scenario)) == []
    assert parse_scenario(as_toml(scenario), name=NAME) == scenario
    return ()


@given(grafted_scenarios() | spliced_files() | mutated_scenarios() | arbitrary_texts())
def test_any_text_is_a_scenario_or_a_clean_refusal(text: str) -> None:
    """No text ends in anything else, and what is read is written and read again the same."""
    complaints = complaints_about(text)

    assert len(complaints) == len(set(complaints))
    for complaint in complaints:
        assert CLEAN.fullmatch(complaint), complaint
        assert int(complaint.split(":")[1]) <= text.count("\n") + 1, complaint


@given(st.binary(max_size=200), st.integers(0, len(VALID)))
def test_any_bytes_are_a_scenario_or_a_clean_refusal(
    tmp_path_factory: Any, raw: bytes, at: int
) -> None:
    """Bytes that are no text are said to be none."""
    file = tmp_path_factory.mktemp("fuzz") / NAME
    file.write_bytes(VALID.encode()[:at] + raw + VALID.encode()[at:])

    said = ""
    try:
        read_scenario(file)
    except ScenarioRefusedError as refused:
        said = str(refused)

    assert all(line.startswith(f"{file}:") for line in said.splitlines())
