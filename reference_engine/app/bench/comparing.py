"""Two results held against each other: what became slower or larger, and by how much."""

import enum
import statistics
from collections.abc import Sequence

import msgspec

from reference_engine.app.bench.results import Recorded


class Judgement(enum.Enum):
    """What one figure came to."""

    WORSE = "worse"
    """Our own, and beyond the limit."""

    WITHIN = "within"
    BETTER = "better"
    SHOWN = "shown"
    """A peer's, or a figure that does not decide."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one benchmark in both results."""

    name: str
    metric: str
    before: float
    after: float
    change: float
    """As a fraction: 0.05 is five per cent more."""

    overlaps: bool
    """Whether single runs of both lie in one range, so that the change may be chance."""

    judgement: Judgement


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that both results hold."""

    figures: tuple[Compared, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    same_image: bool

    @property
    def worse(self) -> tuple[Compared, ...]:
        """Return what is beyond the limit."""
        return tuple(each for each in self.figures if each.judgement is Judgement.WORSE)


def compare_results(
    before: Sequence[Recorded], after: Sequence[Recorded], limit: float, /
) -> Comparison:
    """Return the change of every figure; `limit` is the fraction beyond which ours is worse.

    CPU seconds and stored bytes decide; wall time does where there are no CPU seconds. What is
    stored for the same image does not vary, so it may not grow by more than the limit either.
    """
    old, new = ({each.name: each for each in results} for results in (before, after))
    figures = [
        figure
        for name, mine in old.items()
        if name in new
        for figure in _figures(mine, new[name], limit)
    ]
    images = {each.image for each in (*before, *after)} - {None}
    return Comparison(
        figures=tuple(figures),
        only_before=tuple(name for name in old if name not in new),
        only_after=tuple(name for name in new if name not in old),
        same_image=len(images) < 2,
    )


def _figures(before: Recorded, after: Recorded, limit: float) -> list[Compared]:
    has_cpu = bool(before.cpu_s and after.cpu_s)
    pairs: list[tuple[str, Sequence[float], Sequence[float], bool]] = []
    if has_cpu:
        pairs.append(("CPU s", before.cpu_s, after.cpu_s, True))
    pairs.append(("wall s", before.wall_s, after.wall_s, not has_cpu))
    if before.stored is not None and after.stored is not None:
        pairs.append(("stored", (before.stored,), (after.stored,), True))
    if before.peak_memory is not None and after.peak_memory is not None:
        pairs.append(("peak memory", (before.peak_memory,), (after.peak_memory,), False))
    return [
        _compared(before.name, metric, old, new, limit if decides and before.is_ours else None)
        for metric, old, new, decides in pairs
    ]


def _compared(
    name: str, metric: str, old: Sequence[float], new: Sequence[float], limit: float | None
) -> Compared:
    before, after = statistics.median(old), statistics.median(new)
    change = after / before - 1 if before else float(after > 0)
    judgement = Judgement.WITHIN
    if limit is None:
        judgement = Judgement.SHOWN
    elif change > limit:
        judgement = Judgement.WORSE
    elif change < -limit:
        judgement = Judgement.BETTER
    return Compared(
        name=name,
        metric=metric,
        before=before,
        after=after,
        change=change,
        overlaps=min(new) <= max(old) and min(old) <= max(new),
        judgement=judgement,
    )
