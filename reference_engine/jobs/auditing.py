"""Step S9, afterwards: a sample of what the tracker calls unchanged is compared with the base."""

import msgspec
import numpy as np

from reference_engine.jobs.snapshotting import SourceSnapshot
from reference_engine.jobs.surroundings import Ports
from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, MachineId, RecoveryPointId, RunTag
from reference_engine.model.recovery_point import RecoveryPoint, TransferKind, TransferReason
from reference_engine.model.units import ByteCount
from reference_engine.reconcile.overlay import Overlay
from reference_engine.repository.errors import (
    ManifestDamagedError,
    PointRemovedError,
    PointUnknownError,
)
from reference_engine.repository.ordered import without
from reference_engine.trace.engine import BlocksSampled
from reference_engine.tracking.sampling import draw, miss_rate_bound

_CONFIDENCE = 0.95


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What a sample of one disk's untracked blocks showed."""

    sampled: int
    population: int
    wrong: int

    @property
    def miss_rate(self) -> float:
        """The share of changed blocks among the untracked ones that is ruled out at 95 %."""
        return miss_rate_bound(
            population=self.population, sample=self.sampled, confidence=_CONFIDENCE
        )


async def audit(
    ports: Ports,
    disk: DiskId,
    size: ByteCount,
    /,
    *,
    run: RunTag,
    base: RecoveryPoint,
    source: SourceSnapshot,
    overlay: Overlay,
    tracked: ExtentSet,
    sample: int,
) -> Audit:
    """Compare up to `sample` blocks outside of `tracked` with the base; say what was found."""
    reader = await ports.repository.reader(base.id)
    block = reader.block_size
    count = -(-size // block)
    touched = tracked.aligned(block, size=size).pieces(block)
    population = without(np.arange(count), touched)
    numbers = draw(population, sample, ports.runtime.random(f"sample/{run}/{disk}"))
    wrong = 0
    if len(numbers):
        window = ExtentSet.of_pieces(numbers, piece=block, size=size)
        raw = await ports.disk_io.read(source.snapshot, disk, window, through=source.through)
        try:
            other = await reader.differing(disk, window, overlay.applied(window, raw))
        except CorruptionError:
            return Audit(sampled=0, population=len(population), wrong=0)  # no word on the tracker
        wrong = len(other.pieces(block))
    found = Audit(sampled=len(numbers), population=len(population), wrong=wrong)
    ports.tracer(
        BlocksSampled(
            at=ports.runtime.now(),
            run=run,
            disk=disk,
            sampled=found.sampled,
            population=found.population,
            wrong=found.wrong,
        )
    )
    return found


async def resting_on(
    ports: Ports, machine: MachineId, disk: DiskId, /
) -> tuple[RecoveryPointId, ...]:
    """Return the points, newest first, whose image of the disk rests on the tracker's word alone.

    One that was copied in full or by comparison looked at everything, and is none of them; those
    before it are, for it took the tracker's misses over in silence. Where the tracker was found to
    lie before, the points up to there were named then. Whether one looked at everything that can
    not be read any more, nobody knows: it is named.
    """
    doubted: list[RecoveryPointId] = []
    for entry in reversed(await ports.repository.commits()):
        if entry.machine != machine:
            continue
        try:
            record = (await ports.repository.point(entry.point)).disk(disk)
        except ManifestDamagedError:
            doubted.append(entry.point)
            continue
        except (PointUnknownError, PointRemovedError):
            continue  # it has expired meanwhile
        if record is None:
            continue
        if record.transfer.reason is TransferReason.TRACKER_LIED:
            break
        if record.transfer.kind is TransferKind.INCREMENTAL:
            doubted.append(entry.point)
    return tuple(doubted)
