"""Writing scenarios: the same vocabulary back, as TOML or as plain data."""

from typing import Any

import tomli_w

from simulator.scenario.schema import Scenario


def as_data(scenario: Scenario, /) -> dict[str, Any]:
    """Return plain data from which `Scenario.model_validate` makes an equal scenario."""
    data: dict[str, Any] = scenario.model_dump(mode="json", exclude_defaults=True)
    return data


def as_toml(scenario: Scenario, /) -> str:
    """Return a scenario file's text."""
    return tomli_w.dumps(_without_nothing(as_data(scenario)))


def _without_nothing(value: Any) -> Any:
    """Return `value` without None, which TOML cannot say and which is a default everywhere."""
    match value:
        case dict():
            return {key: _without_nothing(each) for key, each in value.items() if each is not None}
        case list():
            return [_without_nothing(each) for each in value]
        case _:
            return value
