"""A repository with domains is read, and is written again byte for byte.

`python -m tests.unit.test_domain_golden` writes it anew after a deliberate change of format.
"""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from typing import Final

import pytest
from backports.zstd import zstd_version

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.identity import RecoveryPointId
from reference_engine.repository.repack_rule import RepackRule
from tests.strategies.domain_vaults import NOW, domains_of, put, shred
from tests.strategies.encrypted_repositories import chance, created, opened
from tests.strategies.golden_repositories import golden, write_golden
from tests.strategies.repositories import block, no_progress, restored

NAME: Final = "format-2-domains"
IMAGES: Final = {
    "b": block(1) + block(2) + block(4),
    "d": block(1) + block(2),
}
"""What the points hold that exist: one in a domain, one in none."""


async def written() -> dict[str, bytes]:
    """Return a repository with a domain in which a point was moved, and one that was shredded."""
    store = MemoryStore()
    repository = await created(store)
    for seed, name in enumerate(("red", "blue"), start=2):
        await domains_of(repository).add(name, chance=chance(seed))
    await put(repository, "one", block(1) + block(2) + block(3), "a", domain="red")
    await put(repository, "one", IMAGES["b"], "b")
    await put(repository, "two", block(1), "c", domain="blue")
    await put(repository, "three", IMAGES["d"], "d")
    await repository.reclaim.expire((RecoveryPointId("a"),), at=NOW, allow_last=False)
    plan = await repository.repack.plan(RepackRule(unused_share=0.0), at=NOW)
    await repository.repack.run(plan, token=lambda: "repack", at=NOW)
    await shred(repository, "blue")
    return store.objects


def test_a_stored_repository_with_domains_is_read() -> None:
    """What an earlier program wrote in a domain is restored; what it shredded is not there."""

    async def scenario() -> None:
        store = golden(NAME)
        repository = await opened(store)
        assert [entry.point for entry in await repository.commits()] == [*IMAGES]
        for point, image in IMAGES.items():
            assert await restored(repository, point) == image
            await no_progress(repository, point)
        [view] = await domains_of(repository).listed()
        assert (view.name, view.points, view.has_key) == ("red", 1, True)
        await shred(repository, "red")
        assert [entry.point for entry in await (await opened(store)).commits()] == ["d"]

    asyncio.run(scenario())


@pytest.mark.skipif(zstd_version != "1.5.7", reason="other compressors make other bytes")
def test_domains_are_written_byte_for_byte() -> None:
    """The same runs, from the same chance, make the same objects."""
    assert asyncio.run(written()) == golden(NAME).objects


if __name__ == "__main__":
    write_golden(NAME, asyncio.run(written()))
