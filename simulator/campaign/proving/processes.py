"""What the engine's processes do: make points, read them, ask what became of a dead run."""

import itertools
from typing import Final

import msgspec
import numpy as np

from reference_engine.model.errors import (
    CorruptionError,
    RefusedError,
    TransientError,
    TwinshotError,
)
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId, RecoveryPointId, RunTag
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.local_cache import LocalCache
from reference_engine.repository.block_map import PIECES
from reference_engine.repository.errors import (
    RepositoryAbsentError,
    RepositoryExistsError,
)
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from simulator.campaign.proving.ledger import DISK, Ledger, record_of
from simulator.campaign.proving.storage import Storage

_COMMIT_TRIES: Final = 3
_WINDOW: Final = 4
"""Blocks that are put at once."""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """One backup that a process makes."""

    machine: MachineId
    point: RecoveryPointId
    token: str
    image: bytes
    block_size: ByteCount


async def opened(
    store: BlobStore, token: str, block_size: ByteCount, /, *, cache: LocalCache | None
) -> Repository:
    """Open the repository, or make it; as `app.repositories` does it."""
    try:
        return await Repository.open(store, cache=cache)
    except RepositoryAbsentError:
        pass
    try:
        return await Repository.create(
            store, identity_token=token, block_size=block_size, cache=cache
        )
    except RepositoryExistsError:
        return await Repository.open(store, cache=cache)


async def back_up(
    plan: Backup,
    /,
    *,
    store: BlobStore,
    storage: Storage,
    ledger: Ledger,
    runs: dict[RunTag, Backup],
    cache: LocalCache | None,
) -> None:
    """Make one point; what fails is undone as a job undoes it.

    `runs` is told of the run before anything is written, for whoever comes after its death.
    """
    repository = await opened(store, plan.token, plan.block_size, cache=cache)
    session = await repository.open_run(plan.machine, token=plan.token)
    runs[session.run] = plan
    try:
        base = None if session.base is None else ledger.images[session.base.id]
        await _write(session, plan.image, base)
        now = storage.now()
        record = record_of(session, plan.point, ByteCount(len(plan.image)), now)
        ledger.images[plan.point] = plan.image
        await session.stage(record)
        for attempt in range(_COMMIT_TRIES):
            try:
                await session.commit()
            except TransientError:
                if attempt == _COMMIT_TRIES - 1:
                    raise
            else:
                break
    except TwinshotError:
        await session.abandon()
        raise
    ledger.acknowledged[plan.point] = None


async def _write(session: WriteSession, image: bytes, before: bytes | None) -> None:
    """Write an image over what the base held, told what changed as by a change tracker."""
    inherit = None if session.base is None or session.base.disk(DISK) is None else DISK
    await session.begin_disk(DISK, ByteCount(len(image)), inherit=inherit)
    size = session.block_size
    count = -(-len(image) // size)
    for start in range(0, count, _WINDOW):
        end = min(start + _WINDOW, count)
        part = image[start * size : end * size]
        changed = None if inherit is None or before is None else _changed(image, before, size)
        await session.put_blocks(DISK, np.arange(start, end), part, changed=changed)


def _changed(image: bytes, before: bytes, size: ByteCount) -> ExtentSet:
    """Return which pieces of the image are others than those of the image before."""
    piece = size // PIECES
    before = before[: len(image)].ljust(len(image), b"\0")
    bounds = [(at, min(at + piece, len(image))) for at in range(0, len(image), piece)]
    return ExtentSet.of([(a, b) for a, b in bounds if image[a:b] != before[a:b]])


async def settle_dead_run(
    run: RunTag, plan: Backup, /, *, store: BlobStore, ledger: Ledger
) -> None:
    """Ask what became of a run whose process died; a point that it came to is acknowledged."""
    repository = await Repository.open(store)
    point = await repository.committed(run)
    if point is not None:
        if point.id != plan.point:
            ledger.breach("R3", f"run {run} came to {point.id} and not to {plan.point}")
        ledger.acknowledged[point.id] = None


async def expire(
    points: tuple[RecoveryPointId, ...], /, *, store: BlobStore, storage: Storage, ledger: Ledger
) -> None:
    """Ask for points to exist no more; from here on whether they do is open."""
    if not points:
        return
    ledger.expiring.update(dict.fromkeys(points))
    repository = await Repository.open(store)
    await repository.reclaim.expire(points, at=storage.now(), allow_last=True)


async def reclaim(*, store: BlobStore, storage: Storage) -> None:
    """Give back what no point needs."""
    repository = await Repository.open(store)
    await repository.reclaim.reclaim(at=storage.now())


async def repack(name: str, /, *, store: BlobStore, storage: Storage) -> None:
    """Move what is used out of all packs that hold anything else, and give back their space."""
    repository = await Repository.open(store)
    plan = await repository.repack.plan(RepackRule(unused_share=0.0), at=storage.now())
    numbers = itertools.count(1)
    await repository.repack.run(
        plan, token=lambda: f"session-{name}-{next(numbers)}", at=storage.now()
    )
    await repository.reclaim.reclaim(at=storage.now())


async def read_points(*, store: BlobStore, ledger: Ledger) -> None:
    """Restore what exists; what was acknowledged before must be there and be right."""
    expected = ledger.kept()
    repository = await Repository.open(store)
    listed = [entry.point for entry in await repository.commits()]
    for point in expected:
        if point not in listed and point not in ledger.expiring:
            ledger.breach("R6", f"{point} is not listed")
    for point in listed:
        try:
            found = await restored(repository, point)
        except (CorruptionError, RefusedError) as error:
            if point not in ledger.expiring:
                ledger.breach("R2", f"{point}: {error}")
            continue
        if found != ledger.images[point]:
            ledger.breach("R3", f"{point} restores to other bytes")


async def restored(repository: Repository, point: RecoveryPointId, /) -> bytes:
    """Return the whole disk as the point has it, every digest checked."""
    reader = await repository.reader(point)
    reader.confirm(DISK)
    await reader.confirm_pages(DISK)
    return await reader.read(DISK, ExtentSet.whole(reader.size(DISK)))
