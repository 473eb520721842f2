"""What was promised: which image belongs to which point, and what became of it."""

from typing import Final

import msgspec

from reference_engine.model.extents import EMPTY
from reference_engine.model.identity import DiskId, RecoveryPointId, SnapshotId, VolumeName
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
from reference_engine.repository.block_map import PIECES
from reference_engine.repository.write_session import WriteSession
from simulator.kernel.streams import Stream

DISK: Final = DiskId("disk")
PATCHED: Final = 10_000
"""A number of so many times n, and something, means block `something` with the n-th patch."""

TRANSFER: Final = Transfer(kind=TransferKind.FULL, reason=TransferReason.FIRST)


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that was broken: which one, and what shows it."""

    rule: str
    detail: str


class Ledger:
    """Who was promised what. Everything in it is decided without the engine."""

    def __init__(self) -> None:
        self.images: dict[RecoveryPointId, bytes] = {}
        """What each point would restore to, of every point that was ever begun."""

        self.acknowledged: dict[RecoveryPointId, None] = {}
        self.expiring: dict[RecoveryPointId, None] = {}
        """Points whose expiry was asked for: whether they still exist is open."""

        self.violations: list[Violation] = []

    def kept(self) -> tuple[RecoveryPointId, ...]:
        """Return the points that must exist, in the order in which they were acknowledged."""
        return tuple(point for point in self.acknowledged if point not in self.expiring)

    def copied(self) -> "Ledger":
        """Return another ledger with the same promises, and no violation yet."""
        other = Ledger()
        other.images = dict(self.images)
        other.acknowledged = dict(self.acknowledged)
        other.expiring = dict(self.expiring)
        return other

    def breach(self, rule: str, detail: str, /) -> None:
        """Note a broken promise."""
        self.violations.append(Violation(rule=rule, detail=detail))


class Contents:
    """The blocks that images are made of: few, so that images share them."""

    def __init__(self, block_size: ByteCount, /) -> None:
        self._block_size = block_size
        self._blocks: dict[int, bytes] = {0: bytes(block_size)}

    def image(self, fills: tuple[int, ...], /, *, cut: int) -> bytes:
        """Return one block for each number, the last one `cut` bytes shorter; 0 is all zero."""
        image = b"".join([self._block(fill) for fill in fills])
        return image[: len(image) - cut]

    def _block(self, fill: int) -> bytes:
        if fill >= PATCHED and fill not in self._blocks:
            patch, below = divmod(fill, PATCHED)
            self._blocks[fill] = self._patched(self._block(below), patch)
        if fill not in self._blocks:
            chance = Stream("block", fill)
            words = [chance.bits().to_bytes(8, "little") for _ in range(-(-self._block_size // 8))]
            self._blocks[fill] = b"".join(words)[: self._block_size]
        return self._blocks[fill]

    def _patched(self, below: bytes, patch: int) -> bytes:
        """Return a block of which the patch changes some pieces, so that they are laid over it."""
        chance, size = Stream("patch", patch), self._block_size // PIECES
        block = bytearray(below)
        for _ in range(chance.between(1, PIECES // 2)):
            at = chance.below(PIECES) * size
            block[at : at + size] = chance.bits().to_bytes(8, "little")[:size].ljust(size, b"!")
        return bytes(block)


def record_of(
    session: WriteSession, point: RecoveryPointId, size: ByteCount, now: Instant, /
) -> RecoveryPoint:
    """Return a point's record as a job would write it."""
    machine = Machine(
        id=session.run.machine,
        name=str(session.run.machine),
        guest=GuestKind.NONE,
        back_end=BackEnd.DISK_FILE,
        disks=(VirtualDisk(id=DISK, size=size, volume=VolumeName("volume")),),
    )
    record = DiskRecord(
        disk=DISK,
        size=size,
        transfer=TRANSFER,
        snapshot=SnapshotId("snapshot"),
        sources=(),
        skew=EMPTY,
        mask=EMPTY,
        bytes_read=size,
        bytes_sent=session.bytes_sent,
        digest=session.root_digest(DISK),
    )
    return RecoveryPoint(
        id=point,
        machine=machine,
        run=session.run,
        base=None if session.base is None else session.base.id,
        consistency=Consistency.CRASH,
        downgrade="no guest",
        instant=now,
        guest_instant=None,
        host_instant=now,
        guest_snapshot=None,
        tracker=None,
        disks=(record,),
    )
