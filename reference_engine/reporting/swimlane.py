"""The cluster's night laid out in lanes: volumes, machines, nodes, the engine, faults.

Positions across are instants; the template and the page's script turn them into pixels, so that
zooming needs no second layout. Positions down are pixels.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from reference_engine.model.identity import MachineId
from reference_engine.model.outcome import Outcome
from reference_engine.model.recovery_point import Consistency
from reference_engine.model.units import Instant
from reference_engine.reporting.figures import precise_clock, size, span, tick_label, ticks
from reference_engine.reporting.history import History, Migration, RunSpan, history_of
from reference_engine.reporting.lanes import TOP, Arrow, Bar, Canvas, Mark, Swimlane, Tick
from reference_engine.reporting.night import Night, PointRow

GUTTER: Final = 118
WIDTH: Final = 1240
MARGIN: Final = 24
VOLUME_LANE: Final = 20
MACHINE_LANE: Final = 28
FLAT_LANE: Final = 18
STRANDS_LANE_MIN: Final = 34


def swimlane_of(night: Night, /) -> Swimlane:
    """Return where every mark of the night's picture goes."""
    history = history_of(night)
    canvas = Canvas(night)
    _volumes(canvas, night, history)
    _machines(canvas, night, history)
    _nodes(canvas, night, history)
    _faults(canvas, night, history)
    return Swimlane(
        start=night.start,
        end=night.end,
        width=WIDTH,
        gutter=GUTTER,
        margin=MARGIN,
        top=TOP,
        height=canvas.y + TOP,
        ticks=tuple(
            Tick(at=Instant(at), text=tick_label(at)) for at in ticks(night.start, night.end)
        ),
        headings=tuple(canvas.headings),
        lanes=tuple(canvas.lanes),
        bars=tuple(canvas.bars),
        arrows=tuple(canvas.arrows),
        marks=tuple(canvas.marks),
        guides=tuple(
            Mark(at=fault.at, y=TOP, shape="guide", tip=fault.what) for fault in history.faults
        ),
    )


def _between(start: int, end: int) -> str:
    return f"{precise_clock(start)} to {precise_clock(end)} ({span(end - start)})"


def _volumes(canvas: Canvas, night: Night, history: History) -> None:
    canvas.heading("Volumes, by coordinator")
    for volume in night.volumes:
        y = canvas.lane(volume, VOLUME_LANE)
        canvas.bars += [
            Bar(
                start=owned.start,
                end=owned.end,
                y=y,
                height=VOLUME_LANE,
                look=f"band {canvas.look(owned.state)}",
                tip=f"{volume} is coordinated by {owned.state} ({owned.why})\n"
                + _between(owned.start, owned.end),
                text=owned.state,
                text_y=y + VOLUME_LANE / 2 + 4,
            )
            for owned in history.ownership
            if owned.who == volume
        ]
        canvas.bars += [
            Bar(
                start=held.start,
                end=held.end,
                y=y + VOLUME_LANE - 5,
                height=5,
                look="redirected",
                tip=f"{volume} is redirected: {held.why}\n{_between(held.start, held.end)}",
            )
            for held in history.redirections
            if held.who == volume
        ]


def _machines(canvas: Canvas, night: Night, history: History) -> None:
    canvas.heading("Machines, coloured by the node that runs them")
    for machine in night.machines:
        y = canvas.lane(machine.name, MACHINE_LANE)
        for stay in history.residency:
            if stay.who != machine.id:
                continue
            canvas.bars.append(
                Bar(
                    start=stay.start,
                    end=stay.end,
                    y=y,
                    height=MACHINE_LANE,
                    look=f"band {canvas.look(stay.state)}" if stay.state else "nowhere",
                    tip=f"{machine.name} runs on {stay.state or 'no node'} ({stay.why})\n"
                    + _between(stay.start, stay.end),
                    text=stay.state or "off",
                    text_y=y + MACHINE_LANE - 3,
                )
            )
        _moves(canvas, y, machine.id, history.migrations)
        canvas.bars += [
            _run_bar(run, machine.name, y) for run in history.runs if run.run.machine == machine.id
        ]
        canvas.bars += [
            Bar(
                start=frozen.start,
                end=frozen.end,
                y=y + 20,
                height=8,
                look="freeze" if frozen.why in {"guest", "engine"} else "freeze late",
                tip=f"{machine.name} is frozen, thawed by: {frozen.why}\n"
                + _between(frozen.start, frozen.end),
            )
            for frozen in history.freezes
            if frozen.who == machine.id
        ]
        canvas.marks += _point_marks(night, machine.name, machine.id, y + 8)
        canvas.marks += _failure_marks(history, machine.name, machine.id, y + 8)


def _moves(canvas: Canvas, y: float, machine: MachineId, moves: Iterable[Migration]) -> None:
    for move in moves:
        if move.machine != machine:
            continue
        tip = _move_tip(move, canvas.names[machine])
        canvas.bars.append(
            Bar(start=move.start, end=move.end, y=y, height=MACHINE_LANE, look="moving", tip=tip)
        )
        if move.succeeded:
            canvas.marks.append(Mark(at=move.end, y=y + MACHINE_LANE / 2, shape="joint", tip=tip))


def _move_tip(move: Migration, name: str) -> str:
    said = {True: "migrated", False: "failed to migrate", None: "began to migrate"}
    return f"{name} {said[move.succeeded]} from {move.source} to {move.target}\n" + _between(
        move.start, move.end
    )


def _run_bar(run: RunSpan, name: str, y: float) -> Bar:
    came = "no end reported" if run.outcome is None else str(run.outcome)
    steps = ", ".join(
        f"{step.step.name.lower().replace('_', ' ')} {span(step.end - step.start)}"
        for step in run.steps
    )
    is_failed = run.outcome in {None, Outcome.FAIL_CLEAN, Outcome.SUPERSEDED}
    return Bar(
        start=run.start,
        end=run.end,
        y=y + 13.5,
        height=5,
        look="run failed" if is_failed else "run",
        tip=f"{name}: run {run.run.epoch}, {came}{f' ({run.cause})' if run.cause else ''}\n"
        f"{_between(run.start, run.end)}\n{steps}",
    )


def _point_marks(night: Night, name: str, machine: MachineId, y: float) -> Iterator[Mark]:
    for row in night.point_rows:
        if row.machine == machine:
            yield Mark(at=row.instant, y=y, shape=point_shape(row), tip=_point_tip(row, name))


def point_shape(row: PointRow, /) -> str:
    """Return the symbol that stands for this point in every picture and table."""
    if row.holds is False:
        return "failed"
    return "application" if row.consistency is Consistency.APPLICATION else "crash"


def _point_tip(row: PointRow, name: str) -> str:
    skew = "" if row.skew is None else f", skew {span(row.skew)}"
    kinds = ", ".join(sorted({str(entry.transfer.kind) for entry in row.transfers}))
    return (
        f"{name}: {row.point}, {row.consistency}-consistent, {row.outcome}\n"
        f"at {precise_clock(row.instant)}{skew}\n"
        f"{kinds}; read {size(row.bytes_read)}, sent {size(row.bytes_sent)}, "
        f"truly changed {size(row.bytes_truly_changed)}, R {size(row.skew_bytes)}\n"
        f"{row.verified}"
    )


def _failure_marks(history: History, name: str, machine: MachineId, y: float) -> Iterator[Mark]:
    for run in history.runs:
        if run.run.machine != machine:
            continue
        if run.outcome in {None, Outcome.FAIL_CLEAN, Outcome.SUPERSEDED}:
            came = "ended without a word" if run.outcome is None else f"is {run.outcome}"
            tip = f"{name}: run {run.run.epoch} {came}: {run.cause}\nat {precise_clock(run.end)}"
            yield Mark(at=run.end, y=y, shape="failed", tip=tip)


def _nodes(canvas: Canvas, night: Night, history: History) -> None:
    canvas.heading("Nodes, with a strand for each machine")
    slot = min(max(56 / max(len(night.machines), 1), 2.0), 8.0)
    height = max(slot * len(night.machines) + 6, STRANDS_LANE_MIN)
    tops: dict[str, float] = {}
    for node in night.nodes:
        tops[node] = canvas.lane(node, height)
        canvas.bars.append(
            Bar(
                start=night.start,
                end=night.end,
                y=tops[node],
                height=height,
                look=f"room {canvas.look(node)}",
                tip="",
            )
        )
        _outages(canvas, history, node, (tops[node], height))
    strands = {machine.id: 3 + slot * number for number, machine in enumerate(night.machines)}
    canvas.bars += [
        Bar(
            start=stay.start,
            end=stay.end,
            y=tops[stay.state] + strands[MachineId(stay.who)],
            height=slot - min(slot / 3, 1.5),
            look=f"strand {canvas.look(stay.state)}",
            tip=f"{canvas.names[MachineId(stay.who)]} on {stay.state}\n"
            + _between(stay.start, stay.end),
        )
        for stay in history.residency
        if stay.state in tops and stay.who in strands
    ]
    for move in history.migrations:
        if {move.source, move.target} <= set(tops) and move.machine in strands:
            middle = strands[move.machine] + slot / 3
            canvas.arrows.append(
                Arrow(
                    start=move.start,
                    end=move.end,
                    y_from=tops[move.source] + middle,
                    y_to=tops[move.target] + middle,
                    look="arrow" if move.succeeded else "arrow stopped",
                    tip=_move_tip(move, canvas.names[move.machine]),
                )
            )
    y = canvas.lane("engine", FLAT_LANE)
    canvas.bars.append(
        Bar(start=night.start, end=night.end, y=y, height=FLAT_LANE, look="room engine", tip="")
    )
    _outages(canvas, history, "engine", (y, FLAT_LANE))


def _outages(canvas: Canvas, history: History, who: str, place: tuple[float, float]) -> None:
    y, height = place
    canvas.bars += [
        Bar(
            start=down.start,
            end=down.end,
            y=y,
            height=height,
            look="down",
            tip=f"{who} is down ({down.why})\n{_between(down.start, down.end)}",
            text="down",
            text_y=y + height / 2 + 4,
        )
        for down in history.outages
        if down.who == who
    ]


def _faults(canvas: Canvas, night: Night, history: History) -> None:
    y = canvas.lane("faults", FLAT_LANE)
    canvas.bars.append(
        Bar(start=night.start, end=night.end, y=y, height=FLAT_LANE, look="room engine", tip="")
    )
    faults = sorted(history.faults, key=lambda fault: (fault.at, fault.kind))
    ends = [*sorted({fault.at for fault in faults}), night.end][1:]
    grouped = itertools.groupby(faults, key=lambda fault: fault.at)
    for (at, injected), end in zip(grouped, ends, strict=True):
        found = list(injected)
        tip = "\n".join(f"{fault.kind}: {fault.what}" for fault in found)
        canvas.bars.append(
            Bar(
                start=at,
                end=end,
                y=y,
                height=FLAT_LANE,
                look="blank",
                tip="",
                text=", ".join(dict.fromkeys(fault.kind for fault in found)),
                text_y=y + FLAT_LANE / 2 + 4,
                indent=11,
            )
        )
        canvas.marks.append(
            Mark(at=at, y=y + FLAT_LANE / 2, shape="fault", tip=f"{tip}\nat {precise_clock(at)}")
        )
