"""A manifest that was read before is decoded no more, but damage to it shows all the same."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.repository.codec import manifest_copy_name
from reference_engine.repository.errors import ManifestDamagedError
from reference_engine.repository.manifests import ManifestReader
from tests.strategies.repacks import image, scattered
from tests.strategies.repositories import commit, new_repository


def flipped(content: bytes, /) -> bytes:
    """Return the bytes with one bit of them changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_what_is_read_again_is_what_was_read() -> None:
    """Two points are told apart, and nobody can change what the next reader gets."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, image(1, 2), "a")
        await commit(repository, image(3, 4), "b")
        reader = ManifestReader(store, repository.header)
        entries = await repository.commits()

        before = [await reader.read(entry) for entry in entries]
        again = [await reader.read(entry) for entry in entries]

        assert len(entries) == 2
        assert [each.record.id for each in again] == [entry.point for entry in entries]
        assert all(one is other for one, other in zip(before, again, strict=True))
        for manifest in again:
            for disk in manifest.disks.values():
                with pytest.raises(ValueError, match="read-only"):
                    disk.root.objects[:] = 0

    asyncio.run(scenario())


def test_damage_after_the_first_reading_shows() -> None:
    """One sound copy is enough; without one the point is called damaged, though it was read."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        reader = ManifestReader(store, repository.header)
        entry = (await repository.commits())[0]
        copy = manifest_copy_name(entry.manifest)
        whole = await reader.read(entry)

        store.objects[entry.manifest] = flipped(store.objects[entry.manifest])
        assert await reader.read(entry) is whole
        store.objects[copy] = flipped(store.objects[copy])

        with pytest.raises(ManifestDamagedError, match="its digest is wrong"):
            await reader.read(entry)

    asyncio.run(scenario())
