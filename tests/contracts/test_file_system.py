"""What every file system promises the store in a directory, simulated or real."""

import asyncio  # noqa: TID251 - the real calls are awaited on asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from reference_engine.adapters.os_file_system import OsFileSystem
from reference_engine.ports.file_system import DirectoryEntry, FileSystem
from simulator.campaign.proving.storage import Storage
from simulator.facade.file_system import FileSystemFacade
from simulator.kernel.stepping import SteppedTask
from simulator.kernel.streams import Stream
from simulator.world.file_system import Durability

Scenario = Callable[[FileSystem, str], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


def on_this_machine(tmp_path: Path) -> Run:
    """Run scenarios on real files."""

    def run(scenario: Scenario) -> None:
        files = OsFileSystem()
        asyncio.run(files.apart(lambda: scenario(files, str(tmp_path))))

    return run


def in_the_simulator(tmp_path: Path) -> Run:
    """Run scenarios on simulated files, step by step."""
    del tmp_path

    def run(scenario: Scenario) -> None:
        storage = Storage.empty(Durability.POSIX, Stream("test"))
        files = FileSystemFacade(storage.files, storage.faults, storage.chance)
        SteppedTask("test", scenario(files, "/backups")).finish()

    return run


@pytest.fixture(params=[on_this_machine, in_the_simulator], ids=lambda make: make.__name__)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Return how scenarios are run on each kind in turn."""
    made: Run = request.param(tmp_path)
    return made


async def written(files: FileSystem, path: str, content: bytes) -> None:
    """Have a new file with this content."""
    descriptor = await files.create(path)
    rest = memoryview(content)
    while rest:
        rest = rest[await files.write(descriptor, rest) :]
    await files.flush(descriptor)
    await files.close(descriptor)


def test_what_is_written_piece_by_piece_is_read_back(run: Run) -> None:
    """Each write goes behind the one before, and a range is what lies there."""

    async def scenario(files: FileSystem, root: str) -> None:
        descriptor = await files.create(f"{root}/a")
        for piece in (b"012", b"3456", b"789"):
            assert await files.write(descriptor, memoryview(piece)) == len(piece)
        await files.close(descriptor)
        assert await files.read(f"{root}/a", offset=0, length=None) == b"0123456789"
        assert await files.size(f"{root}/a") == 10
        assert await files.read(f"{root}/a", offset=4, length=3) == b"456"
        assert await files.read(f"{root}/a", offset=8, length=9) == b"89"

    run(scenario)


def test_no_name_is_given_twice(run: Run) -> None:
    """Neither a new file nor a link nor a directory takes the place of anything."""

    async def scenario(files: FileSystem, root: str) -> None:
        await written(files, f"{root}/a", b"a")
        await written(files, f"{root}/b", b"b")
        with pytest.raises(FileExistsError):
            await files.create(f"{root}/a")
        with pytest.raises(FileExistsError):
            await files.link(f"{root}/b", f"{root}/a")
        with pytest.raises(FileExistsError):
            await files.make_directory(f"{root}/a")
        assert await files.read(f"{root}/a", offset=0, length=None) == b"a"

    run(scenario)


def test_a_link_is_the_same_file(run: Run) -> None:
    """A file stays as long as it has a name."""

    async def scenario(files: FileSystem, root: str) -> None:
        await written(files, f"{root}/a", b"a")
        await files.link(f"{root}/a", f"{root}/b")
        await files.unlink(f"{root}/a")
        await files.flush_directory(root)
        assert not await files.exists(f"{root}/a")
        assert await files.read(f"{root}/b", offset=0, length=None) == b"a"
        assert await files.size(f"{root}/b") == 1

    run(scenario)


def test_directories_tell_what_is_in_them(run: Run) -> None:
    """Files and directories of one level, with their kind."""

    async def scenario(files: FileSystem, root: str) -> None:
        await files.make_directory(f"{root}/d")
        await written(files, f"{root}/d/inside", b"")
        await written(files, f"{root}/f", b"")
        assert sorted(await files.entries(root)) == [
            DirectoryEntry("d", is_directory=True),
            DirectoryEntry("f", is_directory=False),
        ]
        with pytest.raises(OSError, match="d"):
            await files.remove_directory(f"{root}/d")
        assert await files.size(f"{root}/d/inside") == 0
        with pytest.raises(FileNotFoundError):
            await files.size(f"{root}/e")
        await files.unlink(f"{root}/d/inside")
        await files.remove_directory(f"{root}/d")
        assert await files.exists(f"{root}/f")
        assert not await files.exists(f"{root}/d")

    run(scenario)


def test_what_is_absent_is_said_to_be(run: Run) -> None:
    """Every call on a name that is not there says so, and a path through a file is none."""

    async def scenario(files: FileSystem, root: str) -> None:
        await written(files, f"{root}/f", b"")
        for call in (
            files.read(f"{root}/x", offset=0, length=None),
            files.size(f"{root}/x"),
            files.unlink(f"{root}/x"),
            files.entries(f"{root}/x"),
            files.flush_directory(f"{root}/x"),
            files.make_directory(f"{root}/x/y"),
            files.create(f"{root}/x/y"),
            files.link(f"{root}/x", f"{root}/y"),
        ):
            with pytest.raises(FileNotFoundError):
                await call
        with pytest.raises(NotADirectoryError):
            await files.make_directory(f"{root}/f/y")

    run(scenario)


def test_tokens_differ(run: Run) -> None:
    """Names that are made of tokens do not meet."""

    async def scenario(files: FileSystem, root: str) -> None:
        assert len({files.token() for _ in range(100)}) == 100, root

    run(scenario)
