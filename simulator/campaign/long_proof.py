"""Proving the points of long runs, with memory that depends on the points that exist.

Every point is proved bit for bit in the instant in which it becomes visible, as `Prover` does, but
by induction over its machine's points. The digests of all its blocks are read and held against the
record's root digest. A block is read and compared with the truth, byte by byte, if its digest is
another one than in the point before, or if the guest wrote a cell of it since. Of every other block
digest and truth are those of a block that was compared before.

Digests say nothing of whether stored bytes can still be read, so everything is read of a machine's
first point, of every `WHOLE_EVERY`th, and in the end of every point that still exists.

What the truth holds of a machine's time before its newest point is forgotten: its writes become
part of the image from which later instants are replayed.
"""

from bisect import bisect_right
from typing import Final, NamedTuple

import numpy as np

from reference_engine.model.errors import TwinshotError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    MachineId,
    RecoveryPointId,
    RunTag,
)
from reference_engine.model.recovery_point import DiskRecord, RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.repository.block_map import PAGE_BLOCKS, Digests
from reference_engine.repository.reader import PointReader
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import PointBecameVisible, PointsBecameInvisible
from simulator.campaign.judging import content_at, expected_image
from simulator.campaign.night import Night, Watcher
from simulator.campaign.restoring import settled
from simulator.oracle.evidence import replay
from simulator.oracle.proof import compare_bytes
from simulator.world.content import DiskContent
from simulator.world.stamps import StampImage
from simulator.world.truth import first_stamp

WHOLE_EVERY: Final = 16
"""Of a machine's points, one in so many is read whole."""

FORGET_EVERY: Final = 1024
"""After so many points everything is looked through for what can be forgotten."""


class _Proved(NamedTuple):
    """One disk of a point, after it was compared."""

    image: StampImage
    content: DiskContent
    mask: ExtentSet
    digests: Digests


class LongProver(Watcher):
    """Proves points as they become visible; `wrong` says what differs from the truth."""

    keeps_facts = False

    def __init__(self, *, whole_every: int = WHOLE_EVERY, forget_every: int = FORGET_EVERY) -> None:
        self._whole_every, self._forget_every = whole_every, forget_every
        self.points = 0
        self.whole = 0
        """How many of the points were read whole as they became visible."""

        self.compared = ByteCount(0)
        self.wrong: list[str] = []
        self._numbers: dict[MachineId, int] = {}
        self._newest: dict[MachineId, Epoch] = {}
        self._standing: dict[RecoveryPointId, dict[DiskId, _Proved]] = {}
        self._last: dict[MachineId, dict[DiskId, _Proved]] = {}

    def see(self, fact: Fact, night: Night, /) -> None:
        """Prove a point that the repository lists since this instant; let go of expired ones."""
        if isinstance(fact, PointBecameVisible):
            self._prove(fact.point, night)
            if self.points % self._forget_every == 0:
                self._forget(night)
        elif isinstance(fact, PointsBecameInvisible):
            for point in fact.points:
                self._standing.pop(point, None)

    def finish(self, night: Night, /) -> int:
        """Read every point that exists whole, and compare it; return how many there are."""
        visible = night.restorer.visible()
        for point in visible:
            try:
                reader = settled(night.restorer.repository().reader(point))
            except TwinshotError as failure:
                self.wrong.append(f"{point}: {failure}")
                continue
            proved = self._standing.get(point, {})
            for record in reader.point.disks:
                if record.disk in proved:  # or it is among what is wrong already
                    whole = ExtentSet.whole(record.size)
                    self._compare(reader, record, proved[record.disk], whole)
        return len(visible)

    def _prove(self, point: RecoveryPoint, night: Night) -> None:
        machine = point.machine.id
        # Each machine begins elsewhere, so that the points of one hour are not all read whole.
        number = self._numbers.get(machine, len(self._numbers))
        whole = machine not in self._numbers or number % self._whole_every == 0
        self._numbers[machine] = number + 1
        self._newest[machine] = point.run.epoch
        self.points += 1
        self.whole += whole
        before = {} if whole else self._last.get(machine, {})
        proved: dict[DiskId, _Proved] = {}
        try:
            reader = night.restorer.reader(point.id)
            for record in point.disks:
                image = expected_image(night, point, record.disk)
                content = content_at(night, point, record, image)
                reader.confirm(record.disk)
                settled(reader.confirm_pages(record.disk))
                digests = _digests(reader, record)
                known = _Proved(image, content, record.mask, digests)
                since = _changed(known, before.get(record.disk), reader.block_size, record)
                self._compare(reader, record, known, since)
                proved[record.disk] = known
        except TwinshotError as failure:
            self.wrong.append(f"{point.id}: {failure}")
        self._last[machine] = self._standing[point.id] = proved

    def _compare(
        self, reader: PointReader, record: DiskRecord, known: _Proved, extents: ExtentSet
    ) -> None:
        if not extents:
            return
        try:
            raw = settled(reader.read(record.disk, extents))
        except TwinshotError as failure:
            self.wrong.append(f"{reader.point.id} {record.disk}: {failure}")
            return
        self.compared = ByteCount(self.compared + len(raw))
        wrong = compare_bytes(known.content, known.image, extents, raw, mask=known.mask)
        if wrong:
            self.wrong.append(f"{reader.point.id} {record.disk}: {wrong} differ")

    def _forget(self, night: Night) -> None:
        truth = night.truth
        newest = self._newest
        for cuts in (truth.guest_cuts, truth.host_cuts):
            for name in [n for n, cut in cuts.items() if cut.run.epoch < _of(newest, cut.run)]:
                del cuts[name]  # type: ignore[arg-type]
        for noted in (truth.switched, truth.diff_areas):
            for key in [key for key in noted if key[0].epoch < _of(newest, key[0])]:
                del noted[key]
        truth.depths.clear()
        night.facts.clear()
        oldest: dict[MachineId, int] = {}
        for cut in (*truth.guest_cuts.values(), *truth.host_cuts.values()):
            oldest[cut.run.machine] = min(cut.stamp, oldest.get(cut.run.machine, cut.stamp))
        for machine, stamp in oldest.items():
            _fold(night, machine, stamp)


def _of(newest: dict[MachineId, Epoch], run: RunTag) -> int:
    """Return the epoch of the machine's newest point; 0 where it has none."""
    return newest.get(run.machine, Epoch(0))


def _digests(reader: PointReader, record: DiskRecord) -> Digests:
    """Return the digest of every block of the disk; zeros for holes."""
    count = -(-record.size // reader.block_size)
    pages = [
        settled(reader.digests(record.disk, page))[: count - page * PAGE_BLOCKS]
        for page in range(-(-count // PAGE_BLOCKS))
    ]
    return np.concatenate(pages)


def _changed(
    known: _Proved, before: _Proved | None, block: ByteCount, record: DiskRecord
) -> ExtentSet:
    """Return the blocks that are not those that were compared in the point before."""
    same_shape = before is not None and (
        len(before.digests) == len(known.digests)
        and before.content.size == known.content.size
        and before.mask == known.mask
    )
    if before is None or not same_shape:
        return ExtentSet.whole(record.size)
    cell = known.content.cell
    others = (known.digests != before.digests).any(axis=1)
    others[known.image.differs(before.image) * cell // block] = True
    return ExtentSet.of_pieces(np.flatnonzero(others), piece=block, size=record.size)


def _fold(night: Night, machine: MachineId, stamp: int) -> None:
    """Make the machine's writes up to `stamp` part of the images with which its disks began."""
    truth = night.truth
    for disk in night.world.machines[machine].disks:
        if truth.shapes.get(disk.id):
            return  # what a disk held before it was resized cannot be told by an image
    for disk in night.world.machines[machine].disks:
        truth.initial[disk.id] = replay(truth, machine, disk.id, stamp)
    written = truth.writes[machine]
    del written[: bisect_right(written, stamp, key=first_stamp)]
