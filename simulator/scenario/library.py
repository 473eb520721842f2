"""Where the scenarios lie that come with Twinshot."""

import re
from collections.abc import Iterable
from pathlib import Path

from reference_engine.model.wording import listed, suggestion
from simulator.scenario.reading import ScenarioRefusedError


def library() -> Path:
    """Return the directory of the scenarios: beside the packages, or in the installed wheel."""
    here = Path(__file__).resolve().parent
    for place in (here / "library", here.parent.parent / "scenarios"):
        if (place / "baseline").is_dir():
            return place
    raise ScenarioRefusedError(("the scenarios are not installed; name a scenario file",))


def scenario_files(named: Iterable[Path | str], /) -> list[Path]:
    """Return the scenario files that people name, each once.

    A name is that of a file, of a directory, which is searched to the bottom, or of a scenario that
    comes with Twinshot: its own (`d20_migrate_between_snapshots`) or its number in the catalogue
    (`D20`), which several may share. What lies where the command runs goes before the library.

    Raises:
        ScenarioRefusedError: a name is nothing's.
    """
    found: list[Path] = []
    missing: list[str] = []
    for path in map(Path, named):
        if path.is_dir():
            within = sorted(path.rglob("*.toml"))
            found += within
            if not within:
                missing.append(f"{path}: there is no scenario file (*.toml) in it")
        elif path.exists():
            found.append(path)
        elif path.suffix or len(path.parts) != 1:
            missing.append(f"{path}: no such file; name a scenario file or a directory of them")
        else:
            within = _in_library(path.name)
            found += within
            if not within:
                missing.append(_unknown(path.name))
    if missing:
        raise ScenarioRefusedError(tuple(missing))
    return list(dict.fromkeys(found))


def one_scenario_file(named: str, /) -> Path:
    """Return the one scenario file that a person names.

    Raises:
        ScenarioRefusedError: the name is nothing's, or that of several.
    """
    files = scenario_files((named,))
    if len(files) > 1:
        names = listed(file.stem for file in files)
        complaint = f"{named} has {len(files)} scenarios; choose from {names}"
        raise ScenarioRefusedError((complaint,))
    return files[0]


def _in_library(name: str) -> list[Path]:
    number = re.fullmatch(r"[Dd]\d\d", name)
    return [
        file
        for file in scenario_files((library(),))
        if file.stem == name or (number and file.stem.startswith(f"{name.lower()}_"))
    ]


def _unknown(name: str) -> str:
    known = (file.stem for file in scenario_files((library(),)))
    hint = suggestion(name, known, otherwise="`twinshot scenario list` names them")
    return f"there is no scenario {name!r}; {hint}"
