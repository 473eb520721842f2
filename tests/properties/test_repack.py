"""Whatever was written, laid over and removed: after a repack every point is as it was."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import itertools

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import ByteCount, Instant
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import Repository
from reference_engine.verification.check import Check
from simulator.campaign.proving.storage import small_objects
from tests.strategies.repositories import (
    BLOCK,
    DISK,
    block,
    new_repository,
    no_progress,
    point_of,
    restored,
)

NOW = Instant(1)
PIECE = BLOCK // 16

edits = st.lists(st.tuples(st.integers(0, 95), st.integers(0, 3)), max_size=12)
"""Pieces of a disk of six blocks, and what they hold from now on."""

steps = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), edits, st.integers(0, 20)), min_size=2, max_size=7
)
"""Backups: of which machine, which pieces change, and how much is cut off the disk's end."""


def edited(image: bytes, changes: list[tuple[int, int]], cut: int) -> bytes:
    """Return the disk after some pieces of it were written."""
    content = bytearray(image.ljust(6 * BLOCK, b"\0"))
    for piece, fill in changes:
        content[piece * PIECE : (piece + 1) * PIECE] = block(fill)[:PIECE]
    return bytes(content[: len(content) - cut])


async def backed_up(
    repository: Repository, machine: str, before: bytes, image: bytes, point: str
) -> None:
    """Commit the disk, of which a tracker tells what changed."""
    session = await repository.open_run(MachineId(machine), token=f"session-{point}")
    inherit = DISK if session.base is not None else None
    await session.begin_disk(DISK, ByteCount(len(image)), inherit=inherit)
    old = before[: len(image)].ljust(len(image), b"\0")
    spans = [(at, min(at + PIECE, len(image))) for at in range(0, len(image), PIECE)]
    changed = ExtentSet.of([(a, b) for a, b in spans if image[a:b] != old[a:b]])
    await session.put_blocks(
        DISK, np.arange(-(-len(image) // BLOCK)), image, changed=changed if inherit else None
    )
    await session.stage(point_of(session, {DISK: len(image)}, point))
    await session.commit()


@settings(max_examples=40)
@example(
    [
        ("one", [], 0),
        ("one", [], 0),
        ("one", [], 0),
        ("two", [(0, 0), (81, 1)], 0),
        ("one", [(0, 0), (80, 1)], 0),
        ("one", [], 1),
        ("two", [(80, 1)], 1),
    ],
    25,
    2,
)
@given(steps, st.integers(0, (1 << 7) - 1), st.sampled_from([1, 2]))
def test_a_repack_changes_no_point_and_leaves_nothing_unused(
    history: list[tuple[str, list[tuple[int, int]], int]], removed: int, times: int
) -> None:
    """Disks are equal to the last byte, a check finds nothing, and no pack is used in part."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        disks = {"one": edited(block(9) * 3, [], 0), "two": edited(block(9) * 2, [], 0)}
        images: dict[str, bytes] = {}
        for number, (machine, changes, cut) in enumerate(history):
            image = edited(disks[machine], changes, cut)
            await backed_up(repository, machine, disks[machine], image, f"p{number}")
            images[f"p{number}"] = disks[machine] = image
        tokens = (f"repack-{number}" for number in itertools.count(1))
        gone = [f"p{n}" for n in range(len(history)) if removed >> n & 1]
        for part in [gone[start::times] for start in range(times)]:
            if part:
                ids = tuple(RecoveryPointId(point) for point in part)
                await repository.reclaim.expire(ids, at=NOW, allow_last=True)
            plan = await repository.repack.plan(RepackRule(unused_share=0.0), at=NOW)
            await repository.repack.run(plan, token=lambda: next(tokens), at=NOW)
            await repository.reclaim.reclaim(at=NOW)

        found = await Repository.open(store)
        for point, image in images.items():
            if point not in gone:
                assert await restored(found, point) == image
                await no_progress(found, point)
        check = Check(found)
        await check.structure(lambda _: None)
        assert (await check.result()).objects == ()
        # Pages move with their blocks: an object of pages may be used in part only after that.
        left = await found.repack.plan(RepackRule(unused_share=0.0), at=NOW)
        assert [each.name for each in left.choice.objects if each.name.startswith("packs/")] == []
        await found.repack.run(left, token=lambda: next(tokens), at=NOW)
        await found.reclaim.reclaim(at=NOW)
        left = await found.repack.plan(RepackRule(unused_share=0.0), at=NOW)
        assert left.choice.objects == (), left.choice.objects

    with small_objects():
        asyncio.run(scenario())
