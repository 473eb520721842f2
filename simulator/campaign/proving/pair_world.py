"""The repository on which two processes could disturb each other, and what they may be."""

import errno
from collections.abc import Callable, Coroutine
from typing import Any, Final

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
    repack,
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

COMMIT_FLUSHES: Final = 5
"""Three attempts of the first try to publish the entry, and one each that finds it there."""

PUBLISH_FLUSHES: Final = 3
"""The attempts of a repack, which commits once; its undoing finds a disk that is well again."""

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

    def repack(self, *names: str, by: str = "repack") -> Started:
        """Return a prune after which nothing of a pack is unused."""
        points = tuple(RecoveryPointId(name) for name in names)

        async def work(store: DirectoryStore) -> None:
            await expire(points, store=store, storage=self.storage, ledger=self.ledger)
            await repack(by, store=store, storage=self.storage)

        return self.start(by, work)

    def repack_later(self, *names: str) -> Started:
        """Return a repack, and a reclaim when every silent run may be closed."""
        points = tuple(RecoveryPointId(name) for name in names)

        async def work(store: DirectoryStore) -> None:
            await expire(points, store=store, storage=self.storage, ledger=self.ledger)
            await repack("later", store=store, storage=self.storage)
            self.storage.clock.now += PAUSE_S
            await reclaim(store=store, storage=self.storage)

        return self.start("repack-later", work)

    def repack_around(self, *names: str) -> Started:
        """Return a prune that moves, lets the stopped process come to its end, and sweeps."""
        points = tuple(RecoveryPointId(name) for name in names)

        async def work(store: DirectoryStore) -> None:
            await expire(points, store=store, storage=self.storage, ledger=self.ledger)
            await repack("around", store=store, storage=self.storage)
            while self.first is not None and not self.first.done:
                self.first.advance()
            await reclaim(store=store, storage=self.storage)

        return self.start("repack-around", work)

    def sickness(self, flushes: int, /) -> Started:
        """Return a process that lets so many flushes of directories fail, one after the other."""

        async def work(_: DirectoryStore) -> None:
            for occurrence in range(1, flushes + 1):
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
