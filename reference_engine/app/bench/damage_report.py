"""What trials of damage are told as: a table, JSON records, and a page."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from reference_engine.app.bench.own import is_ours
from reference_engine.app.bench.trials import BACKUP, PRUNE, Endured, Restored
from reference_engine.app.output import Output
from reference_engine.reporting.bars import Bar, BarPage, Chart, render_bars

Figures = dict[str, Any]
"""How a tool bore its trials, by name: its own name, and counts."""

COLUMNS: Final = (
    *("TOOL", "FLIPS", "NOTICED", "POINTS SAME", "REFUSED", "WRONG", "SAME AFTER REPAIR", "WRONG"),
    *("KILLED BACKUPS", "POINTS KEPT", "WENT ON", "WHOLE"),
    *("KILLED PRUNES", "POINTS KEPT", "WENT ON", "WHOLE"),
)

_MEASURES: Final = (
    ("points that restore after one flipped bit", "same", "flipped_points"),
    ("points that restore after the tool's own repair", "same_after_repair", "flipped_points"),
    ("killed backups after which every point restores at once", "backups_kept", "backups"),
    ("killed backups that go on without a manual step", "backups_went_on", "backups"),
    ("killed prunes after which what is kept restores at once", "prunes_kept", "prunes"),
    ("killed prunes that go on without a manual step", "prunes_went_on", "prunes"),
)


def figures(endured: Endured, /) -> Figures:
    """Return how a tool bore its trials."""
    points = [each for flip in endured.flips for each in flip.points]
    repaired = [each for flip in endured.flips for each in flip.after_repair]
    record: Figures = {
        "tool": endured.tool,
        "flips": len(endured.flips),
        "noticed": sum(flip.noticed for flip in endured.flips),
        "flipped_points": len(points),
        "same": points.count(Restored.SAME),
        "refused": points.count(Restored.REFUSED),
        "wrong": points.count(Restored.WRONG),
        "same_after_repair": repaired.count(Restored.SAME),
        "wrong_after_repair": repaired.count(Restored.WRONG),
    }
    for doing in (BACKUP, PRUNE):
        kills = [each for each in endured.kills if each.doing == doing]
        record[f"{doing}s"] = len(kills)
        record[f"{doing}s_kept"] = sum(set(each.points) == {Restored.SAME} for each in kills)
        record[f"{doing}s_went_on"] = sum(each.went_on for each in kills)
        record[f"{doing}s_whole"] = sum(each.whole for each in kills)
    return record


def is_our_failure(record: Figures, /) -> bool:
    """Return whether this engine restored something wrong, or a death cost it a point."""
    return is_ours(record["tool"]) and bool(
        record["wrong"]
        or record["wrong_after_repair"]
        or record["backups_kept"] < record["backups"]
        or record["prunes_kept"] < record["prunes"]
    )


def tell(records: Sequence[Figures], output: Output, /) -> None:
    """Write one line for each tool."""
    for record in records:
        output.record("endured", **record)
    output.table(COLUMNS, [_cells(record) for record in records])


def render_page(
    records: Sequence[Figures],
    /,
    *,
    holds: bool,
    title: str,
    under: str,
    facts: Sequence[tuple[str, str]],
) -> str:
    """Return the page of the trials; `holds`: nothing of ours is broken."""
    return render_bars(
        BarPage(
            title=title,
            under=under,
            heading="How much is left",
            holds=holds,
            verdict="Nothing was restored wrong, and no death cost a point"
            if holds
            else "Something was restored wrong, or a death cost a point",
            alarms=(),
            facts=tuple(facts),
            charts=tuple(
                Chart(
                    title=said.capitalize(), bars=tuple(map(_bar(part, whole), records)), scale=1.0
                )
                for said, part, whole in _MEASURES
            ),
            columns=tuple(column.lower() for column in COLUMNS),
            rows=tuple(_cells(record) for record in records),
        )
    )


def _bar(part: str, whole: str) -> Callable[[Figures], Bar]:
    def bar(record: Figures) -> Bar:
        share = record[part] / max(record[whole], 1)
        return Bar(
            label=record["tool"],
            median=share,
            least=share,
            most=share,
            said=f"{record[part]} of {record[whole]}",
            note="",
            is_ours=is_ours(record["tool"]),
        )

    return bar


def _cells(record: Figures) -> tuple[str, ...]:
    names = ("flips", "noticed", "same", "refused", "wrong", "same_after_repair")
    cells = [record["tool"], *(str(record[name]) for name in names)]
    cells.append(str(record["wrong_after_repair"]))
    for doing in (BACKUP, PRUNE):
        done = ("s", "s_kept", "s_went_on", "s_whole")
        cells += [str(record[f"{doing}{each}"]) if record[f"{doing}s"] else "-" for each in done]
    return tuple(cells)
