"""The format is what it was: a stored repository is read, and is written again byte for byte.

`python -m tests.unit.test_repository_golden` writes it anew after a deliberate change of format.
"""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest
from backports.zstd import zstd_version

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError, RefusedError
from reference_engine.repository.repository import Repository
from tests.strategies.golden_repositories import IMAGES, golden, write_both, write_golden
from tests.strategies.repositories import new_repository, no_progress, restored


async def written() -> dict[str, bytes]:
    """Return the objects of a repository with a full point and an overlaid one."""
    store = MemoryStore()
    await write_both(await new_repository(store))
    return store.objects


def test_a_stored_repository_is_read() -> None:
    """What an earlier program of this format wrote is restored."""

    async def scenario() -> None:
        repository = await Repository.open(golden())
        for point, image in IMAGES.items():
            assert await restored(repository, point) == image
            await no_progress(repository, point)

    asyncio.run(scenario())


@pytest.mark.skipif(zstd_version != "1.5.7", reason="other compressors make other bytes")
def test_a_repository_is_written_byte_for_byte() -> None:
    """The same runs make the same objects."""
    assert asyncio.run(written()) == golden().objects


async def _seen(store: MemoryStore) -> str:
    """Return what becomes of reading everything: `right`, `reported`, or wrong data."""
    try:
        repository = await Repository.open(store)
        for point in await repository.points():
            if await restored(repository, str(point.id)) != IMAGES[str(point.id)]:
                return "wrong data"
            await no_progress(repository, str(point.id))
    except (CorruptionError, RefusedError):
        return "reported"
    return "right"


def test_every_flipped_byte_is_reported_or_harmless() -> None:
    """No change of any one byte of any object leads to other content."""

    async def scenario() -> None:
        store = golden()
        for name, content in sorted(store.objects.items()):
            seen: set[str] = set()
            for at in range(len(content)):
                flipped = bytes([content[at] ^ (1 << at % 8)])
                store.objects[name] = content[:at] + flipped + content[at + 1 :]
                seen.add(await _seen(store))
            store.objects[name] = content
            # One sound copy of all but packs is enough, and the index is for dedup only.
            spare = not name.startswith("packs/")
            # Some bits of a compressed frame's header have no meaning.
            assert seen <= ({"right"} if spare else {"right", "reported"}), name

    asyncio.run(scenario())


if __name__ == "__main__":
    write_golden("format-2", asyncio.run(written()))
