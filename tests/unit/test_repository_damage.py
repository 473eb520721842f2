"""Damage is noticed and told with its place, and what is kept twice is written again."""

# ruff: noqa: S106 - the token of a run is no secret

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from collections.abc import Iterable

import numpy as np
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.repository.dedup import KnownBlocks
from reference_engine.repository.errors import (
    BlockDamagedError,
    LogDamagedError,
    ManifestDamagedError,
)
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import (
    BLOCK,
    DISK,
    VM,
    block,
    commit,
    new_repository,
    no_progress,
    restored,
)


def damaged(content: bytes) -> Iterable[bytes]:
    """Yield the object with each of some bytes flipped, and cut short."""
    for at in sorted({0, len(content) // 3, len(content) // 2, len(content) - 1}):
        yield content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    yield content[:-1]


def test_no_damage_goes_unnoticed() -> None:
    """Any change of any object is an error that names its kind, or harmless, never wrong data."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        image = block(1) + block(2) + bytes(BLOCK)
        await commit(repository, image, "a")
        for name, content in sorted(store.objects.items()):
            spare = not name.startswith("packs/")
            del store.objects[name]
            if spare:
                assert await restored(await Repository.open(store), "a") == image
            else:
                with pytest.raises(CorruptionError):
                    await restored(await Repository.open(store), "a")
            for bad in damaged(content):
                store.objects[name] = bad
                if spare:
                    assert await restored(await Repository.open(store), "a") == image
                else:
                    with pytest.raises(CorruptionError):
                        await restored(await Repository.open(store), "a")
            store.objects[name] = content
        assert await restored(await Repository.open(store), "a") == image

    asyncio.run(scenario())


def test_damage_is_reported_with_its_place() -> None:
    """The error names point, disk and block, so that a person knows what is lost."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, block(1), "a")
        await commit(repository, block(1) + block(2), "b")
        name = (await store.names("packs/session-b"))[0]
        store.objects[name] = store.objects[name][: BLOCK // 2]

        with pytest.raises(BlockDamagedError) as caught:
            await no_progress(repository, "b")
        assert (caught.value.point, caught.value.disk, caught.value.block) == ("b", DISK, 1)

    asyncio.run(scenario())


def test_a_damaged_newest_point_is_no_base() -> None:
    """A run starts from nothing rather than from what cannot be trusted."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, block(1), "a")
        await commit(repository, block(2), "b")
        store.objects["points/b"] = store.objects["points/a"]
        assert (await repository.open_run(VM, token="three")).base is not None
        store.objects["copies/points/b"] = store.objects["points/a"]

        assert (await repository.open_run(VM, token="four")).base is None
        with pytest.raises(ManifestDamagedError, match="b"):
            await (await Repository.open(store)).points()

    asyncio.run(scenario())


def test_a_manifest_is_the_one_that_was_committed() -> None:
    """Another manifest of the same point, whole in itself, is not what the log speaks of."""

    async def scenario() -> None:
        store, other = MemoryStore(), MemoryStore()
        await commit(await new_repository(store), block(1), "a")
        await commit(await new_repository(other), block(2), "a")
        for name in ("points/a", "copies/points/a"):
            store.objects[name] = other.objects[name]

        with pytest.raises(ManifestDamagedError, match="digest"):
            await (await Repository.open(store)).points()

    asyncio.run(scenario())


def test_a_lost_header_is_written_again() -> None:
    """One copy of the header is enough, and the next run completes the others."""

    async def scenario() -> None:
        store = MemoryStore()
        await commit(await new_repository(store), block(1), "a")
        header = store.objects.pop("repository.json")
        del store.objects["copies/repository-1.json"]

        repository = await Repository.open(store)
        assert await restored(repository, "a") == block(1)
        await repository.open_run(VM, token="two")
        assert store.objects["repository.json"] == header
        assert store.objects["copies/repository-1.json"] == header

    asyncio.run(scenario())


def test_half_a_digest_is_no_match() -> None:
    """Blocks that agree in the first half of their digests are different blocks."""
    known = np.arange(16, dtype=np.uint8).reshape(1, 16)
    similar = known.copy()
    similar[0, 15] += 1
    blocks = KnownBlocks()
    blocks.learn(known, np.array([[1, 2, 3, 4]], np.uint32))

    found, places = blocks.find(np.concatenate((known, similar)))
    assert found.tolist() == [True, False]
    assert places[0].tolist() == [1, 2, 3, 4]


def test_a_gap_in_the_log_is_damage() -> None:
    """An entry lost in both copies must not hide the ones behind it, nor be written anew."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, block(1), "a")
        await commit(repository, block(2), "b")
        del store.objects["log/0000000002"]
        assert len(await (await Repository.open(store)).points()) == 2
        del store.objects["copies/log/0000000002"]

        with pytest.raises(LogDamagedError, match="2"):
            await Repository.open(store)

    asyncio.run(scenario())
