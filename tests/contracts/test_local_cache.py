"""What every cache promises, and that losing it is all that can go wrong with it."""

import asyncio  # noqa: TID251 - the cache is awaited on asyncio
import os
import stat
from pathlib import Path

import pytest

from reference_engine.adapters.cache_directory import CacheDirectory
from reference_engine.adapters.memory_cache import MemoryCache
from reference_engine.ports.local_cache import LocalCache, Range


@pytest.fixture(params=["directory", "memory"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> LocalCache:
    """Return each kind of cache in turn, empty."""
    return (
        CacheDirectory(tmp_path / "made" / "later") if request.param != "memory" else MemoryCache()
    )


def test_what_is_kept_is_found_until_it_is_forgotten(cache: LocalCache) -> None:
    """Names are per group, any range can be read, and what has the name gives way."""

    async def scenario() -> None:
        assert await cache.names("one") == ()
        assert await cache.keep("one", "b", b"0123456789")
        assert await cache.keep("one", "a", bytearray(b"xyz"))
        assert await cache.keep("two", "b", b"other")
        assert await cache.names("one") == ("a", "b")
        assert await cache.read(
            "one", [Range("b", 0, 3), Range("b", 8, 5), Range("a", 0, 1), Range("b", 20, 1)]
        ) == [
            b"012",
            b"89",
            b"x",
            b"",
        ]
        assert await cache.keep("one", "b", b"anew")
        assert await cache.read("one", [Range("b", 0, 10)]) == [b"anew"]
        await cache.forget("one", "b")
        await cache.forget("one", "b")
        assert await cache.names("one") == ("a",)
        assert await cache.read("one", [Range("b", 0, 10)]) == [b""]
        assert await cache.read("two", [Range("b", 0, 10)]) == [b"other"]

    asyncio.run(scenario())


def test_only_the_owner_reads_what_is_kept(tmp_path: Path) -> None:
    """Neither the directories nor the files are open to anybody else."""
    root = tmp_path / "cache"
    asyncio.run(CacheDirectory(root).keep("group", "name", b"content"))

    assert stat.S_IMODE((root / "group").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "group" / "name").stat().st_mode) == 0o600


def test_where_nothing_can_be_kept_nothing_is_raised(tmp_path: Path) -> None:
    """A file in the place of the directory is an answer, and not an error."""
    (tmp_path / "cache").write_bytes(b"in the way")
    cache = CacheDirectory(tmp_path / "cache")

    async def scenario() -> None:
        assert not await cache.keep("group", "name", b"content")
        assert await cache.names("group") == ()
        assert await cache.read("group", [Range("name", 0, 1)]) == [b""]
        await cache.forget("group", "name")

    asyncio.run(scenario())


def test_what_a_killed_process_left_is_no_entry_and_goes(tmp_path: Path) -> None:
    """Half a file is never listed; a day later it is removed, and a young one is left alone."""
    cache = CacheDirectory(tmp_path)
    old, young = tmp_path / "group" / "~old", tmp_path / "group" / "~young"
    old.parent.mkdir()
    for each in (old, young):
        each.write_bytes(b"half")
    os.utime(old, (1, 1))

    async def scenario() -> None:
        assert await cache.names("group") == ()
        assert await cache.keep("group", "name", b"content")

    asyncio.run(scenario())
    assert not old.exists()
    assert young.exists()
