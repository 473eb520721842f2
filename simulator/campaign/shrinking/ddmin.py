"""Delta debugging: the few among many that matter."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def least(items: Sequence[T], fails: Callable[[list[T]], bool], /) -> list[T]:
    """Return some of `items`, in order, of which none can be left out: `fails` wants them all.

    `fails(list(items))` holds already and is not asked. Source: Zeller and Hildebrandt,
    Simplifying and Isolating Failure-Inducing Input, 2002 (complements only).
    """
    kept = list(items)
    if not kept or fails([]):
        return []
    step = len(kept)
    while step > 1 or len(kept) > 1:
        step = max(1, min(step, len(kept)) // 2)
        at, cut = 0, False
        while at < len(kept):
            fewer = kept[:at] + kept[at + step :]
            if fewer and fails(fewer):
                kept, cut = fewer, True
            else:
                at += step
        if step == 1 and not cut:
            break
    return kept
