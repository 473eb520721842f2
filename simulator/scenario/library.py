"""Where the scenarios lie that come with Twinshot."""

from pathlib import Path

from simulator.scenario.reading import ScenarioRefusedError


def library() -> Path:
    """Return the directory of the scenarios: beside the packages, or in the installed wheel."""
    here = Path(__file__).resolve().parent
    for place in (here / "library", here.parent.parent / "scenarios"):
        if (place / "baseline").is_dir():
            return place
    raise ScenarioRefusedError(("the scenarios are not installed; name a scenario file",))


def scenario_files(paths: tuple[Path, ...], /) -> list[Path]:
    """Return the scenario files that the paths name, directories searched to the bottom.

    Raises:
        ScenarioRefusedError: a path names nothing.
    """
    found: list[Path] = []
    missing: list[str] = []
    for path in paths:
        if path.is_dir():
            within = sorted(path.rglob("*.toml"))
            found += within
            if not within:
                missing.append(f"{path}: there is no scenario file (*.toml) in it")
        elif path.exists():
            found.append(path)
        else:
            missing.append(f"{path}: no such file; name a scenario file or a directory of them")
    if missing:
        raise ScenarioRefusedError(tuple(missing))
    return list(dict.fromkeys(found))
