"""A repository in which points were moved is read, and is written again byte for byte.

`python -m tests.unit.test_repack_golden` writes it anew after a deliberate change of format.
"""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from typing import Final

import pytest
from backports.zstd import zstd_version

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import Repository
from tests.strategies.golden_repositories import golden, write_golden
from tests.strategies.repositories import (
    BLOCK,
    block,
    commit,
    commit_changes,
    new_repository,
    no_progress,
    restored,
)

NAME: Final = "format-2-moved"
FIRST: Final = block(1) + block(2) + block(3)
SECOND: Final = block(1)[:8] + b"edit" + block(1)[12:] + block(4) + block(3)[:40]
THIRD: Final = SECOND[:16] + b"more" + SECOND[20:]
NOW: Final = Instant(1_000_000)


async def written() -> dict[str, bytes]:
    """Return a repository of two points, whose base's pack and overlays were repacked."""
    store = MemoryStore()
    repository = await new_repository(store)
    await commit(repository, FIRST, "a")
    for name, image, at in (("b", SECOND, 8), ("c", THIRD, 16)):
        changed = ExtentSet.of([(at, at + 4), (BLOCK, len(image))])
        await commit_changes(repository, image, name, changed=changed)
    await repository.reclaim.expire((RecoveryPointId("a"),), at=NOW, allow_last=False)
    plan = await repository.repack.plan(RepackRule(unused_share=0.0), at=NOW)
    await repository.repack.run(plan, token=lambda: "repack-d", at=NOW)
    await repository.reclaim.reclaim(at=NOW)
    return store.objects


def test_a_stored_repository_with_moved_points_is_read() -> None:
    """What an earlier program moved is restored, from the manifests that the log names last."""

    async def scenario() -> None:
        store = golden(NAME)
        assert [name for name in store.objects if name.startswith("points/")] == [
            "points/b.repack-d-1",
            "points/c.repack-d-1",
        ]
        repository = await Repository.open(store)
        for point, image in (("b", SECOND), ("c", THIRD)):
            assert await restored(repository, point) == image
            await no_progress(repository, point)

    asyncio.run(scenario())


@pytest.mark.skipif(zstd_version != "1.5.7", reason="other compressors make other bytes")
def test_points_are_moved_byte_for_byte() -> None:
    """The same repack makes the same objects."""
    assert asyncio.run(written()) == golden(NAME).objects


if __name__ == "__main__":
    write_golden(NAME, asyncio.run(written()))
