"""Which packs are worth the work: a plain choice out of how much of each is used.

The words are those that users of restic know: `--max-unused` is how much of the repository may be
unused when all is done, `--max-repack-size` how much is copied at most.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

import msgspec

from reference_engine.model.units import GIB, ByteCount
from reference_engine.repository.domain_names import domain_of
from reference_engine.repository.usage import ObjectUse

WORTH_MIN: Final = 0.02
"""An object of which less than this is unused stays: heads and tags are no blocks either."""

ROUND_MAX: Final = ByteCount(4 * GIB)
"""So much is taken up at once: each round commits for itself, and its memory is bounded by this."""


class RepackRule(msgspec.Struct, frozen=True, kw_only=True):
    """How much may stay unused, and how much may be copied."""

    unused_share: float | None = 0.05
    """Of the bytes of packs and pages that are left: 0 to less than 1. None: `unused_bytes`."""

    unused_bytes: ByteCount | None = None
    """None, and no share either: nothing is ever copied."""

    size_max: ByteCount | None = None
    """How many used bytes may be copied. None: as many as it takes."""

    def allowed(self, used: int, /) -> float:
        """Return how many unused bytes may lie beside so many used ones."""
        if self.unused_bytes is not None:
            return self.unused_bytes
        return used * self.unused_share / (1 - self.unused_share) if self.unused_share else 0

    @property
    def is_unlimited(self) -> bool:
        """Whether any amount may stay unused."""
        return self.unused_share is None and self.unused_bytes is None


class Choice(NamedTuple):
    """What to copy out of, and what comes of it."""

    objects: tuple[ObjectUse, ...]
    """Those of which most is unused first."""

    stored: int
    """Bytes of all packs and pages."""

    unused: int
    """Bytes of them that no point needs."""

    @property
    def moved(self) -> int:
        """How many bytes are copied, as they are stored."""
        return sum(each.used for each in self.objects)

    @property
    def freed(self) -> int:
        """How many bytes less there are afterwards."""
        return sum(each.unused for each in self.objects)


def choose(
    uses: Iterable[ObjectUse], rule: RepackRule, /, *, left_alone: Collection[str]
) -> Choice:
    """Return the fewest objects, by bytes, with which the rule holds, as far as they go.

    Those of which the largest share is unused come first: they give most for what is copied.
    """
    known = tuple(uses)
    stored, used = sum(each.stored for each in known), sum(each.used for each in known)
    unused = sum(each.unused for each in known)
    left, moved = unused, 0
    chosen: list[ObjectUse] = []
    allowed = unused if rule.is_unlimited else rule.allowed(used)
    worth = [
        each
        for each in known
        if each.name not in left_alone and each.unused > WORTH_MIN * each.stored
    ]
    for each in sorted(worth, key=lambda each: (-each.unused / each.stored, each.name)):
        if left <= allowed:
            break
        if rule.size_max is not None and moved + each.used > rule.size_max:
            continue
        chosen.append(each)
        left -= each.unused
        moved += each.used
    return Choice(tuple(chosen), stored, unused)


def rounds(objects: Iterable[ObjectUse], /) -> list[tuple[ObjectUse, ...]]:
    """Return the objects in parts of one domain, and `ROUND_MAX` stored bytes or one object."""
    parts: list[tuple[ObjectUse, ...]] = []
    found: dict[str, list[ObjectUse]] = {}
    for each in objects:
        part = found.setdefault(domain_of(each.name), [])
        if part and sum(other.stored for other in part) + each.stored > ROUND_MAX:
            parts.append(tuple(part))
            part.clear()
        part.append(each)
    return [*parts, *(tuple(part) for part in found.values())]
