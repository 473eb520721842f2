"""The night as a trace that Perfetto and other viewers of the Chrome trace format open.

A process for each volume, node and machine; slices for what lasts, instants for points and faults,
and flow arrows for live migrations.

Source: "Trace Event Format", Google, sections on complete, instant, flow and metadata events.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from reference_engine.model.identity import MachineId
from reference_engine.model.units import Instant
from reference_engine.reporting.history import History, RunSpan, history_of
from reference_engine.reporting.night import Night, PointRow, names_of

Record = dict[str, Any]
"""One trace event, with the format's own field names."""

GUEST_THREAD: Final = 1
POINTS_THREAD: Final = 2
RUNS_THREAD: Final = 3
"""Runs that overlap, as a dead one and its successor may, take this thread and those after it."""

FAULTS_PROCESS: Final = 1


class _Processes:
    """The number of each process of the trace, in the order in which they are shown."""

    def __init__(self, night: Night) -> None:
        names = names_of(night)
        self.titles = ["Faults"]
        self.of: dict[str, int] = {}
        self.threads: dict[tuple[int, int], str] = {(FAULTS_PROCESS, 1): "injected"}
        for title, key in (
            *((f"Volume {volume}", f"volume {volume}") for volume in night.volumes),
            *((f"Node {node}", f"node {node}") for node in (*night.nodes, "engine")),
            *((f"Machine {name}", f"machine {machine}") for machine, name in names.items()),
        ):
            self.titles.append(title)
            self.of[key] = len(self.titles)

    def thread(self, key: str, number: int, title: str) -> tuple[int, int] | None:
        """Name a thread; `None` for what the night does not list."""
        process = self.of.get(key)
        if process is None:
            return None
        self.threads.setdefault((process, number), title)
        return process, number

    def records(self) -> Iterator[Record]:
        for number, title in enumerate(self.titles, start=1):
            yield _about("process_name", number, 0, {"name": title})
            yield _about("process_sort_index", number, 0, {"sort_index": number})
        for (process, thread), title in sorted(self.threads.items()):
            yield _about("thread_name", process, thread, {"name": title})
            yield _about("thread_sort_index", process, thread, {"sort_index": thread})


def chrome_trace(night: Night, /) -> bytes:
    """Return the night as Chrome trace JSON: names first, then events that ascend by instant."""
    history = history_of(night)
    processes = _Processes(night)
    records = [
        *_cluster(night, history, processes),
        *_freezes(history, processes),
        *_runs(history, processes),
        *_points(night, processes),
    ]
    # Of slices that begin together the longer one is the outer one, so it has to come first.
    records.sort(key=lambda record: (record["ts"], -record.get("dur", 0), record["pid"]))
    return msgspec.json.encode(
        {
            "traceEvents": [*processes.records(), *records],
            "displayTimeUnit": "ms",
            "otherData": {
                "title": night.title,
                "scenario": night.scenario,
                "seed": str(night.seed),
                "digest": night.trace_digest,
                "replay": night.replay,
            },
        }
    )


def _about(name: str, process: int, thread: int, said: Record) -> Record:
    return {"name": name, "ph": "M", "ts": 0, "pid": process, "tid": thread, "args": said}


def _slice(
    place: tuple[int, int] | None, start: Instant, end: Instant, name: str, **said: Any
) -> Iterator[Record]:
    if place is not None:
        yield {
            "name": name,
            "cat": "night",
            "ph": "X",
            "ts": start,
            "dur": end - start,
            "pid": place[0],
            "tid": place[1],
            "args": said,
        }


def _instant(
    place: tuple[int, int], at: Instant, name: str, scope: str, **said: Any
) -> Iterator[Record]:
    yield {
        "name": name,
        "cat": "night",
        "ph": "i",
        "s": scope,
        "ts": at,
        "pid": place[0],
        "tid": place[1],
        "args": said,
    }


def _cluster(night: Night, history: History, processes: _Processes) -> Iterator[Record]:
    names = names_of(night)
    thread_of = {machine.id: number for number, machine in enumerate(night.machines, start=2)}
    for owned in history.ownership:
        place = processes.thread(f"volume {owned.who}", 1, "coordinator")
        yield from _slice(place, owned.start, owned.end, owned.state, why=owned.why)
    for held in history.redirections:
        place = processes.thread(f"volume {held.who}", 2, "redirected")
        yield from _slice(place, held.start, held.end, "redirected")
    for down in history.outages:
        place = processes.thread(f"node {down.who}", 1, "outages")
        yield from _slice(place, down.start, down.end, "down", why=down.why)
    for stay in history.residency:
        name = names.get(MachineId(stay.who), stay.who)
        thread = thread_of.get(MachineId(stay.who), 0)
        place = processes.thread(f"node {stay.state}", thread, name)
        yield from _slice(place, stay.start, stay.end, name, why=stay.why)
    for fault in history.faults:
        yield from _instant((FAULTS_PROCESS, 1), fault.at, fault.kind, "g", what=fault.what)
    for number, move in enumerate(history.migrations, start=1):
        name = names.get(move.machine, move.machine)
        source = processes.thread(f"node {move.source}", thread_of.get(move.machine, 0), name)
        target = processes.thread(f"node {move.target}", thread_of.get(move.machine, 0), name)
        yield from _slice(
            source, move.start, move.end, f"migrates to {move.target}", succeeded=move.succeeded
        )
        # An arrow needs a slice at both ends; a migration that failed has none at its target.
        if move.succeeded and source is not None and target is not None:
            yield _flow("s", move.start, source, number)
            yield _flow("f", move.end, target, number)


def _flow(phase: str, at: Instant, place: tuple[int, int], number: int) -> Record:
    flow = {
        "name": "live migration",
        "cat": "migration",
        "ph": phase,
        "id": number,
        "ts": at,
        "pid": place[0],
        "tid": place[1],
    }
    return flow | ({"bp": "e"} if phase == "f" else {})


def _freezes(history: History, processes: _Processes) -> Iterator[Record]:
    for frozen in history.freezes:
        place = processes.thread(f"machine {frozen.who}", GUEST_THREAD, "guest")
        yield from _slice(place, frozen.start, frozen.end, "frozen", thawed_by=frozen.why)


def _runs(history: History, processes: _Processes) -> Iterator[Record]:
    busy: dict[tuple[str, int], Instant] = {}
    for run in history.runs:
        machine = run.run.machine
        number = RUNS_THREAD
        while busy.get((machine, number), run.start) > run.start:
            number += 1
        busy[machine, number] = run.end
        place = processes.thread(f"machine {machine}", number, "runs")
        yield from _slice(
            place,
            run.start,
            run.end,
            f"run {run.run.epoch}",
            outcome=None if run.outcome is None else str(run.outcome),
            cause=run.cause,
        )
        yield from _steps(run, place)


def _steps(run: RunSpan, place: tuple[int, int] | None) -> Iterator[Record]:
    for step in run.steps:
        yield from _slice(
            place,
            step.start,
            step.end,
            f"S{int(step.step)} {step.step.name.lower().replace('_', ' ')}",
            finished=step.finished,
        )


def _points(night: Night, processes: _Processes) -> Iterator[Record]:
    for row in night.point_rows:
        place = processes.thread(f"machine {row.machine}", POINTS_THREAD, "points")
        if place is not None:
            yield from _instant(place, row.instant, row.point, "t", **_said(row))


def _said(row: PointRow) -> Record:
    return {
        "consistency": str(row.consistency),
        "outcome": str(row.outcome),
        "skew_us": row.skew,
        "sent": row.bytes_sent,
        "holds": row.holds,
        "verified": row.verified,
    }
