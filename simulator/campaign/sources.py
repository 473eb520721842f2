"""Where a run comes from: a scenario, the result of an earlier run, or a seed's number."""

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import BaseModel, Field

from reference_engine.model.errors import InputRefusedError
from simulator.campaign.images import opened_images
from simulator.campaign.report_files import RESULT
from simulator.campaign.sweep.seeds import swarm_subject
from simulator.campaign.trial import Subject, subjects_of
from simulator.scenario.library import one_scenario_file
from simulator.scenario.reading import read_scenario
from simulator.scenario.schema import Scenario, impossibilities


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
            return Source((swarm_subject(parse_seed(name)),), {}, (), stack.pop_all())
        if (path / RESULT).is_file():
            path /= RESULT
        if path.suffix == ".json":
            return _recorded(path, stack)
        file = one_scenario_file(name)
        scenario = read_scenario(file)
        images, files = stack.enter_context(opened_images(scenario, file.parent))
        subjects = subjects_of(scenario, name=file.stem, path=file, seed=None, images=images)
        return Source(tuple(subjects), dict(files), (), stack.pop_all())


def _recorded(file: Path, stack: ExitStack) -> Source:
    """Return what a result.json recorded, and the digests that it must come to again."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        trials = [_RecordedTrial.model_validate(each) for each in record.get("trials", [record])]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as failure:
        raise _no_result(file, failure) from None
    if not trials:
        raise _no_result(file, None)
    subjects: list[Subject] = []
    found: dict[str, Path] = {}
    for trial in trials:
        impossible = [sentence for _, sentence in impossibilities(trial.scenario)]
        if impossible:
            raise InputRefusedError(
                f"{file} records a scenario that cannot be: {impossible[0]}",
                "name the result.json of a report, or a scenario file",
            )
        images, sources = stack.enter_context(opened_images(trial.scenario, file.parent))
        found |= sources
        chosen = [
            each
            for each in subjects_of(
                trial.scenario,
                name=trial.scenario_name,
                path=file,
                seed=trial.seed,
                images=images,
            )
            if trial.variant == (each.variant.id if each.variant is not None else None)
        ]
        if not chosen:
            raise _no_result(file, None)
        subjects += chosen
    digests = tuple(trial.trace_digest for trial in trials)
    return Source(tuple(subjects), found, digests, stack.pop_all())


class _RecordedTrial(BaseModel):
    """What a replay needs of a recorded result; the rest of it is for people."""

    schema_: Literal["twinshot/result/1"] = Field(alias="schema")
    scenario_name: str
    variant: str | None
    seed: int = Field(ge=0, lt=2**63)
    trace_digest: str
    scenario: Scenario


def _no_result(file: Path, failure: Exception | None) -> InputRefusedError:
    reason = failure.strerror if isinstance(failure, OSError) else None
    return InputRefusedError(
        f"{file} is no result of an earlier run" + (f": {reason.lower()}" if reason else ""),
        "name the result.json of a report, or a scenario file",
    )


def parse_seed(text: str, /) -> int:
    """Return the seed that `text` names; a number with a fraction would silently lose it.

    Raises:
        InputRefusedError: it is no whole number from 0 to 2^63 - 1.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 2**63):
        raise InputRefusedError(f"{text} is no seed", "give a whole number from 0 to 2^63 - 1")
    return int(text)
