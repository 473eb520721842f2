"""Pairs of processes that could disturb each other."""

from collections.abc import Callable
from typing import Final

import msgspec

from simulator.campaign.proving.ledger import PATCHED
from simulator.campaign.proving.pair_world import (
    COMMIT_FLUSHES,
    PUBLISH_FLUSHES,
    Started,
    World,
)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two processes that could disturb each other, and what is there before them."""

    name: str
    points: int
    first: Callable[[World], Started]
    second: Callable[[World], Started]
    first_dies: bool
    """Whether the first process is killed where it was stopped."""


_NEW: Final = (1, 2, 7, 8)
"""Blocks 1 and 2 lie in a pack that only `old-0` and `old-1` need, 7 and 8 in one of `old-2`."""

_SHARED: Final = (3, 4, 5, 20)
"""Blocks 3 and 4 lie in a pack of `old-0`, and `old-1` needs them too."""

_PATCHED: Final = (3 + PATCHED, 4, 5, 2 * PATCHED + 6)
"""As `old-1`, with pieces laid over two of its blocks."""

_FRESH: Final = (20, 21, 22, 23)

PAIRS: Final = (
    Pair(
        name="two-create",
        points=0,
        first=lambda world: world.backup("a", _FRESH, machine="vm-a"),
        second=lambda world: world.backup("b", _FRESH, machine="vm-b"),
        first_dies=False,
    ),
    Pair(
        name="twins",
        points=2,
        first=lambda world: world.backup("a", _FRESH, machine="vm-a"),
        second=lambda world: world.backup("b", _FRESH, machine="vm-b"),
        first_dies=False,
    ),
    Pair(
        name="subset",
        points=2,
        first=lambda world: world.backup("a", _FRESH, machine="vm-a"),
        second=lambda world: world.backup("b", _FRESH[:2], machine="vm-b"),
        first_dies=False,
    ),
    Pair(
        name="same-machine",
        points=2,
        first=lambda world: world.backup("a", _NEW, machine="vm-0"),
        second=lambda world: world.backup("b", _FRESH, machine="vm-0"),
        first_dies=False,
    ),
    Pair(
        name="reader-and-backup",
        points=2,
        first=lambda world: world.reading(),
        second=lambda world: world.backup("b", _FRESH, machine="vm-0"),
        first_dies=False,
    ),
    Pair(
        name="death-and-question",
        points=1,
        first=lambda world: world.backup("a", _NEW, machine="vm-0"),
        second=lambda world: world.settling(),
        first_dies=True,
    ),
    Pair(
        name="death-and-next-run",
        points=1,
        first=lambda world: world.backup("a", _NEW, machine="vm-0"),
        second=lambda world: world.backup("b", _NEW, machine="vm-0"),
        first_dies=True,
    ),
    Pair(
        name="backup-and-sick-disk",
        points=1,
        first=lambda world: world.backup("a", _NEW, machine="vm-0"),
        second=lambda world: world.sickness(COMMIT_FLUSHES),
        first_dies=False,
    ),
    Pair(
        name="backup-and-reclaim",
        points=1,
        first=lambda world: world.backup("a", _FRESH, machine="vm-a"),
        second=lambda world: world.reclaim("reclaim"),
        first_dies=False,
    ),
    Pair(
        name="backup-inside-prune",
        points=3,
        first=lambda world: world.backup("a", _NEW, machine="vm-a"),
        second=lambda world: world.prune_around("old-0", "old-1"),
        first_dies=False,
    ),
    Pair(
        name="backup-and-prune",
        points=3,
        first=lambda world: world.backup("a", _NEW, machine="vm-a"),
        second=lambda world: world.prune("old-0", "old-1"),
        first_dies=False,
    ),
    Pair(
        name="next-run-and-prune-of-base",
        points=3,
        first=lambda world: world.backup("a", _NEW, machine="vm-0"),
        second=lambda world: world.prune("old-0", "old-2"),
        first_dies=False,
    ),
    Pair(
        name="prune-and-backup",
        points=3,
        first=lambda world: world.prune("old-0", "old-1"),
        second=lambda world: world.backup("a", _NEW, machine="vm-a"),
        first_dies=False,
    ),
    Pair(
        name="prune-and-next-run",
        points=3,
        first=lambda world: world.prune("old-0", "old-2"),
        second=lambda world: world.backup("a", _NEW, machine="vm-0"),
        first_dies=False,
    ),
    Pair(
        name="two-prunes",
        points=3,
        first=lambda world: world.prune("old-0", "old-1"),
        second=lambda world: world.prune("old-2"),
        first_dies=False,
    ),
    Pair(
        name="prune-and-reclaim",
        points=3,
        first=lambda world: world.prune("old-0", "old-1"),
        second=lambda world: world.reclaim("reclaim"),
        first_dies=False,
    ),
    Pair(
        name="dead-prune-and-reclaim",
        points=3,
        first=lambda world: world.prune("old-0", "old-1"),
        second=lambda world: world.reclaim("reclaim"),
        first_dies=True,
    ),
    Pair(
        name="dead-backup-and-reclaim",
        points=3,
        first=lambda world: world.backup("a", _FRESH, machine="vm-a"),
        second=lambda world: world.reclaim("reclaim"),
        first_dies=True,
    ),
    Pair(
        name="prune-and-reader",
        points=3,
        first=lambda world: world.prune("old-0", "old-1"),
        second=lambda world: world.reading(),
        first_dies=False,
    ),
    Pair(
        name="backup-and-repack",
        points=3,
        first=lambda world: world.backup("a", _SHARED, machine="vm-a"),
        second=lambda world: world.repack("old-0"),
        first_dies=False,
    ),
    Pair(
        name="backup-inside-repack",
        points=3,
        first=lambda world: world.backup("a", _SHARED, machine="vm-a"),
        second=lambda world: world.repack_around("old-0"),
        first_dies=False,
    ),
    Pair(
        name="next-run-and-repack-of-base",
        points=3,
        first=lambda world: world.backup("a", _PATCHED, machine="vm-1"),
        second=lambda world: world.repack("old-0"),
        first_dies=False,
    ),
    Pair(
        name="next-run-and-late-repack-of-base",
        points=3,
        first=lambda world: world.backup("a", _PATCHED, machine="vm-1"),
        second=lambda world: world.repack_later("old-0"),
        first_dies=False,
    ),
    Pair(
        name="next-run-inside-repack-of-base",
        points=3,
        first=lambda world: world.backup("a", _PATCHED, machine="vm-1"),
        second=lambda world: world.repack_around("old-0"),
        first_dies=False,
    ),
    Pair(
        name="repack-and-backup",
        points=3,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.backup("a", _SHARED, machine="vm-a"),
        first_dies=False,
    ),
    Pair(
        name="repack-and-next-run",
        points=3,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.backup("a", _PATCHED, machine="vm-1"),
        first_dies=False,
    ),
    Pair(
        name="repack-and-reclaim",
        points=3,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.reclaim("reclaim"),
        first_dies=False,
    ),
    Pair(
        name="repack-and-prune",
        points=4,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.prune("old-1"),
        first_dies=False,
    ),
    Pair(
        name="prune-and-repack",
        points=4,
        first=lambda world: world.prune("old-1"),
        second=lambda world: world.repack("old-0"),
        first_dies=False,
    ),
    Pair(
        name="two-repacks",
        points=4,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.repack("old-2", by="other"),
        first_dies=False,
    ),
    Pair(
        name="dead-repack-and-reclaim",
        points=3,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.reclaim("reclaim"),
        first_dies=True,
    ),
    Pair(
        name="dead-repack-and-repack",
        points=3,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.repack("old-0", by="other"),
        first_dies=True,
    ),
    Pair(
        name="reader-and-repack",
        points=3,
        first=lambda world: world.reading(),
        second=lambda world: world.repack("old-0"),
        first_dies=False,
    ),
    Pair(
        name="repack-and-reader",
        points=3,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.reading(),
        first_dies=False,
    ),
    Pair(
        name="repack-and-sick-disk",
        points=3,
        first=lambda world: world.repack("old-0"),
        second=lambda world: world.sickness(PUBLISH_FLUSHES),
        first_dies=False,
    ),
    Pair(
        name="prune-and-expiry",
        points=4,
        first=lambda world: world.prune("old-0"),
        second=lambda world: world.expiry("old-1"),
        first_dies=False,
    ),
)
