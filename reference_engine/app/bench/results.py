"""A benchmark's result as a file in pytest-benchmark's format, so that its tools read it, too.

`stats` are of wall time, as everywhere in that format. What decides here, CPU seconds and stored
bytes, is in each benchmark's `extra_info`.
"""

import datetime as dt
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from reference_engine.app.bench.own import is_ours
from reference_engine.app.bench.samples import Row, Sample
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import SECOND

_VERSION: Final = "5.2.0"
"""The version of pytest-benchmark whose format this is."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What `compare` needs of one benchmark."""

    name: str
    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    """Empty in a file of pytest-benchmark's own, which knows wall time only."""

    stored: int | None
    peak_memory: int | None
    is_ours: bool
    image: str | None
    """The digest of the image that it ran on."""


def machine_information() -> dict[str, Any]:
    """Return what the results depend on."""
    return {
        "node": "",
        "processor": platform.processor(),
        "machine": platform.machine(),
        "python_implementation": platform.python_implementation(),
        "python_version": platform.python_version(),
        "release": platform.release(),
        "system": platform.system(),
        "cpu": {"count": os.cpu_count(), "brand_raw": _processor()},
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": list(os.getloadavg()),
    }


def write_result(
    path: Path,
    rows: Sequence[Row],
    samples: Sequence[Sample],
    /,
    *,
    about: Mapping[str, Any],
) -> None:
    """Write the file; `about` is what is said of all benchmarks together."""
    benchmarks = [
        _benchmark(
            row, [each for each in samples if (each.tool, each.job) == (row.tool, row.job)], about
        )
        for row in rows
    ]
    content = {
        "machine_info": machine_information(),
        "commit_info": {},
        "benchmarks": benchmarks,
        "datetime": dt.datetime.now(dt.UTC).isoformat(),
        "version": _VERSION,
        "twinshot": about,
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def read_result(path: Path, /) -> tuple[Recorded, ...]:
    """Return the benchmarks of a file that `bench sync` or pytest-benchmark wrote.

    Raises:
        InputRefusedError: it is no such file.
    """
    try:
        content = msgspec.json.decode(path.read_bytes())
        found = tuple(_recorded(each) for each in content["benchmarks"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else None
        raise InputRefusedError(
            f"{path} holds no benchmarks" + (f": {reason.lower()}" if reason else ""),
            "name the result.json of `bench sync`, or a file of pytest-benchmark",
        ) from None
    if not found:
        raise InputRefusedError(f"{path} holds no benchmarks", "name a run that came to its end")
    return found


def _benchmark(row: Row, samples: Sequence[Sample], about: Mapping[str, Any]) -> dict[str, Any]:
    walls = [each.cost.wall / SECOND for each in samples]
    name = f"{row.job.value} [{row.tool}]"
    return {
        "group": row.job.value,
        "name": name,
        "fullname": f"bench sync::{name}",
        "params": {"tool": row.tool, "job": row.job.value},
        "param": row.tool,
        "extra_info": {
            "tool": row.tool,
            "is_ours": is_ours(row.tool),
            "cpu_s": [each.cost.cpu / SECOND for each in samples],
            "peak_memory_bytes": row.peak_memory,
            "stored_bytes": row.stored,
            "objects": row.objects,
            "exact": row.exact,
            "image": about.get("image"),
        },
        "options": {
            "disable_gc": False,
            "timer": "monotonic",
            "min_rounds": len(walls),
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": False,
        },
        "stats": _stats(walls),
    }


def _stats(values: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(values)
    median, mean = statistics.median(ordered), statistics.fmean(ordered)
    if len(ordered) > 1:
        first, _, third = statistics.quantiles(ordered, n=4, method="inclusive")
        deviation = statistics.stdev(ordered)
    else:
        first = third = median
        deviation = 0.0
    low, high = first - 1.5 * (third - first), third + 1.5 * (third - first)
    outside = sum(not low <= each <= high for each in ordered)
    distant = sum(abs(each - mean) > deviation for each in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(ordered),
        "median": median,
        "iqr": third - first,
        "q1": first,
        "q3": third,
        "iqr_outliers": outside,
        "stddev_outliers": distant,
        "outliers": f"{distant};{outside}",
        "ld15iqr": min((each for each in ordered if each >= low), default=ordered[0]),
        "hd15iqr": max((each for each in ordered if each <= high), default=ordered[-1]),
        "ops": 1 / mean if mean else 0.0,
        "total": sum(ordered),
        "data": list(values),
        "iterations": 1,
    }


def _recorded(content: dict[str, Any]) -> Recorded:
    extra = content.get("extra_info") or {}
    stats = content["stats"]
    walls = stats.get("data") or [stats["min"], stats["median"], stats["max"]]
    return Recorded(
        name=str(content["name"]),
        wall_s=tuple(float(each) for each in walls),
        cpu_s=tuple(float(each) for each in extra.get("cpu_s", ())),
        stored=extra.get("stored_bytes"),
        peak_memory=extra.get("peak_memory_bytes"),
        # A file of pytest-benchmark's own holds nothing but our code.
        is_ours=bool(extra.get("is_ours", True)),
        image=extra.get("image"),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
