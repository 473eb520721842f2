"""The files of a report: all of them or none, and never over somebody else's."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any, Final

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.adapters.store_errors import StoreUnusableError
from reference_engine.model.errors import InputRefusedError, RefusedError
from reference_engine.reporting.junit import junit_xml
from reference_engine.reporting.page import render_report
from reference_engine.reporting.timeline import chrome_trace
from simulator.campaign.telling import SCHEMA, night_for_report, point_rows, result_record
from simulator.campaign.trial import Trial

RESULT: Final = "result.json"
_ENTRIES: Final = frozenset({RESULT, "report.html", "trace.json", "junit.xml", "repository"})
_NO_ROOM_OR_RIGHT: Final = frozenset(
    {errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EPERM, errno.EROFS}
)
_HEAD: Final = 200
"""The schema stands at the beginning of a result."""


class ReportDirectory:
    """A directory that appears under its name only when everything in it is written."""

    def __init__(self, target: Path, /) -> None:
        """Make sure that `target` may be written; nothing is, yet.

        Raises:
            InputRefusedError: it is no place for a report, or holds what no report holds.
            StoreUnusableError: it cannot be looked at.
        """
        self.target = target
        place = target.absolute()
        if place.name in {"", ".."} or place == Path.cwd() or place in Path.cwd().parents:
            raise InputRefusedError(
                f"{target} is no place for a report", "name a directory of its own with --out"
            )
        self._partial = place.with_name(f".{place.name}.partial")
        self._earlier = place.with_name(f".{place.name}.earlier")
        try:
            foreign = None if not target.exists() else _stranger(target)
        except OSError as failure:
            raise _unwritable(target, failure) from None
        if foreign is not None:
            raise InputRefusedError(
                f"{target} is no report of an earlier run (it holds {foreign})",
                "name another directory with --out",
            )

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
        shown = self.target / within / RESULT
        rows = point_rows(trial)
        night = night_for_report(trial, rows, replay=f"twinshot replay {shown}")
        result = result_record(trial, rows, images=images)
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / "report.html").write_text(render_report(night), encoding="utf-8")
            (place / "trace.json").write_bytes(chrome_trace(night))
            (place / "junit.xml").write_text(junit_xml(night), encoding="utf-8")
            (place / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            _export(trial.night.kept, place / "repository")
        except OSError as failure:
            raise _unwritable(self.target, failure) from None

    def write_summary(self, record: dict[str, Any], /) -> None:
        """Write the summary of several trials."""
        try:
            (self._partial / RESULT).write_text(json.dumps(record, indent=1) + "\n")
        except OSError as failure:
            raise _unwritable(self.target, failure) from None

    def publish(self) -> None:
        """Give the directory its name; an earlier report goes only once the new one stands."""
        try:
            shutil.rmtree(self._earlier, ignore_errors=True)
            if self.target.exists():
                self.target.rename(self._earlier)
            self._partial.rename(self.target)
        except OSError as failure:
            raise _unwritable(self.target, failure) from None

    def abandon(self) -> None:
        """Leave nothing half-written behind; after `publish` that is the earlier report."""
        if self._earlier.exists() and not self.target.exists():
            self._earlier.rename(self.target)
        shutil.rmtree(self._earlier, ignore_errors=True)
        shutil.rmtree(self._partial, ignore_errors=True)


def _stranger(place: Path) -> str | None:
    """Return the name of something in `place` that no report has; None for a report or nothing."""
    if not place.is_dir():
        return "a file"
    entries = sorted(place.iterdir())
    if entries and not _is_result(place / RESULT):
        return entries[0].name
    for entry in entries:
        if entry.name not in _ENTRIES and not _is_result(entry / RESULT):
            return entry.name
    return None


def _is_result(file: Path) -> bool:
    """Return whether a file is the result of a run; it says so itself."""
    try:
        with file.open("rb") as opened:
            return SCHEMA.encode() in opened.read(_HEAD)
    except OSError:
        return False


def _export(kept: MemoryStore, place: Path) -> None:
    """Write the simulated repository as an ordinary one: one file an object."""
    for name, content in kept.objects.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _unwritable(place: Path, failure: OSError) -> RefusedError:
    reason = (failure.strerror or "it cannot be written").lower()
    if failure.errno not in _NO_ROOM_OR_RIGHT:
        return InputRefusedError(
            f"the report cannot be written to {place}: {reason}",
            "name another directory with --out",
        )
    return StoreUnusableError(f"report {place}", reason, "name another directory with --out")
