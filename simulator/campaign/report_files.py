"""The files of a report: all of them or none, and never over somebody else's."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import InputRefusedError
from reference_engine.reporting.junit import junit_xml
from reference_engine.reporting.page import render_report
from reference_engine.reporting.timeline import chrome_trace
from simulator.campaign.telling import night_for_report, point_rows, result_record
from simulator.campaign.trial import Trial

_MARK: Final = "result.json"


class ReportDirectory:
    """A directory that appears under its name only when everything in it is written."""

    def __init__(self, target: Path, /) -> None:
        """Make sure that `target` may be written; nothing is, yet.

        Raises:
            InputRefusedError: it holds something that no earlier run has written.
        """
        self.target = target
        self._partial = target.with_name(f".{target.name}.partial")
        try:
            foreign = target.exists() and (
                not target.is_dir() or (any(target.iterdir()) and not (target / _MARK).exists())
            )
            if foreign:
                raise InputRefusedError(
                    f"{target} exists and is no report of an earlier run",
                    "name another directory with --out",
                )
        except OSError as failure:
            raise _unwritable(target, failure) from None

    def begin(self) -> None:
        """Make room for the report; `abandon` from now on, whatever happens."""
        shutil.rmtree(self._partial, ignore_errors=True)
        try:
            self._partial.mkdir(parents=True)
        except OSError as failure:
            raise _unwritable(self.target, failure) from None

    def write_trial(self, trial: Trial, /, *, within: str, images: dict[str, str]) -> None:
        """Write one trial's report; `within` is a subdirectory, or `.` for the directory itself."""
        place = self._partial / within
        shown = self.target / within / _MARK
        rows = point_rows(trial)
        night = night_for_report(trial, rows, replay=f"twinshot replay {shown}")
        result = result_record(trial, rows, images=images)
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / "report.html").write_text(render_report(night), encoding="utf-8")
            (place / "trace.json").write_bytes(chrome_trace(night))
            (place / "junit.xml").write_text(junit_xml(night), encoding="utf-8")
            (place / _MARK).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            _export(trial.night.kept, place / "repository")
        except OSError as failure:
            raise _unwritable(self.target, failure) from None

    def write_summary(self, record: dict[str, Any], /) -> None:
        """Write the summary of several trials."""
        try:
            (self._partial / _MARK).write_text(json.dumps(record, indent=1) + "\n")
        except OSError as failure:
            raise _unwritable(self.target, failure) from None

    def publish(self) -> None:
        """Give the directory its name, in the place of an earlier report."""
        try:
            if self.target.exists():
                shutil.rmtree(self.target)
            self._partial.rename(self.target)
        except OSError as failure:
            raise _unwritable(self.target, failure) from None

    def abandon(self) -> None:
        """Leave nothing behind; after `publish` there is nothing to abandon."""
        shutil.rmtree(self._partial, ignore_errors=True)


def _export(kept: MemoryStore, place: Path) -> None:
    """Write the simulated repository as an ordinary one: one file an object."""
    for name, content in kept.objects.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _unwritable(place: Path, failure: OSError) -> InputRefusedError:
    reason = (failure.strerror or "it cannot be written").lower()
    return InputRefusedError(
        f"the report cannot be written to {place}: {reason}", "name another directory with --out"
    )
