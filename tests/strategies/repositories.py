"""Small repositories, and images whose every block tells where it came from."""

import numpy as np
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import (
    DiskId,
    MachineId,
    RecoveryPointId,
    SnapshotId,
    VolumeName,
)
from reference_engine.model.machine import BackEnd, GuestKind, Machine, VirtualDisk
from reference_engine.model.recovery_point import (
    Consistency,
    DiskRecord,
    RecoveryPoint,
    Transfer,
    TransferKind,
    TransferReason,
)
from reference_engine.model.units import ByteCount, Instant
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from reference_engine.verification.integrity import Verdict, verify_points

BLOCK = ByteCount(64)
DISK = DiskId("disk")
VM = MachineId("vm")


def block(fill: int) -> bytes:
    """Return a block that does not compress away and differs from those of other fills."""
    return np.random.default_rng(fill).bytes(BLOCK) if fill else bytes(BLOCK)


def record_of(session: WriteSession, disk: DiskId, size: int) -> DiskRecord:
    """Return a disk's record as a job would write it."""
    return DiskRecord(
        disk=disk,
        size=ByteCount(size),
        transfer=Transfer(kind=TransferKind.FULL, reason=TransferReason.FIRST),
        snapshot=SnapshotId("snapshot"),
        sources=(),
        skew=ExtentSet.of([(0, 10), (20, 30)]),
        mask=EMPTY,
        bytes_read=ByteCount(size),
        bytes_sent=session.bytes_sent,
        digest=session.root_digest(disk),
    )


def point_of(session: WriteSession, sizes: dict[DiskId, int], point: str) -> RecoveryPoint:
    """Return a point's record as a job would write it."""
    machine = Machine(
        id=session.run.machine,
        name="the machine",
        guest=GuestKind.NONE,
        back_end=BackEnd.DISK_FILE,
        disks=tuple(
            VirtualDisk(id=disk, size=ByteCount(size), volume=VolumeName("volume"))
            for disk, size in sizes.items()
        ),
    )
    return RecoveryPoint(
        id=RecoveryPointId(point),
        machine=machine,
        run=session.run,
        base=None if session.base is None else session.base.id,
        consistency=Consistency.CRASH,
        downgrade="no guest",
        instant=Instant(1),
        guest_instant=None,
        host_instant=Instant(1),
        guest_snapshot=None,
        tracker=None,
        disks=tuple(record_of(session, disk, size) for disk, size in sizes.items()),
    )


async def new_repository(store: MemoryStore) -> Repository:
    """Return an empty repository of small blocks."""
    return await Repository.create(store, identity_token="ab" * 16, block_size=BLOCK)


async def write(session: WriteSession, image: bytes, *, disk: DiskId = DISK) -> None:
    """Write a whole image in one piece, over what was inherited."""
    inherit = disk if session.base is not None and session.base.disk(disk) is not None else None
    await session.begin_disk(disk, ByteCount(len(image)), inherit=inherit)
    if image:
        await session.put_blocks(disk, np.arange(-(-len(image) // BLOCK)), image)


async def commit(repository: Repository, image: bytes, point: str) -> WriteSession:
    """Commit a point whose only disk holds `image`."""
    session = await repository.open_run(VM, token=f"session-{point}")
    await write(session, image)
    await session.stage(point_of(session, {DISK: len(image)}, point))
    await session.commit()
    return session


async def commit_changes(
    repository: Repository, image: bytes, point: str, *, changed: ExtentSet
) -> WriteSession:
    """Commit a point that differs from the one before in `changed` only, and says so."""
    session = await repository.open_run(VM, token=f"session-{point}")
    await session.begin_disk(DISK, ByteCount(len(image)), inherit=DISK)
    aligned = changed.aligned(BLOCK, size=ByteCount(len(image)))
    content = b"".join(image[part.offset : part.end] for part in aligned)
    await session.put_blocks(DISK, aligned.pieces(BLOCK), content, changed=changed)
    await session.stage(point_of(session, {DISK: len(image)}, point))
    await session.commit()
    return session


async def restored(repository: Repository, point: str, disk: DiskId = DISK) -> bytes:
    """Return the whole disk as the point has it."""
    reader = await repository.reader(RecoveryPointId(point))
    return await reader.read(disk, ExtentSet.whole(reader.size(disk)))


async def no_progress(repository: Repository, point: str) -> int:
    """Read a point to the last block, and every digest on the way to it."""
    reader = await repository.reader(RecoveryPointId(point))
    for disk in reader.disks:
        reader.confirm(disk)
        await reader.confirm_pages(disk)
        await reader.read(disk, ExtentSet.whole(reader.size(disk)))
    [verdict] = await verify_points(repository, (RecoveryPointId(point),), progress=lambda _: None)
    assert verdict.verdict is Verdict.INTACT, verdict.cause
    return verdict.bytes_checked


images = st.builds(
    lambda fills, tail: b"".join(block(fill) for fill in fills)[: len(fills) * BLOCK - tail],
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
    st.integers(0, BLOCK - 1),
)
