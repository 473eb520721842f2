"""The night's verdicts as JUnit XML, which every build server shows.

Source: the schema that Jenkins' xUnit plugin publishes; `testsuite` and `testcase` as used there.
"""

import itertools
import re
from collections.abc import Iterable
from typing import Final
from xml.etree import ElementTree as ET

import msgspec

from reference_engine.model.units import SECOND
from reference_engine.reporting.night import Night, names_of

FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped (section 2.2)."""

EXPECTATION: Final = "expect:"


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """One testcase: something that was promised."""

    group: str
    name: str
    holds: bool | None
    detail: str


def junit_xml(night: Night, /) -> str:
    """Return a document with a testcase for each verdict and each recovery point.

    Expectations of the scenario are verdicts whose id starts with `expect:`. What was not judged
    is skipped; what does not hold fails with its detail and the command that repeats the night.
    """
    names = names_of(night)
    suites = {
        "invariants": [
            _Case(
                group="invariants", name=f"{row.id} {row.title}", holds=row.holds, detail=row.detail
            )
            for row in night.verdicts
            if not row.id.startswith(EXPECTATION)
        ],
        "expectations": [
            _Case(
                group="expectations",
                name=f"{row.id.removeprefix(EXPECTATION)}: {row.title}",
                holds=row.holds,
                detail=row.detail,
            )
            for row in night.verdicts
            if row.id.startswith(EXPECTATION)
        ],
        "points": [
            _Case(
                group=f"points.{names.get(row.machine, row.machine)}",
                name=str(row.point),
                holds=row.holds,
                detail=row.verified,
            )
            for row in night.point_rows
        ],
    }
    root = ET.Element("testsuites", _counts(night.title, itertools.chain(*suites.values())))
    for title, cases in suites.items():
        suite = ET.SubElement(root, "testsuite", _counts(title, cases))
        suite.set("time", f"{(night.end - night.start) / SECOND:.6f}")
        _properties(suite, night)
        for case in cases:
            _write(suite, case, night)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _counts(title: str, cases: Iterable[_Case]) -> dict[str, str]:
    held = [case.holds for case in cases]
    return {
        "name": _clean(title),
        "tests": str(len(held)),
        "failures": str(held.count(False)),
        "errors": "0",
        "skipped": str(held.count(None)),
    }


def _properties(suite: ET.Element, night: Night) -> None:
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("scenario", night.scenario),
        ("seed", str(night.seed)),
        ("digest", night.trace_digest),
        ("replay", night.replay),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": _clean(value)})


def _write(suite: ET.Element, case: _Case, night: Night) -> None:
    element = ET.SubElement(
        suite,
        "testcase",
        {"classname": _clean(f"{night.scenario}.{case.group}"), "name": _clean(case.name)},
    )
    if case.holds is None:
        ET.SubElement(element, "skipped", {"message": _clean(case.detail or "not judged")})
    elif not case.holds:
        failure = ET.SubElement(
            element, "failure", {"type": "broken", "message": _clean(case.detail)}
        )
        failure.text = _clean(f"{case.detail}\nrepeat: {night.replay}")


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
