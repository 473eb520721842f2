"""A repository with a long history, entries of which are lost, and what must be left of it."""

import hashlib
import itertools
from collections.abc import Callable
from typing import NamedTuple

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Inline
from reference_engine.repository.codec import Entry, copy_name, log_name
from reference_engine.repository.opening import Unlock, no_key
from reference_engine.repository.reclaim_entries import PointsExpiredEntry
from reference_engine.repository.renewal import Renewed, renew_log
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import Repository
from tests.strategies.reclaims import NOW, OTHER, expire
from tests.strategies.repositories import (
    DISK,
    VM,
    block,
    new_repository,
    point_of,
    restored,
    write,
)

Harm = Callable[[MemoryStore, str], None]


class Stage(NamedTuple):
    """What was stored at some moment, and which points existed."""

    objects: dict[str, bytes]
    entries: int
    live: tuple[str, ...]
    manifests: tuple[str, ...]


class Past(NamedTuple):
    """A repository, what its log said, and which images its points hold."""

    store: MemoryStore
    entries: tuple[Entry, ...]
    live: tuple[str, ...]
    images: dict[str, bytes]
    """Of the points that exist, of those that existed, and of one that never did: `lost`."""

    stages: tuple[Stage, ...]

    def again(self) -> MemoryStore:
        """Return another store with the same objects."""
        store = MemoryStore()
        store.objects = dict(self.store.objects)
        return store

    def expired_by(self, number: int) -> tuple[str, ...]:
        """Return the points that were removed by the entry of this number."""
        entry = self.entries[number - 1]
        return tuple(entry.points) if isinstance(entry, PointsExpiredEntry) else ()


def token(name: str) -> str:
    """Return a session's token of the length that real ones have."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def image(*fills: int) -> bytes:
    """Return a disk of these blocks."""
    return b"".join(block(fill) for fill in fills)


async def back_up(
    repository: Repository, content: bytes, point: str, machine: MachineId = VM
) -> None:
    """Commit a point of a machine's only disk."""
    session = await repository.open_run(machine, token=token(point))
    await write(session, content)
    await session.stage(point_of(session, {DISK: len(content)}, point))
    await session.commit()


async def give_up(repository: Repository, content: bytes, point: str, machine: MachineId) -> None:
    """Let a run come to nothing, and leave its staged manifest and its packs behind."""
    session = await repository.open_run(machine, token=token(point))
    await write(session, content)
    await session.stage(point_of(session, {DISK: len(content)}, point))


async def long_past() -> Past:
    """Return a repository in which everything has happened that a log tells of."""
    images = {
        "a": image(1, 2, 3, 4),
        "b": image(1, 5, 6, 7),
        "c": image(1, 2, 8, 9),
        "d": image(10, 11, 2, 12),
        "e": image(1, 5, 13, 14),
        "f": image(10, 15, 16, 17),
        "lost": image(90, 91),
    }
    store = MemoryStore()
    repository = await new_repository(store)
    numbers = itertools.count(1)

    async def repack() -> None:
        plan = await repository.repack.plan(RepackRule(unused_share=0.0), at=NOW)
        await repository.repack.run(plan, token=lambda: token(f"repack {next(numbers)}"), at=NOW)

    stages: list[Stage] = []
    for step in (
        lambda: back_up(repository, images["a"], "a"),
        lambda: back_up(repository, images["b"], "b", OTHER),
        lambda: back_up(repository, images["c"], "c"),
        lambda: give_up(repository, images["lost"], "lost", OTHER),
        lambda: back_up(repository, images["d"], "d"),
        lambda: back_up(repository, images["e"], "e", OTHER),
        lambda: expire(repository, "a"),
        lambda: repository.reclaim.condemn(at=NOW),
        lambda: repository.reclaim.reclaim(at=NOW),
        repack,
        lambda: repository.reclaim.reclaim(at=NOW),
        lambda: repository.leases.take(RecoveryPointId("c"), "somebody", at=NOW),
        lambda: back_up(repository, images["f"], "f"),
    ):
        await step()
        commits = await repository.commits()
        points = tuple(entry.point for entry in commits)
        stages.append(
            Stage(
                dict(store.objects),
                len(await repository.entries()),
                points,
                tuple(entry.manifest for entry in commits),
            )
        )
    return Past(store, await repository.entries(), points, images, tuple(stages))


def delete(store: MemoryStore, name: str) -> None:
    """Lose an object."""
    del store.objects[name]


def rot(store: MemoryStore, name: str) -> None:
    """Turn a byte of an object over."""
    content = bytearray(store.objects[name])
    content[len(content) // 2] ^= 1
    store.objects[name] = bytes(content)


def lose(store: MemoryStore, *numbers: int, harm: Harm = delete) -> None:
    """Harm both copies of these entries."""
    for number in numbers:
        for name in (log_name(number), copy_name(log_name(number))):
            if name in store.objects:
                harm(store, name)


async def renewed(store: BlobStore, *, unlock: Unlock = no_key, at: int = 5) -> Renewed | None:
    """Let the log go on behind what it lost."""
    return await renew_log(
        store, executor=Inline(), unlock=unlock, at=Instant(at), progress=lambda *_: None
    )


async def live(store: BlobStore) -> tuple[str, ...]:
    """Return the points that exist, in commit order."""
    return tuple(entry.point for entry in await (await Repository.open(store)).commits())


async def restores(store: BlobStore, images: dict[str, bytes], *points: str) -> bool:
    """Return whether each of the points is what it was."""
    repository = await Repository.open(store)
    return all([await restored(repository, point) == images[point] for point in points])
