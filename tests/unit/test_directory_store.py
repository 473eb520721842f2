"""A directory holds objects that are whole or not there, whatever the file system does."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.adapters.os_file_system import _driven
from reference_engine.adapters.store_errors import StoreUnusableError
from reference_engine.model.errors import (
    OperationFailedError,
    RefusedError,
    RepositoryFullError,
)

NAME = "packs/a-1"


def test_temporaries_are_never_objects(tmp_path: Path) -> None:
    """What a killed writer left behind is not listed, not read, and in nobody's way."""

    async def scenario() -> None:
        store = DirectoryStore(tmp_path)
        (tmp_path / "packs").mkdir()
        (tmp_path / "packs" / "~incoming-0123").write_bytes(b"half")
        (tmp_path / "~incoming-4567").write_bytes(b"half")

        assert await store.names("") == ()
        assert await store.stranger() is None
        assert await store.create(NAME, b"whole")
        assert await store.names("") == (NAME,)

    asyncio.run(scenario())


def test_an_object_leaves_no_temporary(tmp_path: Path) -> None:
    """Behind a create there is one file more, and nothing else."""

    async def scenario() -> None:
        store = DirectoryStore(tmp_path)
        await store.create(NAME, b"whole")
        await store.create(NAME, b"other")

    asyncio.run(scenario())
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a-1"]


def test_a_stranger_is_named(tmp_path: Path) -> None:
    """A file that cannot be an object shows that the directory is somebody else's."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "Thesis_final.doc").write_bytes(b"")

    assert asyncio.run(DirectoryStore(tmp_path).stranger()) == "docs/Thesis_final.doc"


class ProcessKilledError(BaseException):
    """The process ends here and now."""


def interrupted(real: Callable[..., Any], error: BaseException, *, after: bool) -> Any:
    """Return `real`, which fails before or after it has done its work."""

    def call(*args: Any, **options: Any) -> Any:
        if after:
            real(*args, **options)
        raise error

    return call


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["fsync", "link", "mkdir"])
def test_a_killed_process_leaves_an_object_absent_or_whole(
    step: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death before or after any call that changes the directory does no harm."""
    store = DirectoryStore(tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(
            os,
            step,
            interrupted(getattr(os, step), ProcessKilledError(), after=moment == "after"),
        )
        with pytest.raises(ProcessKilledError):
            asyncio.run(store.create(NAME, b"whole"))

    async def scenario() -> None:
        found = await store.read(NAME)
        assert found in {None, b"whole"}
        assert await store.names("") == (() if found is None else (NAME,))
        assert await store.create(NAME, b"whole") == (found is None)
        assert await store.read(NAME) == b"whole"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "writable"),
        (errno.EACCES, "grant access"),
        (errno.EOPNOTSUPP, "hard links"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_refusal_of_the_file_system_says_what_to_do(
    step: str, number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with a remedy, and nothing of the object or its directories left behind."""
    store = DirectoryStore(tmp_path / "store")
    error = OSError(number, os.strerror(number))

    async def scenario() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, step, interrupted(getattr(os, step), error, after=False))
            with pytest.raises(RefusedError, match=words) as refusal:
                await store.create(NAME, b"whole")
        full = number in {errno.ENOSPC, errno.EDQUOT}
        assert type(refusal.value) is (RepositoryFullError if full else StoreUnusableError)
        assert await asyncio.to_thread(os.listdir, tmp_path) == []
        assert await store.create(NAME, b"whole")

    asyncio.run(scenario())


def test_a_passing_failure_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input/output error is not taken for a refusal."""
    store = DirectoryStore(tmp_path)

    async def scenario() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(
                os, "fsync", interrupted(os.fsync, OSError(errno.EIO, "i/o error"), after=False)
            )
            with pytest.raises(OperationFailedError, match="i/o error"):
                await store.create(NAME, b"whole")
        assert await store.create(NAME, b"whole")

    asyncio.run(scenario())


def test_a_full_file_system_holds_nothing_partial(fs: FakeFilesystem) -> None:
    """Where the object does not fit, it is not there, and what was there still is."""
    fs.create_dir("/repository")
    fs.add_mount_point("/repository", total_size=8192)
    store = DirectoryStore(Path("/repository"))

    assert _driven(lambda: store._create("/repository/small", b"x" * 1000))
    with pytest.raises(RepositoryFullError, match="no space left"):
        _driven(lambda: store._create("/repository/large", b"x" * 10000))
    assert _driven(lambda: store._names("")) == ("small",)
    assert os.listdir("/repository") == ["small"]  # noqa: PTH208 - also hidden ones


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    """A path that leads through a file is no directory, for reading and for writing."""
    place = tmp_path / "file"
    place.write_bytes(b"")
    store = DirectoryStore(place)

    async def scenario() -> None:
        with pytest.raises(StoreUnusableError, match="name a directory"):
            await store.create(NAME, b"whole")
        with pytest.raises(StoreUnusableError, match="name a directory"):
            await store.read(NAME)

    asyncio.run(scenario())


def test_a_read_only_directory_is_refused(tmp_path: Path) -> None:
    """On a file system mounted read-only the remedy is to make it writable."""
    place = tmp_path / "store"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "none", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount file systems")
    try:
        with pytest.raises(StoreUnusableError, match="writable"):
            asyncio.run(DirectoryStore(place).create(NAME, b"whole"))
    finally:
        subprocess.run(["umount", str(place)], check=True)
