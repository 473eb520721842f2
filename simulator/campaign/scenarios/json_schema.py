"""The vocabulary of scenario files as a JSON Schema, so that editors complete and check them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from simulator.faults.quantities import write_duration, write_size
from simulator.scenario.schema import Scenario

FILE_NAME: Final = "scenario.schema.json"
"""What the schema is called beside scenario files; their first line may name it: `#:schema`."""

_WRITERS: Final[Mapping[str, Callable[[int], str]]] = {
    "duration with a unit": write_duration,
    "size with a unit": write_size,
}


def json_schema() -> dict[str, Any]:
    """Return the schema: JSON Schema 2020-12, with the words of `simulator.scenario.schema`."""
    schema: dict[str, Any] = _as_written(Scenario.model_json_schema(mode="validation"))
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Twinshot scenario"
    return schema


def _as_written(part: Any) -> Any:
    """Return the schema with amounts as files write them: text with a unit, and no nothing."""
    if isinstance(part, list):
        return [_as_written(each) for each in part if each != {"type": "null"}]
    if not isinstance(part, dict):
        return part
    kept = {key: _as_written(each) for key, each in part.items()}
    if "default" in part and part["default"] is None:
        del kept["default"]
    write = _WRITERS.get(_format(part))
    if write is not None:
        for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            kept.pop(bound, None)
        if "default" in kept:
            kept["default"] = write(kept["default"])
    return kept


def _format(part: dict[str, Any]) -> str:
    """Return the format of an amount, also where there may be none."""
    ways = [part, *(each for each in part.get("anyOf", ()) if isinstance(each, dict))]
    return next((str(each["format"]) for each in ways if "format" in each), "")


def schema_text() -> str:
    """Return the schema as it is shipped."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"
