"""Where a run comes from: a scenario file, the result of an earlier run, or a seed's number."""

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import ValidationError

from reference_engine.model.errors import InputRefusedError
from simulator.campaign.images import opened_images
from simulator.campaign.sweep.seeds import swarm_subject
from simulator.campaign.telling import SCHEMA
from simulator.campaign.trial import Subject, subjects_of
from simulator.scenario.reading import read_scenario
from simulator.scenario.schema import Scenario

_SEED_MOST: Final = 2**63


class Source:
    """Runs that can be run again, and the real disk images that they need while it is entered."""

    def __init__(
        self,
        subjects: tuple[Subject, ...],
        files: dict[str, Path],
        digests: tuple[str, ...],
        stack: ExitStack,
        /,
    ) -> None:
        self.subjects, self.files, self._stack = subjects, files, stack
        self.digests = digests
        """What the runs came to when they were recorded, one for each; empty if they were not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def source_named(name: str, /) -> Source:
    """Return the runs that a person names.

    Raises:
        RefusedError, CorruptionError: it is neither a file of ours nor a seed.
    """
    path = Path(name)
    with ExitStack() as stack:
        if name.isdecimal() and not path.exists():
            if int(name) >= _SEED_MOST:
                raise InputRefusedError(f"{name} is no seed", "give a number below 2^63")
            return Source((swarm_subject(int(name)),), {}, (), stack.pop_all())
        if path.suffix == ".json":
            return _recorded(path, stack)
        scenario = read_scenario(path)
        images, files = stack.enter_context(opened_images(scenario, path.parent))
        subjects = subjects_of(scenario, name=path.stem, path=path, seed=None, images=images)
        return Source(tuple(subjects), dict(files), (), stack.pop_all())


def _recorded(file: Path, stack: ExitStack) -> Source:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        trials = record.get("trials", [record])
        subjects: list[Subject] = []
        digests: list[str] = []
        found: dict[str, Path] = {}
        for trial in trials:
            # A result of another schema fails here like any other file that is none of ours.
            scenario = Scenario.model_validate({SCHEMA: trial["scenario"]}[trial["schema"]])
            images, files = stack.enter_context(opened_images(scenario, file.parent))
            found |= files
            chosen = subjects_of(
                scenario,
                name=trial["scenario_name"],
                path=file,
                seed=int(trial["seed"]),
                images=images,
            )
            wanted = trial["variant"]
            subjects += [
                each for each in chosen if wanted in (None, each.variant and each.variant.id)
            ]
            digests.append(str(trial["trace_digest"]))
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else None
        raise InputRefusedError(
            f"{file} is no result of an earlier run" + (f": {reason.lower()}" if reason else ""),
            "name the result.json of a report, or a scenario file",
        ) from None
    return Source(tuple(subjects), found, tuple(digests), stack.pop_all())
