"""Restoring points for the oracle: what the engine's reader really returns."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.formats.opening import open_disk_image
from reference_engine.formats.raw_writer import RawWriter
from reference_engine.formats.vhdx_writer import VhdxIdentity, VhdxWriter
from reference_engine.formats.writer import DiskWriter
from reference_engine.model.errors import TwinshotError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, Epoch, MachineId, RecoveryPointId, RunTag
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.repository.codec import PointCommittedEntry, RunOpenedEntry
from reference_engine.repository.reader import PointReader
from reference_engine.repository.reclaim_entries import PointsExpiredEntry
from reference_engine.repository.repository import Repository
from reference_engine.restore.write_back import restore_disk
from reference_engine.verification.integrity import Verdict, verify_points
from simulator.oracle.evidence import ApplicationProof, DiskProof, LaterRestore, PointProof
from simulator.oracle.proof import ReadRestored, compare_disk, fingerprint
from simulator.world.content import DiskContent
from simulator.world.stamps import StampImage

Result = TypeVar("Result")


def settled(work: Coroutine[Any, Any, Result], /) -> Result:
    """Return what a coroutine returns that never has to wait (it reads memory)."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    raise AssertionError("it waited for something")


class RestoredDisk:
    """A restore's target in memory; satisfies `formats.writer.DiskWriter` as far as it goes."""

    def __init__(self, size: ByteCount, /) -> None:
        self.size = size
        self.raw = np.zeros(size, np.uint8)

    def write(self, offset: ByteCount, data: bytes | memoryview, /) -> None:
        """Put `data` at `offset`."""
        self.raw[offset : offset + len(data)] = np.frombuffer(data, np.uint8)

    def finish(self) -> None:
        """Nothing is left to do."""

    def abandon(self) -> None:
        """Nothing is left behind."""

    def read(self, start: int, end: int, /) -> memoryview:
        """Return the bytes `[start, end)`."""
        return self.raw[start:end].data


class Restorer:
    """Restores what a repository in memory lists, without any virtual time passing."""

    def __init__(self, kept: MemoryStore, /) -> None:
        self._kept = kept
        self._opened: Repository | None = None
        self._seen = 0
        self._newest: PointReader | None = None

    def repository(self) -> Repository:
        """Return the repository, opened once; it follows what is committed."""
        if self._opened is None:
            self._opened = settled(Repository.open(self._kept))
        return self._opened

    def visible(self) -> tuple[RecoveryPointId, ...]:
        """Return the points that the repository lists, in commit order."""
        return tuple(entry.point for entry in settled(self.repository().commits()))

    def manifests(self) -> tuple[str, ...]:
        """Return the name of each visible point's manifest, in commit order."""
        return tuple(entry.manifest for entry in settled(self.repository().commits()))

    def opened(self) -> dict[MachineId, Epoch]:
        """Return the newest run of each machine that the repository knows of."""
        found: dict[MachineId, Epoch] = {}
        for entry in settled(self.repository().entries()):
            if isinstance(entry, RunOpenedEntry):
                found[entry.machine] = max(found.get(entry.machine, entry.epoch), entry.epoch)
        return found

    def forgotten(self, opened: dict[MachineId, Epoch], /) -> tuple[RunTag, ...]:
        """Return which run of each machine is the newest now that was not so before."""
        known = self.opened()
        return tuple(
            RunTag(machine=machine, epoch=known.get(machine, Epoch(0)))
            for machine, epoch in opened.items()
            if known.get(machine) != epoch
        )

    def skip(self) -> None:
        """Take every point that there is for one that was asked about."""
        self._seen += len(settled(self.repository().entries(behind=self._seen)))

    def news(self) -> tuple[tuple[RecoveryPoint, ...], tuple[RecoveryPointId, ...]]:
        """Return the points that were committed since this was asked last, and those removed."""
        entries = settled(self.repository().entries(behind=self._seen))
        self._seen += len(entries)
        committed = [entry for entry in entries if isinstance(entry, PointCommittedEntry)]
        expired = [entry for entry in entries if isinstance(entry, PointsExpiredEntry)]
        return (
            tuple(self.reader(entry.point).point for entry in committed),
            tuple(point for entry in expired for point in entry.points),
        )

    def reader(self, point: RecoveryPointId, /) -> PointReader:
        """Return a reader of a point; of the one that was asked about last it is the same one."""
        if self._newest is None or self._newest.point.id != point:
            self._newest = settled(self.repository().reader(point))
        return self._newest

    def record(self, point: RecoveryPointId, /) -> RecoveryPoint:
        """Return what a visible point says of itself."""
        return settled(self.repository().point(point))

    def contents(self, point: RecoveryPointId, /) -> list[np.ndarray[tuple[int], Any]]:
        """Return the bytes of each of the point's disks."""
        reader = settled(self.repository().reader(point))
        return [_restored(reader, disk.id).raw for disk in reader.point.machine.disks]

    def scrub(self) -> frozenset[RecoveryPointId]:
        """Return the points that a check of everything stored calls damaged."""
        work = verify_points(self.repository(), self.visible(), progress=lambda _: None)
        return frozenset(each.point for each in settled(work) if each.verdict is Verdict.DAMAGED)

    def prove(
        self,
        point: RecoveryPoint,
        contents: dict[DiskId, DiskContent],
        expected: dict[DiskId, StampImage],
        opened: Callable[[dict[DiskId, ReadRestored]], ApplicationProof | None],
        /,
    ) -> PointProof:
        """Restore every disk of the point and compare it with what it should be.

        `opened` opens what an application in the guest has on the restored disks.
        """
        proofs: list[DiskProof] = []
        disks: dict[DiskId, ReadRestored] = {}
        unreadable = ""
        try:
            reader = self.reader(point.id)
            for record in point.disks:
                disk = _restored(reader, record.disk)
                disks[record.disk] = disk.read
                proofs.append(
                    compare_disk(
                        record.disk,
                        content=contents[record.disk],
                        expected=expected[record.disk],
                        mask=record.mask,
                        size=record.size,
                        read=disk.read,
                    )
                )
        except TwinshotError as failure:
            unreadable = str(failure)
        return PointProof(
            point=point,
            disks=tuple(proofs),
            unreadable=unreadable,
            application=None if unreadable else opened(disks),
        )

    def again(self, point: RecoveryPointId, /) -> LaterRestore:
        """Restore a point once everything is over, reading at random instead of through."""
        prints: dict[DiskId, str] = {}
        unreadable = ""
        try:
            reader = settled(self.repository().reader(point))
            for disk in reader.disks:
                prints[disk] = fingerprint(reader.size(disk), _Random(reader, disk).read)
        except TwinshotError as failure:
            unreadable = str(failure)
        return LaterRestore(
            point=point, target="random reads", fingerprints=prints, unreadable=unreadable
        )

    def onto_files(self, point: RecoveryPointId, place: Path, /) -> tuple[LaterRestore, ...]:
        """Restore a point into real image files below `place`, and read those back."""
        restores: list[LaterRestore] = []
        for suffix in (".vhdx", ".raw"):
            prints: dict[DiskId, str] = {}
            unreadable = ""
            try:
                reader = settled(self.repository().reader(point))
                for disk in reader.disks:
                    prints[disk] = _through_file(reader, disk, place / f"{point}-{disk}{suffix}")
            except TwinshotError as failure:
                unreadable = str(failure)
            restores.append(
                LaterRestore(
                    point=point,
                    target=f"a {suffix} file",
                    fingerprints=prints,
                    unreadable=unreadable,
                )
            )
        return tuple(restores)


def _through_file(reader: PointReader, disk: DiskId, path: Path) -> str:
    """Return the fingerprint of a disk that was written to an image file and read back."""
    size = reader.size(disk)
    writer: DiskWriter
    if path.suffix == ".vhdx":
        name = disk.encode().ljust(16, b"-")[:16]
        identity = VhdxIdentity(disk_id=name, data_write_id=name, file_write_id=name)
        writer = VhdxWriter.create(path, size, identity=identity)
    else:
        writer = RawWriter.create(path, size)
    with writer:
        settled(restore_disk(reader, disk, writer, progress=lambda _: None))
        writer.finish()
    if path.suffix == ".raw":
        # What simulated guests write has no partition table, so a raw image of it has no format.
        whole = np.memmap(path, np.uint8, "r")
        return fingerprint(size, lambda start, end: whole[start:end].data)
    with open_disk_image(path) as image:
        return fingerprint(
            size, lambda start, end: image.read(ByteCount(start), ByteCount(end - start))
        )


class _Random:
    """Reads ranges of a point's disk as an item-level restore would."""

    def __init__(self, reader: PointReader, disk: DiskId, /) -> None:
        self._reader, self._disk = reader, disk

    def read(self, start: int, end: int, /) -> bytes:
        return settled(self._reader.read(self._disk, ExtentSet.of([(start, end)])))


def _restored(reader: PointReader, disk: DiskId) -> RestoredDisk:
    target = RestoredDisk(reader.size(disk))
    settled(restore_disk(reader, disk, target, progress=lambda _: None))  # type: ignore[arg-type]
    return target
