"""Parts of sentences: how many there are, which there are, and what somebody may have meant."""

from collections.abc import Iterable
from typing import Final

LISTED_MAX: Final = 6
"""How many names a sentence holds."""

_NEARLY: Final = 0.6


def counted(number: int, thing: str, /) -> str:
    """Return how many things there are: `1 point`, `2 points`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def suggestion(wanted: str, known: Iterable[str], /, *, otherwise: str = "") -> str:
    """Return `did you mean this?`, or, where nothing is called nearly so, what there is.

    `otherwise`: what to say then, where there is too much to be listed.
    """
    import difflib  # noqa: PLC0415 - slow to load, and only for those who mistype

    names = list(dict.fromkeys(known))
    similar = difflib.get_close_matches(wanted, names, n=1, cutoff=_NEARLY)
    if similar:
        return f"did you mean {similar[0]}?"
    if otherwise:
        return otherwise
    return f"choose from {listed(names)}" if names else "there is none"


def listed(names: Iterable[str], /) -> str:
    """Return the names, or the first of them and how many more there are."""
    all_names = list(names)
    rest = len(all_names) - LISTED_MAX
    return ", ".join(all_names[:LISTED_MAX]) + (f" and {rest} more" if rest > 0 else "")
