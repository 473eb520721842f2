"""Reading scenario files: a scenario, or every complaint at once with file, line and key."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from reference_engine.model.errors import RefusedError
from simulator.scenario.schema import Complaint, Scenario, impossibilities

_MOST_BYTES: Final = 4 << 20
_LONG_STRING: Final = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'', re.DOTALL)
_HEADER: Final = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_KEY: Final = re.compile(r"""^\s*([A-Za-z0-9_-]+|"[^"]*"|'[^']*')((?:\s*\.\s*[^=\s]+)*)\s*=""")


class ScenarioRefusedError(RefusedError):
    """A scenario file is not usable; every reason is one line of the text."""

    def __init__(self, complaints: tuple[str, ...], /) -> None:
        super().__init__(complaints)
        self.complaints = complaints

    def __str__(self) -> str:
        return "\n".join(self.complaints)


def read_scenario(path: Path, /) -> Scenario:
    """Return the scenario in the file.

    Raises:
        ScenarioRefusedError: it is missing, no TOML, or says what cannot be.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as failure:
        reason = failure.strerror or "it cannot be read"
        raise ScenarioRefusedError((f"{path}: {reason.lower()}; name a scenario file",)) from None
    if len(raw) > _MOST_BYTES:
        raise ScenarioRefusedError((f"{path}: larger than 4 MiB, so no scenario file",))
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ScenarioRefusedError((f"{path}: not UTF-8 text, so no scenario file",)) from None
    return parse_scenario(text, name=str(path))


def parse_scenario(text: str, /, *, name: str) -> Scenario:
    """Return the scenario that `text` holds; `name` stands in complaints.

    Raises:
        ScenarioRefusedError: as `read_scenario`.
    """
    try:
        decoded = tomllib.loads(text)
    except (ValueError, RecursionError) as failure:  # a number of 5,000 digits is a ValueError
        line, sentence = _toml_complaint(text, str(failure))
        raise ScenarioRefusedError((f"{name}:{line}: {_printable(sentence)}",)) from None
    try:
        scenario = Scenario.model_validate(decoded)
    except ValidationError as failure:
        complaints = [
            (_location(error["loc"], decoded), _sentence(error)) for error in failure.errors()
        ]
        raise ScenarioRefusedError(_rendered(text, name, complaints)) from None
    impossible = list(impossibilities(scenario))
    if impossible:
        raise ScenarioRefusedError(_rendered(text, name, impossible))
    return scenario


def _toml_complaint(text: str, message: str) -> tuple[int, str]:
    found = re.search(r"\(at line (\d+), column \d+\)", message)
    line = int(found[1]) if found else text.count("\n") + 1
    plain = re.sub(r"\s*\(at [^)]*\)", "", message) or "nested too deeply"
    return line, f"not valid TOML: {plain[:1].lower()}{plain[1:]}"


def _location(location: Sequence[str | int], decoded: Any) -> tuple[str | int, ...]:
    """Return only those parts of pydantic's location that stand in the file."""
    kept: list[str | int] = []
    here: Any = decoded
    for part in location:
        if isinstance(here, dict) and isinstance(part, str):
            if part in here:
                kept.append(part)
                here = here[part]
            elif part == location[-1]:
                kept.append(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            kept.append(part)
            here = here[part]
    return tuple(kept)


def _sentence(error: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "is missing"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            message = str(error["msg"])
            return message[:1].lower() + message[1:]


def _rendered(text: str, name: str, complaints: list[Complaint]) -> tuple[str, ...]:
    lines = _lines_of_keys(text)
    rendered = []
    for location, sentence in complaints:
        place = location
        while place and place not in lines:
            place = place[:-1]
        line = lines.get(place, 1)
        rendered.append((line, f"{name}:{line}: {_dotted(location)}: {_printable(sentence)}"))
    return tuple(dict.fromkeys(text for _, text in sorted(rendered)))


def _dotted(location: tuple[str | int, ...]) -> str:
    out = ""
    for part in location:
        name = str(part) if isinstance(part, int) or _BARE.fullmatch(part) else repr(part)
        out += f"[{name}]" if isinstance(part, int) else f".{name}" if out else name
    return out or "the file"


def _printable(sentence: str) -> str:
    """Return one line: whatever a file holds, a complaint about it can be printed."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in sentence
    )


def _without_long_strings(text: str) -> str:
    """Return `text` with its multi-line strings emptied, its lines where they were."""
    return _LONG_STRING.sub(lambda found: "\n" * found[0].count("\n"), text)


def _lines_of_keys(text: str) -> dict[tuple[str | int, ...], int]:
    """Return the line of every table header and key; keys of inline tables are on their owner's."""
    lines: dict[tuple[str | int, ...], int] = {}
    counts: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    for number, line in enumerate(_without_long_strings(text).split("\n"), start=1):
        header = _HEADER.match(line)
        key = _KEY.match(line)
        if header is not None:
            table = ()
            parts = [part.strip().strip("\"'") for part in header[2].split(".")]
            for index, part in enumerate(parts):
                table = (*table, part)
                last = index == len(parts) - 1
                if last and header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    lines.setdefault(table, number)
                if table in counts:
                    table = (*table, counts[table])
            lines.setdefault(table, number)
        elif key is not None:
            dotted = [key[1], *(part.strip() for part in key[2].split(".") if part.strip())]
            place: tuple[str | int, ...] = table
            for part in dotted:
                place = (*place, part.strip("\"'"))
                lines.setdefault(place, number)
    return lines
