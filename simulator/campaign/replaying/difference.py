"""Two runs side by side: the first fact in which they differ, and what led there."""

from collections.abc import Sequence
from typing import Final

import msgspec

from reference_engine.trace import Event as Fact
from simulator.campaign.replaying.facts import encoded, fact_line

CONTEXT: Final = 6
"""How many facts before the first difference are shown, and how many after it of each run."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where two runs part."""

    index: int
    """How many facts they have in common."""

    before: tuple[str, ...]
    ours: tuple[str, ...]
    """From the first difference on; empty where our run was over."""

    theirs: tuple[str, ...]
    fields: tuple[str, ...]
    """Which values of the first fact differ, where both runs have a fact of one kind."""

    def lines(self) -> list[str]:
        """Return the difference as text."""
        return [
            f"the first {self.index} facts are the same",
            *(f"  {line}" for line in self.before),
            *(f"- {line}" for line in self.ours or ("the run is over",)),
            *(f"+ {line}" for line in self.theirs or ("the run is over",)),
            *([f"they differ in {', '.join(self.fields)}"] if self.fields else []),
        ]


def first_difference(ours: Sequence[Fact], theirs: Sequence[Fact], /) -> Difference | None:
    """Return where two runs part, or None where their facts are the same."""
    index = 0
    while index < min(len(ours), len(theirs)) and encoded(ours[index]) == encoded(theirs[index]):
        index += 1
    if index == len(ours) == len(theirs):
        return None
    until = index + CONTEXT
    return Difference(
        index=index,
        before=tuple(map(fact_line, ours[max(0, index - CONTEXT) : index])),
        ours=tuple(map(fact_line, ours[index:until])),
        theirs=tuple(map(fact_line, theirs[index:until])),
        fields=_fields(ours[index : index + 1], theirs[index : index + 1]),
    )


def _fields(ours: Sequence[Fact], theirs: Sequence[Fact]) -> tuple[str, ...]:
    for one, other in zip(ours, theirs, strict=False):
        if type(one) is type(other):
            return tuple(
                name
                for name in type(one).__struct_fields__
                if getattr(one, name) != getattr(other, name)
            )
    return ()
