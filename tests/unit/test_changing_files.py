"""A disk file that changes while it is read becomes no point that would hide the change."""

import pytest

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.files.disk_files import LOCAL, DiskFiles
from reference_engine.adapters.files.disk_io import FileDiskIo
from reference_engine.adapters.files.host import FileHost
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import SnapshotLostError, SourceChangedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, Epoch, MachineId, RunTag
from reference_engine.model.units import ByteCount
from reference_engine.repository.repository import Repository
from tests.strategies.disk_places import Place, disk, place
from tests.strategies.file_backups import back_up_all

__all__ = ["place"]


def test_a_file_that_changes_while_it_is_read_is_no_image(place: Place) -> None:
    """A write between the first read and the commit voids the run; the next one succeeds."""
    runtime = AsyncioRuntime(seed=None)
    store = MemoryStore()

    def touching(_: ByteCount) -> None:
        place.source.write_bytes(disk(2))

    async def scenario() -> None:
        repository = await Repository.create(
            store, identity_token="ab" * 16, block_size=ByteCount(16384)
        )
        files = DiskFiles(MachineId("web"), (place.source,))
        with pytest.raises(SourceChangedError, match=r"web\.raw"):
            await back_up_all(repository, files, runtime, progress=touching)
        assert files.open_checkpoints == ()
        assert await repository.points() == ()
        assert await store.names("packs/") == ()

        point = await back_up_all(repository, files, runtime)
        assert await repository.points() == (point,)
        assert point.run.epoch == 2

    runtime.run(scenario())


def test_a_checkpoint_of_files_does_not_hide_a_change(place: Place) -> None:
    """Whoever releases what was never confirmed is told; a confirmed reading stays good."""
    runtime = AsyncioRuntime(seed=None)
    files = DiskFiles(MachineId("web"), (place.source,))
    host, disk_io = FileHost(files), FileDiskIo(files)
    tag = RunTag(machine=files.machine, epoch=Epoch(1))
    name, some = DiskId("web.raw"), ExtentSet.of([(0, 4096)])

    async def scenario() -> None:
        taken = await host.take_checkpoint(LOCAL, run=tag, at_rest=None)
        await disk_io.read(taken.id, name, some, through=LOCAL)
        assert await host.confirms(LOCAL, files.machine)
        place.source.write_bytes(disk(2))
        await host.release(taken.id)
        await host.release(taken.id)
        with pytest.raises(SnapshotLostError):
            await disk_io.read(taken.id, name, some, through=LOCAL)

        taken = await host.take_checkpoint(LOCAL, run=tag, at_rest=None)
        await disk_io.read(taken.id, name, some, through=LOCAL)
        place.source.write_bytes(disk(3))
        with pytest.raises(SourceChangedError):
            await host.confirms(LOCAL, files.machine)
        with pytest.raises(SourceChangedError):
            await host.release(taken.id)
        assert (await host.leftovers(files.machine)).snapshots == ()

    runtime.run(scenario())
