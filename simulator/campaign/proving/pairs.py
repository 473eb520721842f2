"""Pairs of processes that could disturb each other, and the repository on which they do."""

import errno
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.model.identity import MachineId, RecoveryPointId, RunTag
from reference_engine.model.units import ByteCount
from simulator.campaign.proving.ledger import Contents, Ledger
from simulator.campaign.proving.processes import (
    Backup,
    back_up,
    expire,
    read_points,
    reclaim,
    settle_dead_run,
)
from simulator.campaign.proving.storage import Storage
from simulator.facade.file_system import FileSystemFacade
from simulator.kernel.stepping import SteppedTask
from simulator.kernel.streams import Stream
from simulator.world.file_system import Durability

BLOCK_SIZE: Final = ByteCount(32)
PAUSE_S: Final = 200_000
"""Longer than a reclaim waits for runs that show no end."""

_COMMIT_FLUSHES: Final = 5
"""Three attempts of the first try to publish the entry, and one each that finds it there."""

Started = tuple[SteppedTask, FileSystemFacade]


class World:
    """A repository with some points, and the processes that can be started on it."""

    def __init__(self, durability: Durability, /, *, points: int) -> None:
        self.contents = Contents(BLOCK_SIZE)
        self.ledger = Ledger()
        self.storage = Storage.empty(durability, Stream("schedule", durability.value))
        self.runs: dict[RunTag, Backup] = {}
        self.first: SteppedTask | None = None
        """The process that was stopped."""

        for number in range(points):
            fills = tuple(range(1 + 2 * number, 5 + 2 * number))
            task, _ = self.backup(f"old-{number}", fills, machine=f"vm-{number % 2}")
            task.finish()

    def start(
        self, name: str, work: Callable[[DirectoryStore], Coroutine[Any, Any, None]]
    ) -> Started:
        """Return a process that has made no call yet."""
        store, view = self.storage.process()
        return SteppedTask(name, work(store)), view

    def backup(self, name: str, fills: tuple[int, ...], /, *, machine: str) -> Started:
        """Return a process that makes a point."""
        plan = Backup(
            machine=MachineId(machine),
            point=RecoveryPointId(name),
            token=f"session-{name}",
            image=self.contents.image(fills, cut=3),
            block_size=BLOCK_SIZE,
        )
        return self.start(
            name,
            lambda store: back_up(
                plan,
                store=store,
                storage=self.storage,
                ledger=self.ledger,
                runs=self.runs,
                cache=None,
            ),
        )

    def expiry(self, *names: str) -> Started:
        """Return a process that lets points exist no more."""
        points = tuple(RecoveryPointId(name) for name in names)
        return self.start(
            "expiry",
            lambda store: expire(points, store=store, storage=self.storage, ledger=self.ledger),
        )

    def reclaim(self, name: str, /) -> Started:
        """Return a process that reclaims, and once more when every silent run may be closed."""

        async def twice(store: DirectoryStore) -> None:
            await reclaim(store=store, storage=self.storage)
            self.storage.clock.now += PAUSE_S
            await reclaim(store=store, storage=self.storage)

        return self.start(name, twice)

    def prune(self, *names: str) -> Started:
        """Return a process that lets points exist no more and reclaims what only they used."""
        points = tuple(RecoveryPointId(name) for name in names)

        async def work(store: DirectoryStore) -> None:
            await expire(points, store=store, storage=self.storage, ledger=self.ledger)
            await reclaim(store=store, storage=self.storage)
            self.storage.clock.now += PAUSE_S
            await reclaim(store=store, storage=self.storage)

        return self.start("prune", work)

    def prune_around(self, *names: str) -> Started:
        """Return a prune that condemns, lets the stopped process come to its end, and sweeps."""
        points = tuple(RecoveryPointId(name) for name in names)

        async def work(store: DirectoryStore) -> None:
            await expire(points, store=store, storage=self.storage, ledger=self.ledger)
            await reclaim(store=store, storage=self.storage)
            while self.first is not None and not self.first.done:
                self.first.advance()
            await reclaim(store=store, storage=self.storage)

        return self.start("prune-around", work)

    def sickness(self) -> Started:
        """Return a process that lets flushes of directories fail, as many as a commit tries."""

        async def work(_: DirectoryStore) -> None:
            for occurrence in range(1, _COMMIT_FLUSHES + 1):
                self.storage.faults.plan("flush-directory", occurrence, errno.EIO)

        return self.start("sickness", work)

    def reading(self) -> Started:
        """Return a process that restores everything."""
        return self.start("reader", lambda store: read_points(store=store, ledger=self.ledger))

    def settling(self) -> Started:
        """Return a process that asks what became of the last run."""

        async def ask(store: DirectoryStore) -> None:
            for run, plan in list(self.runs.items())[-1:]:
                await settle_dead_run(run, plan, store=store, ledger=self.ledger)

        return self.start("settling", ask)


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
        second=lambda world: world.sickness(),
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
        name="prune-and-expiry",
        points=4,
        first=lambda world: world.prune("old-0"),
        second=lambda world: world.expiry("old-1"),
        first_dies=False,
    ),
)
