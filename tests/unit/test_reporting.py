"""What a report of one night promises to whoever reads it."""

import itertools
import json
import re
import struct
import time  # noqa: TID251 - the promise is about the processor's time
import zlib
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, MachineId, RecoveryPointId
from reference_engine.model.units import ByteCount, Instant
from reference_engine.reporting.figures import ticks, unit_for
from reference_engine.reporting.heat_map import (
    CHANGED,
    RECONCILED,
    SENT_UNCHANGED,
    UNCHANGED,
    block_map,
    png,
)
from reference_engine.reporting.history import history_of
from reference_engine.reporting.junit import junit_xml
from reference_engine.reporting.night import HeatPoint, HeatRow, Night, machine_row, night_holds
from reference_engine.reporting.page import render_report
from reference_engine.reporting.swimlane import swimlane_of
from reference_engine.reporting.timeline import chrome_trace
from tests.strategies.nights import NAMES, NAMES_MORE, busy_night

HOSTILE = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>{{ 7 * 7 }}\x00\x1b'


class _Page(HTMLParser):
    """Gathers what a browser would load, run and show."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.tags: dict[str, int] = {}
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.policy = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            if name in {"src", "srcset", "data", "poster", "action"} or name.endswith("href"):
                self.loaded.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
        named = dict(attrs)
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named.get("content") or ""

    def handle_endtag(self, tag: str) -> None:
        if self._inside == tag:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside == "style":
            self.styles.append(data)


@pytest.fixture(scope="module")
def night() -> Night:
    """Return the night that most promises are tried on."""
    return busy_night()


@pytest.fixture(scope="module")
def page(night: Night) -> str:
    """Return its page."""
    return render_report(night)


def test_a_report_needs_nothing_but_itself(page: str) -> None:
    """Whatever the page refers to lies inside the page, and its policy forbids all else."""
    read = _Page(page)

    assert all(address.startswith(("#", "data:image/png;base64,")) for address in read.loaded)
    assert not read.tags.keys() & {"link", "iframe", "object", "embed", "base"}
    assert not re.search(r"@import|url\((?!#)", "".join(read.styles))
    assert read.policy == (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    )


def test_a_report_tells_nothing_of_the_machine_that_made_it(page: str) -> None:
    """Neither paths nor source maps of whoever built the page's parts travel with it."""
    assert not re.search(r"sourceMappingURL|node_modules|/tmp/|/home/", page)


def test_a_report_is_a_function_of_the_night(night: Night, page: str) -> None:
    """The same night gives the same bytes in every format."""
    again = busy_night()

    assert render_report(again) == page
    assert chrome_trace(again) == chrome_trace(night)
    assert junit_xml(again) == junit_xml(night)


def test_a_report_is_small_and_made_quickly(night: Night) -> None:
    """A night of 156 points takes under two seconds of a processor and 2.5 million bytes."""
    started = time.process_time()

    made = render_report(night)

    assert time.process_time() - started < 2
    assert len(made.encode()) < 2_500_000


def test_text_from_outside_stays_text() -> None:
    """A machine's name adds no element, no handler and no script to any report."""
    plain = _Page(render_report(busy_night(names=(*NAMES, *NAMES_MORE))))

    hostile_night = busy_night(names=(HOSTILE, *NAMES[1:], *NAMES_MORE))
    hostile_page = render_report(hostile_night)
    hostile = _Page(hostile_page)

    assert hostile.tags == plain.tags
    assert hostile.handlers == []
    assert "{{ 7 * 7 }}" in hostile_page
    _read(junit_xml(hostile_night))
    json.loads(chrome_trace(hostile_night))


def test_the_data_of_scripts_cannot_end_its_element(page: str) -> None:
    """Data for scripts is JSON without a single `<`."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)

    assert found is not None
    assert "<" not in found[1]
    assert set(json.loads(found[1])) == {"charts", "panels"}


def test_every_point_is_marked_listed_and_charted(night: Night, page: str) -> None:
    """Each point is a mark among the lanes, a row of the table and a dot of the skew chart."""
    listed = re.findall(r'<tr data-shape="\w+"><td>([^<]+)</td>', page)
    marked = [mark for mark in swimlane_of(night).marks if "-consistent" in mark.tip]
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    charted = json.loads(data[1])["charts"]["skew-time"]["data"]["values"]
    expected = sorted(row.point for row in night.point_rows)

    assert sorted(listed) == expected
    assert len(marked) == len(expected) == 156
    assert sorted(dot["point"] for dot in charted) == expected


def test_kinds_of_points_differ_in_shape_and_not_only_in_colour() -> None:
    """Application, crash and failed points each have a symbol of their own."""
    shapes = {mark.shape for mark in swimlane_of(busy_night(broken=True)).marks}

    assert {"application", "crash", "failed"} <= shapes


def test_a_broken_night_says_so_before_anything_else() -> None:
    """The badge and the reasons precede every picture, and need no script."""
    made = render_report(busy_night(broken=True))
    top = made[: made.index('id="night"')]

    assert "✗ Broken" in top
    assert "lacks block 4711 &lt;/script&gt;" in top
    assert "shows the bytes of a later write" in top


@pytest.mark.parametrize(
    ("said", "expected"),
    [([], None), ([None], None), ([True, None], True), ([True, False, None], False)],
)
def test_a_night_holds_only_where_something_was_judged(
    said: list[bool | None],
    expected: bool | None,  # noqa: FBT001 - the value under test
) -> None:
    """Nothing judged is not a success, and one broken promise breaks the night."""
    whole = busy_night()
    first = whole.verdicts[0]
    verdicts = tuple(msgspec.structs.replace(first, holds=holds) for holds in said)
    bare = msgspec.structs.replace(whole, point_rows=(), verdicts=verdicts)

    assert night_holds(bare) is expected


def test_a_machine_s_row_sums_up_its_points(night: Night) -> None:
    """Counts, bytes and skews of a machine's row are those of its own points."""
    row = night.machine_rows[2]
    own = [point for point in night.point_rows if point.machine == row.machine]
    skews = sorted(point.skew for point in own if point.skew is not None)

    assert row.points == len(own) == 13
    assert sum(tally.count for tally in row.labels) == 13
    assert sum(tally.count for tally in row.transfers) == 13 * 2
    assert row.bytes_sent == sum(point.bytes_sent for point in own)
    assert (row.skew_min, row.skew_max) == (skews[0], skews[-1])
    assert machine_row(MachineId("nobody"), own, ()).skew_median is None


def test_a_block_map_shows_the_rarest_kind_of_each_stretch() -> None:
    """Reconciled wins over sent in vain, which wins over changed, which wins over unchanged."""
    row = _heat(
        changed=ExtentSet.of([(0, 300)]),
        reconciled=ExtentSet.of([(250, 260)]),
        sent=ExtentSet.of([(0, 300), (499, 501), (950, 1000)]),
    )

    drawn = block_map(row)

    assert drawn.tolist() == [
        [CHANGED] * 2
        + [RECONCILED]
        + [UNCHANGED]
        + [SENT_UNCHANGED] * 2
        + [UNCHANGED] * 3
        + [SENT_UNCHANGED]
    ]


def test_a_disk_of_any_size_fits_into_a_block_map() -> None:
    """A large disk is shown in at most 1024 stretches, an empty point as unchanged."""
    row = _heat(changed=EMPTY, reconciled=EMPTY, sent=EMPTY, size=7 * 2**40 + 512, block=2**16)

    drawn = block_map(row)

    assert drawn.shape[1] <= 1024
    assert not drawn.any()


def test_a_picture_of_blocks_decodes_to_its_block_map(night: Night) -> None:
    """The pixels of the PNG are the cells of the map, row by row."""
    for row in night.heat:
        drawn = block_map(row)

        assert np.array_equal(_pixels(png(drawn)), drawn)
        assert set(np.unique(drawn).tolist()) <= {UNCHANGED, CHANGED, SENT_UNCHANGED, RECONCILED}


def test_every_disk_has_its_block_map_in_the_page(night: Night, page: str) -> None:
    """The page holds one block map for each disk that the night describes."""
    assert page.count("data:image/png;base64,") == len(night.heat)


def test_what_never_ended_lasts_until_something_else_shows_that_it_did(night: Night) -> None:
    """Runs that an engine crash cut off end with the crash, without an outcome."""
    cut = [run for run in history_of(night).runs if run.outcome is None]

    assert len(cut) == 3
    assert {run.end for run in cut} == {Instant(22_200_000_000)}


def test_a_machine_is_in_one_place_at_a_time(night: Night) -> None:
    """Stays of a machine neither overlap nor leave a gap, and cover the whole night."""
    for machine in night.machines:
        stays = [stay for stay in history_of(night).residency if stay.who == machine.id]

        assert stays[0].start == night.start
        assert stays[-1].end == night.end
        assert all(one.end == other.start for one, other in itertools.pairwise(stays))


@pytest.mark.parametrize("whole", [0, 1, 40_000_000, 7 * 60_000_000, 43_200_000_000, 10**13])
def test_a_time_axis_has_few_round_ticks(whole: int) -> None:
    """Whether a night lasts seconds or months, its axis has at most 14 ascending ticks."""
    made = ticks(3_000_000, 3_000_000 + whole)

    assert len(made) <= 14
    assert made == sorted(set(made))
    assert all(3_000_000 <= at <= 3_000_000 + whole and at % 1_000_000 == 0 for at in made)


@pytest.mark.parametrize(
    ("amount", "unit"), [(0, "B"), (1023, "B"), (1024, "KiB"), (5 << 30, "GiB"), (1 << 70, "PiB")]
)
def test_an_axis_of_bytes_has_the_unit_of_its_largest_value(amount: int, unit: str) -> None:
    """The largest value reads as a number from 1 to 1023, where a unit for that exists."""
    assert unit_for(amount)[0] == unit


def test_a_timeline_is_valid_and_ascends(night: Night) -> None:
    """Names come first, then events by instant; nothing has a negative length."""
    events = json.loads(chrome_trace(night))["traceEvents"]
    told = [event for event in events if event["ph"] != "M"]
    named = {event["pid"] for event in events if event["name"] == "process_name"}

    assert events[-len(told) :] == told
    assert [event["ts"] for event in told] == sorted(event["ts"] for event in told)
    assert {event["pid"] for event in told} <= named
    assert all(event["dur"] >= 0 for event in told if event["ph"] == "X")


def test_slices_of_one_thread_nest(night: Night) -> None:
    """Viewers need slices of a thread to be apart or one inside the other."""
    events = json.loads(chrome_trace(night))["traceEvents"]
    open_until: dict[tuple[int, int], list[int]] = {}
    for event in events:
        if event["ph"] != "X":
            continue
        ends = open_until.setdefault((event["pid"], event["tid"]), [])
        while ends and ends[-1] <= event["ts"]:
            ends.pop()

        assert not ends or event["ts"] + event["dur"] <= ends[-1], event
        ends.append(event["ts"] + event["dur"])


def test_a_timeline_has_every_point_fault_and_migration(night: Night) -> None:
    """Points and faults are instants, and each migration is an arrow with two ends."""
    events = json.loads(chrome_trace(night))["traceEvents"]
    history = history_of(night)
    moved = [move for move in history.migrations if move.succeeded]

    assert _count(events, ph="i", s="t") == len(night.point_rows)
    assert _count(events, ph="i", s="g") == len(history.faults) == 3
    assert _count(events, ph="s") == _count(events, ph="f") == len(moved) > 0


def test_a_build_server_sees_every_promise() -> None:
    """Each invariant, expectation and point is a testcase; counts add up."""
    broken = busy_night(broken=True)

    root = _read(junit_xml(broken))
    counted = {suite.get("name"): suite for suite in root.findall("testsuite")}

    assert len(root.findall(".//testcase")) == int(root.get("tests", "")) == 8 + 1 + 156
    assert {name: suite.get("tests") for name, suite in counted.items()} == {
        "invariants": "8",
        "expectations": "1",
        "points": "156",
    }
    assert root.get("failures") == str(len(root.findall(".//failure"))) == "2"
    assert root.get("skipped") == str(len(root.findall(".//skipped"))) == "1"


def test_a_failure_says_why_and_how_to_see_it_again() -> None:
    """A failed testcase carries the detail and the command that repeats the night."""
    broken = busy_night(broken=True)

    failures = _read(junit_xml(broken)).findall(".//failure")

    assert ["4711" in (failure.get("message") or "") for failure in failures] == [True, True]
    assert all(broken.replay in (failure.text or "") for failure in failures)


def _read(document: str) -> ET.Element:
    return ET.fromstring(document)  # noqa: S314 - a document of our own making


def _heat(
    *,
    changed: ExtentSet,
    reconciled: ExtentSet,
    sent: ExtentSet,
    size: int = 1000,
    block: int = 100,
) -> HeatRow:
    point = HeatPoint(
        point=RecoveryPointId("p1"), changed=changed, reconciled=reconciled, sent=sent
    )
    return HeatRow(
        machine=MachineId("vm"),
        disk=DiskId("disk"),
        size=ByteCount(size),
        block=ByteCount(block),
        points=(point,),
    )


def _pixels(image: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the pixels of an indexed PNG without interlace whose lines are not filtered."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(image):
        length, kind = struct.unpack_from(">I4s", image, at)
        body = image[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", image, at + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + length
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour) == (8, 3)
    assert len(chunks[b"PLTE"]) == 4 * 3
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def _count(events: list[dict[str, Any]], **wanted: str) -> int:
    return sum(all(event.get(key) == value for key, value in wanted.items()) for event in events)
