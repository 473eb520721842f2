"""One machine to protect, and all ports about it: in a simulated cluster, or as plain files."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.files.change_tracking import NoTracking
from reference_engine.adapters.files.cluster import FileCluster
from reference_engine.adapters.files.consistency import NoGuest
from reference_engine.adapters.files.disk_files import LOCAL, VOLUME, DiskFiles
from reference_engine.adapters.files.disk_io import FileDiskIo
from reference_engine.adapters.files.host import FileHost
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, NodeName, VolumeName
from reference_engine.model.machine import BackEnd
from reference_engine.model.units import ByteCount
from reference_engine.ports.change_tracking import ChangeTracking
from reference_engine.ports.cluster import Cluster
from reference_engine.ports.consistency import Consistency
from reference_engine.ports.disk_io import DiskIo
from reference_engine.ports.host import Checkpoint, Host, HostSnapshot
from reference_engine.ports.runtime import Runtime
from tests.strategies.simulated_clusters import (
    PINNED,
    V1,
    A,
    B,
    SimulatedCluster,
    X,
    run_number,
    scenario_text,
)

Story = Callable[[], Coroutine[Any, Any, None]]


class ProtectedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine `x` with two disks, and whoever answers for it."""

    back_end: BackEnd
    owner: NodeName
    elsewhere: NodeName
    volume: VolumeName
    pinned: VolumeName
    """A volume whose coordinator is not moved to `refused`."""

    refused: NodeName

    disks: tuple[DiskId, ...]
    runtime: Runtime
    cluster: Cluster
    host: Host
    consistency: Consistency
    tracking: ChangeTracking
    disk_io: DiskIo
    run: Callable[[Story], None]

    async def cut(self, epoch: int = 1) -> Checkpoint | HostSnapshot:
        """Cut every disk in the way of the machine's back end."""
        tag = run_number(epoch)
        if self.back_end is BackEnd.HOST_SNAPSHOT:
            return await self.host.take_snapshot(self.owner, run=tag, disks=self.disks)
        return await self.host.take_checkpoint(self.owner, run=tag, at_rest=None)

    async def size_of(self, disk: DiskId) -> ByteCount:
        """Return how large a disk is."""
        return (await self.host.describe(self.owner, X)).disk(disk).size

    async def whole(self, cut: Checkpoint | HostSnapshot, disk: DiskId) -> bytes:
        """Return a whole disk as it was cut."""
        everything = ExtentSet.whole(await self.size_of(disk))
        return await self.disk_io.read(cut.id, disk, everything, through=self.owner)


def simulated(back_end: str, *, guest: str = "vss", seed: int = 1) -> ProtectedMachine:
    """Return a machine of a simulated cluster."""
    return around(SimulatedCluster(scenario_text(back_end=back_end, guest=guest), seed=seed))


def around(cluster: SimulatedCluster) -> ProtectedMachine:
    """Return the machine `x` of this cluster."""
    machine = cluster.world.machines[X]
    return ProtectedMachine(
        back_end=machine.back_end,
        owner=A,
        elsewhere=B,
        volume=V1,
        pinned=PINNED,
        refused=A,
        disks=tuple(disk.id for disk in machine.disks),
        runtime=cluster.runtime,
        cluster=cluster.cluster,
        host=cluster.host,
        consistency=cluster.consistency,
        tracking=cluster.tracking,
        disk_io=cluster.disk_io,
        run=cluster.run,
    )


def on_host_snapshots(_: Path) -> ProtectedMachine:
    """Return a simulated machine of an old host."""
    return simulated("E1")


def on_reference_points(_: Path) -> ProtectedMachine:
    """Return a simulated machine of a new host."""
    return simulated("E3")


def in_disk_files(tmp_path: Path) -> ProtectedMachine:
    """Return a machine of two raw files, with holes and with an odd size."""
    paths = [tmp_path / "one.img", tmp_path / "two.img"]
    for path, size in zip(paths, (96 * 1024 + 512, 64 * 1024), strict=True):
        with path.open("wb") as file:
            file.truncate(size)
            for at in (0, 20 * 1024, size - 512):
                file.seek(at)
                # Each ends like a boot sector, as the first sector of a disk must.
                file.write(f"{path.name} {at} ".encode().ljust(510, b"#") + b"\x55\xaa")
    files = DiskFiles(X, paths)
    runtime = AsyncioRuntime(seed=1)

    def run(story: Story) -> None:
        runtime.run(story())

    return ProtectedMachine(
        back_end=BackEnd.DISK_FILE,
        owner=LOCAL,
        elsewhere=NodeName("elsewhere"),
        volume=VOLUME,
        pinned=VOLUME,
        refused=NodeName("elsewhere"),
        disks=files.disks,
        runtime=runtime,
        cluster=FileCluster(files),
        host=FileHost(files),
        consistency=NoGuest(),
        tracking=NoTracking(),
        disk_io=FileDiskIo(files),
        run=run,
    )


EVERY_KIND = (on_host_snapshots, on_reference_points, in_disk_files)
