"""A scenario file is read, or refused with file, line, key and reason of everything wrong in it."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given

from reference_engine.model.units import HOUR, KIB, MIB, MINUTE, SECOND
from simulator.faults.quantities import parse_duration, parse_size
from simulator.scenario.reading import ScenarioRefusedError, parse_scenario, read_scenario
from simulator.scenario.schema import Scenario
from tests.strategies.scenario_texts import VALID, arbitrary_texts, mutated_scenarios

LIBRARY = Path(__file__).resolve().parents[2] / "scenarios"


def complaints_about(text: str) -> tuple[str, ...]:
    """Return what is wrong with a text."""
    with pytest.raises(ScenarioRefusedError) as caught:
        parse_scenario(text, name="night.toml")
    assert str(caught.value) == "\n".join(caught.value.complaints)
    return caught.value.complaints


def line_of(text: str, part: str) -> int:
    """Return the number of the first line that holds this."""
    return next(n for n, line in enumerate(text.splitlines(), start=1) if part in line)


def changed(old: str, new: str) -> str:
    """Return the valid scenario with the first occurrence of a part replaced."""
    assert old in VALID, old
    return VALID.replace(old, new, 1)


def test_a_valid_scenario_is_read() -> None:
    """Durations are microseconds, sizes bytes, and what is not said has its default."""
    scenario = parse_scenario(VALID, name="night.toml")

    assert scenario.duration == 70 * MINUTE
    assert scenario.machines[0].disks[0].size == 512 * KIB + 512
    assert scenario.skew.shortest == 8 * SECOND
    assert scenario.seed == 1
    assert [happening.kind for happening in scenario.happenings] == [
        "live-migration",
        "call-disturbed",
    ]
    assert scenario.variants[0].happenings[0].kind == "guest-silence"


def test_every_scenario_of_the_library_is_read() -> None:
    """What is delivered is valid."""
    paths = sorted(LIBRARY.rglob("*.toml"))

    assert paths
    assert all(read_scenario(path).why for path in paths)


# The line on which the complaint must point is the one that holds the second part.
@pytest.mark.parametrize(
    ("text", "at", "key", "reason"),
    [
        (
            changed('guest = "vss"', 'gest = "vss"'),
            'gest = "vss"',
            "machines[0].gest",
            "unknown key",
        ),
        (changed("[skew]", "[skeww]"), "[skeww]", "skeww", "unknown key"),
        (
            changed('name = "B"\n', 'name = "B"\ncores = 4\n'),
            "cores",
            "nodes[1].cores",
            "unknown key",
        ),
        (changed('duration = "70m"', 'duration = "70"'), "duration", "duration", "a duration with"),
        (changed('duration = "70m"', "duration = 70"), "duration", "duration", "a duration with"),
        (changed('"16 KiB"', '"16 KB"'), "block", "protection.block", "a size with a unit"),
        (changed('"16 KiB"', "16384"), "block", "protection.block", "a size with a unit"),
        (changed('"16 KiB"', '"6 KiB"'), "block", "protection.block", "no multiple of the cell"),
        (
            changed('longest = "8s"', 'longest = "7s"'),
            "longest",
            "skew.longest",
            "shorter than the shortest",
        ),
        (
            changed('coordinator = "B"', 'coordinator = "C"'),
            'coordinator = "C"',
            "volumes[1].coordinator",
            "there is no node 'C'",
        ),
        (
            changed('node = "B"', 'node = "C"'),
            'node = "C"',
            "machines[1].node",
            "there is no node 'C'",
        ),
        (
            changed('volume = "V2", size', 'volume = "V3", size'),
            '"V3"',
            "machines[1].disks[0].volume",
            "there is no volume 'V3'",
        ),
        (
            changed('"1 MiB"', '"4 KiB"'),
            '"4 KiB"',
            "machines[1].disks[0].size",
            "less than 64 cells",
        ),
        (
            changed('"1 MiB"', '"1 MiB + 1 B"'),
            "+ 1 B",
            "machines[1].disks[0].size",
            "no multiple of 512",
        ),
        (
            changed(', size = "1 MiB"', ""),
            '{ volume = "V2" }',
            "machines[1].disks[0]",
            "needs a size or an image",
        ),
        (
            changed('size = "1 MiB"', 'size = "1 MiB", image = "a.vhdx"'),
            "a.vhdx",
            "machines[1].disks[0].size",
            "leave one of the two out",
        ),
        (
            changed('name = "y"', 'name = "x"'),
            'guest = "none"',
            "machines[1].name",
            "'x' is there twice",
        ),
        (
            changed('target = "B"', 'target = "C"'),
            "target",
            "happenings[0].target",
            "there is no node 'C'",
        ),
        (
            changed('{ at = "12m" }', '{ at = "71m" }'),
            "71m",
            "happenings[0].on.at",
            "after the scenario's end",
        ),
        (
            changed('answer = "lose"', 'answer = "lie"'),
            "lie",
            "happenings[1].answer",
            "should be 'fail', 'lose', 'hang' or 'delay'",
        ),
        (
            changed('kind = "call-disturbed"', 'kind = "call-lost"'),
            "call-lost",
            "happenings[1]",
            "call-lost",
        ),
        (
            changed('[[expect]]\nmachine = "x"', '[[expect]]\nmachine = "z"'),
            'machine = "z"',
            "expect[0].machine",
            "there is no machine 'z'",
        ),
        (
            changed(
                'kind = "guest-silence"\nmachine = "x"', 'kind = "guest-silence"\nmachine = "z"'
            ),
            'machine = "z"',
            "variants[0].happenings[0].machine",
            "there is no machine 'z'",
        ),
        (changed("slot = 1", 'slot = "one"'), "slot", "expect[0].slot", "integer"),
        (changed("pinned = true", "pinned = [1]"), "pinned", "volumes[1].pinned", "boolean"),
        (changed('why = "A', 'whyy = "A'), "whyy", "whyy", "unknown key"),
        (changed('subject = "x"\n', ""), "call-disturbed", "happenings[1].subject", "is missing"),
        (
            changed("bursts_per_hour = 3600", "bursts_per_hour = 3600, hot_percent = 90"),
            "hot_percent",
            "machines[0].writes",
            "exceed 100 percent",
        ),
    ],
)
def test_a_complaint_names_file_line_key_and_reason(
    text: str, at: str, key: str, reason: str
) -> None:
    """Whoever wrote the file finds the place without searching."""
    complaints = complaints_about(text)

    wanted = [c for c in complaints if f" {key}: " in c and reason in c]
    assert wanted, complaints
    place = re.match(r"night\.toml:(\d+): ", wanted[0])
    assert place is not None, wanted
    found = int(place[1])
    # A missing or doubled key is told at its table, whose header stands a few lines above.
    assert line_of(text, at) - 4 <= found <= line_of(text, at)
    if "is missing" not in reason and "twice" not in reason and "call-lost" not in reason:
        assert found == line_of(text, at)


def test_everything_wrong_is_said_at_once() -> None:
    """One look at the complaints is enough to repair a file, and they stand in the file's order."""
    text = (
        VALID.replace('duration = "70m"', 'duration = "70"')
        .replace('interval = "30m"', "interval = true")
        .replace('name = "A"', 'name = "A"\ncores = 4')
        .replace('answer = "lose"', 'answer = "lie"')
    )

    complaints = complaints_about(text)

    lines = [int(complaint.split(":")[1]) for complaint in complaints]
    assert len(complaints) == 4
    assert lines == sorted(lines)
    assert lines == [line_of(text, part) for part in ('"70"', "true", "cores", "lie")]


def test_impossible_clusters_are_told_all_at_once() -> None:
    """Not only the first name that is nobody's."""
    text = VALID.replace('coordinator = "A"', 'coordinator = "Q"').replace(
        'target = "B"', 'target = "R"'
    )

    complaints = complaints_about(text)

    assert [re.sub(r".*there is", "there is", c) for c in complaints] == [
        "there is no node 'Q'",
        "there is no node 'R'",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("why = ", 1),
        ('why = "A night without an end\nseed = 1\n', 1),
        ('why = "A"\nseed = = 1\n', 2),
        ('why = "A"\nwhy = "B"\n', 2),
        ('[nodes]\n[[nodes]]\nname = "A"\n', 2),
        ("why = " + "[" * 5000, 1),
        ("\x00", 1),
    ],
)
def test_a_syntax_error_is_told_with_its_line(text: str, line: int) -> None:
    """What is no TOML is refused as that, and where."""
    [complaint] = complaints_about(text)

    assert complaint.startswith(f"night.toml:{line}: not valid TOML: "), complaint


@pytest.mark.parametrize("text", ["", "# nothing\n", "[nodes]\n", "a = { b = { c = 1 } }\n"])
def test_a_file_without_a_scenario_is_told_what_is_missing(text: str) -> None:
    """The required tables are named, each once."""
    complaints = complaints_about(text)

    for key in ("why", "duration", "volumes", "machines"):
        assert sum(f": {key}: is missing" in complaint for complaint in complaints) == 1
    assert all(complaint.startswith("night.toml:1: ") for complaint in complaints)


@pytest.mark.parametrize(
    "text",
    ["nodes = 3\n", "nodes = [1, 2]\n", "[nodes.A]\nx = 1\n", "[machines]\n[machines.x.disks]\n"],
)
def test_tables_of_the_wrong_shape_are_complained_about(text: str) -> None:
    """A table where a list belongs, or a number where a table does, is a complaint like any."""
    complaints = complaints_about(text)

    assert all(re.match(r"night\.toml:\d+: [^:]+: .", complaint) for complaint in complaints)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The path and the remedy are named."""
    with pytest.raises(ScenarioRefusedError, match=r"gone\.toml: no such file.*name a scenario"):
        read_scenario(tmp_path / "gone.toml")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A directory is no scenario file."""
    with pytest.raises(ScenarioRefusedError, match="is a directory"):
        read_scenario(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A disk image named by mistake is told to be no text."""
    path = tmp_path / "night.toml"
    path.write_bytes(b"why = \xff\xfe")

    with pytest.raises(ScenarioRefusedError, match=r"night\.toml: not UTF-8 text"):
        read_scenario(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """No more than a scenario's worth of it is read."""
    path = tmp_path / "night.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(ScenarioRefusedError, match="larger than 4 MiB"):
        read_scenario(path)


def test_a_file_is_named_in_its_complaints(tmp_path: Path) -> None:
    """The path stands before the line, so that an editor can jump there."""
    path = tmp_path / "night.toml"
    path.write_text(changed('duration = "70m"', "duration = 70"))

    with pytest.raises(ScenarioRefusedError, match=re.escape(f"{path}:2: duration: ")):
        read_scenario(path)


@given(arbitrary_texts())
@example("why = 1e999")
@example('seed = 9223372036854775808\nwhy = "0123456789"')
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    """There is no third way: no other error, whatever stands in the file."""
    try:
        assert isinstance(parse_scenario(text, name="night.toml"), Scenario)
    except ScenarioRefusedError as refused:
        assert refused.complaints  # noqa: PT017 - both ways are right


@given(mutated_scenarios())
def test_a_spoiled_scenario_is_read_or_refused_with_lines_of_the_file(text: str) -> None:
    """Every complaint about a nearly valid file points into the file."""
    try:
        assert isinstance(parse_scenario(text, name="night.toml"), Scenario)
    except ScenarioRefusedError as refused:
        last = len(text.splitlines()) + 1
        for complaint in refused.complaints:
            place = re.match(r"night\.toml:(\d+): ", complaint)
            assert place is not None, complaint
            assert 1 <= int(place[1]) <= last


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90s", 90 * SECOND),
        ("1h30m", 90 * MINUTE),
        ("1h 30m", 90 * MINUTE),
        ("250 ms", SECOND // 4),
        ("1.5h", 90 * MINUTE),
        ("-37m", -37 * MINUTE),
        ("2d", 48 * HOUR),
        (0, 0),
    ],
)
def test_durations_are_read_as_people_write_them(text: object, wanted: int) -> None:
    """A number with a unit, or several; nought needs none."""
    assert parse_duration(text) == wanted


@pytest.mark.parametrize("text", ["", " ", "90", "s", "1h30", "1 year", 91, True, 1.5, None])
def test_a_duration_without_a_unit_is_refused(text: object) -> None:
    """A number alone could be anything."""
    with pytest.raises(ValueError, match="with a unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("64 MiB", 64 * MIB), ("1KiB", 1024), ("2 MiB + 512 B", 2 * MIB + 512), (" 0 B ", 0)],
)
def test_sizes_are_read_as_people_write_them(text: object, wanted: int) -> None:
    """Powers of two have their own units; a rest in bytes may be added."""
    assert parse_size(text) == wanted


@pytest.mark.parametrize("text", ["", "64", "64 MB", "1.5 MiB", "-1 MiB", 4096, None])
def test_a_size_without_a_unit_is_refused(text: object) -> None:
    """Nobody has to guess whether a megabyte was meant to be a million."""
    with pytest.raises(ValueError, match="with a unit"):
        parse_size(text)


@pytest.mark.parametrize(("restored_as", "refused"), [("original", True), ("new", False)])
def test_an_application_is_not_put_back_while_it_runs(restored_as: str, *, refused: bool) -> None:
    """Its machine may be restored beside itself; in its own place it is said to be impossible."""
    text = changed('guest = "vss"', 'guest = "vss"\napplication = "ledger"')
    text = text.replace("512 KiB + 512 B", "768 KiB")
    text += f"""
[[happenings]]
kind = "machine-restored"
order = "r1"
machine = "x"
target = "B"
volume = "V1"
restored_as = "{restored_as}"
on = {{ at = "20m" }}
"""
    if not refused:
        assert parse_scenario(text, name="night.toml").happenings
        return
    [complaint] = complaints_about(text)
    assert "restored_as" in complaint
    assert complaint.endswith("is `new` only where an application runs")
