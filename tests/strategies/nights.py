"""Nights that never happened, for the pages that show nights."""

from typing import Final

import numpy as np

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import (
    DiskId,
    Epoch,
    GuestSnapshotId,
    MachineId,
    RecoveryPointId,
    RunTag,
)
from reference_engine.model.machine import VirtualDisk
from reference_engine.model.outcome import Outcome, Step
from reference_engine.model.recovery_point import (
    Consistency,
    Transfer,
    TransferKind,
    TransferReason,
)
from reference_engine.model.units import (
    GIB,
    HOUR,
    MIB,
    MINUTE,
    SECOND,
    ByteCount,
    Duration,
    Instant,
    seconds,
)
from reference_engine.reporting.night import (
    DiskTransfer,
    HeatPoint,
    HeatRow,
    Night,
    NightMachine,
    PointRow,
    VerdictRow,
    machine_row,
)
from reference_engine.trace import Event
from reference_engine.trace.cluster import (
    FaultInjected,
    GuestFroze,
    GuestSnapshotTaken,
    GuestThawed,
)
from reference_engine.trace.engine import JobEnded, RunEnded, RunOpened, StepEntered, StepLeft
from tests.strategies.night_clusters import ENGINE_CRASH, NODES, VOLUMES, cluster_events

NAMES: Final = ("dc-01", "dc-02", "sql-01", "sql-02", "exch-01", "file-01", "file-02", "web-01")
NAMES_MORE: Final = ("web-02", "build-01", "linux-01", "erp-production-database-01")
SLOTS: Final = 13
BLOCK: Final = MIB
DISK: Final = ByteCount(8 * GIB)


class _Builder:
    """Gathers what happens; `night` puts it in order."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.chance = np.random.default_rng(8841)
        self.events: list[Event] = []
        self.points: list[PointRow] = []
        self.heat: dict[DiskId, list[HeatPoint]] = {}
        self.codes: dict[MachineId, list[Outcome]] = {}
        self.machines = tuple(
            NightMachine(
                id=MachineId(f"vm-{number:02}"),
                name=name,
                node=NODES[number % len(NODES)],
                disks=tuple(
                    VirtualDisk(
                        id=DiskId(f"vm-{number:02}-disk-{letter}"),
                        size=DISK,
                        volume=VOLUMES[number % 2],
                    )
                    for letter in ("ab" if number % 4 == 2 else "a")
                ),
            )
            for number, name in enumerate(names)
        )

    def backups(self) -> None:
        for number, machine in enumerate(self.machines):
            epoch = 0
            for slot in range(SLOTS):
                at = Instant(slot * 54 * MINUTE + number * 4 * MINUTE + 2 * MINUTE)
                long = (5 + (number * 7 + slot * 5) % 11 + 12 * (slot == 0)) * MINUTE
                outcome = Outcome.OK_SCAN if slot == 5 and number % 3 == 2 else Outcome.OK
                caught = at < ENGINE_CRASH[0] < at + long
                if caught or (number, slot) in {(3, 4), (8, 9)}:
                    epoch += 1
                    at = self.attempt(machine, epoch, at, caught=caught)
                    outcome = Outcome.RETRY_OK
                epoch += 1
                self.backup(machine, slot, epoch, at, long=Duration(long), outcome=outcome)

    def attempt(self, machine: NightMachine, epoch: int, at: Instant, *, caught: bool) -> Instant:
        run = RunTag(machine=machine.id, epoch=Epoch(epoch))
        self.events += [
            RunOpened(at=at, run=run, base=None),
            StepEntered(at=at, run=run, step=Step.SYNC),
        ]
        if caught:
            return Instant(ENGINE_CRASH[1] + 40 * SECOND)
        end = Instant(at + 4 * MINUTE)
        self.events.append(
            RunEnded(
                at=end,
                run=run,
                outcome=Outcome.FAIL_CLEAN,
                cause="snapshot s-17 is gone",
                point=None,
                consistency=None,
            )
        )
        return Instant(end + 2 * MINUTE)

    def backup(
        self,
        machine: NightMachine,
        slot: int,
        epoch: int,
        at: Instant,
        *,
        long: Duration,
        outcome: Outcome,
    ) -> None:
        run = RunTag(machine=machine.id, epoch=Epoch(epoch))
        point = RecoveryPointId(f"{machine.id}-p{slot + 1:02}")
        number = int(machine.id[-2:])
        is_slow = (number, slot) == (4, 6)
        is_crash = is_slow or number == 10 or (number * 5 + slot) % 23 == 0
        guest = Instant(at + 41 * SECOND)
        skew = seconds(0.4 + float(self.chance.gamma(2.0, 0.9)))
        host = Instant(guest + skew)
        thaw = Instant(guest + 61 * SECOND) if is_slow else Instant(host + 2 * SECOND)
        end = Instant(at + long)
        if is_crash and outcome is Outcome.OK:
            outcome = Outcome.OK_CRASH
        if number != 10:
            self.events.append(
                GuestFroze(at=Instant(guest - 4 * SECOND), machine=machine.id, run=run)
            )
            self.events.append(
                GuestThawed(at=thaw, machine=machine.id, why="limit" if is_slow else "engine")
            )
            self.events.append(
                GuestSnapshotTaken(
                    at=guest,
                    machine=machine.id,
                    run=run,
                    guest_snapshot=GuestSnapshotId(f"g-{run}"),
                    clock=guest,
                )
            )
        if is_slow:
            self.events.append(
                FaultInjected(
                    at=guest,
                    kind="freeze-timeout",
                    subject=machine.id,
                    what=f"{machine.id} stays frozen",
                )
            )
        self.steps(run, at, end)
        consistency = Consistency.CRASH if is_crash else Consistency.APPLICATION
        self.events += [
            RunOpened(at=at, run=run, base=None),
            RunEnded(
                at=end, run=run, outcome=outcome, cause="", point=point, consistency=consistency
            ),
            JobEnded(at=end, machine=machine.id, slot=slot, outcome=outcome, attempts=1, cause=""),
        ]
        self.codes.setdefault(machine.id, []).append(outcome)
        self.point(machine, slot, point, (guest, host), consistency=consistency, outcome=outcome)

    def steps(self, run: RunTag, at: Instant, end: Instant) -> None:
        middle = [Step.RESOLVE, Step.FREEZE_TRACKER, Step.GUEST_SNAPSHOT, Step.HOST_SNAPSHOT]
        begin = at
        for step in [*middle, Step.RECONCILE, Step.SYNC, Step.COMMIT, Step.RELEASE]:
            until = Instant(begin + 20 * SECOND)
            if step is Step.SYNC:
                until = Instant(end - 50 * SECOND)
            self.events += [
                StepEntered(at=begin, run=run, step=step),
                StepLeft(at=until, run=run, step=step),
            ]
            begin = until

    def point(
        self,
        machine: NightMachine,
        slot: int,
        point: RecoveryPointId,
        instants: tuple[Instant, Instant],
        *,
        consistency: Consistency,
        outcome: Outcome,
    ) -> None:
        guest, host = instants
        is_crash = consistency is Consistency.CRASH
        kind = TransferKind.INCREMENTAL
        reason = TransferReason.TRACKED
        if slot == 0:
            kind, reason = TransferKind.FULL, TransferReason.FIRST
        elif outcome is Outcome.OK_SCAN:
            kind, reason = TransferKind.COMPARE, TransferReason.TRACKER_LOST
        heats = [self.blocks(disk, slot, point, consistency) for disk in machine.disks]
        sent = sum(entry.sent.total for entry in heats)
        self.points.append(
            PointRow(
                point=point,
                machine=machine.id,
                instant=host if is_crash else guest,
                guest_instant=None if is_crash else guest,
                host_instant=host,
                skew=None if is_crash else Duration(host - guest),
                consistency=consistency,
                outcome=outcome,
                transfers=tuple(
                    DiskTransfer(disk=disk.id, transfer=Transfer(kind=kind, reason=reason))
                    for disk in machine.disks
                ),
                bytes_read=ByteCount(
                    sent if kind is TransferKind.INCREMENTAL else DISK * len(machine.disks)
                ),
                bytes_sent=ByteCount(sent),
                bytes_truly_changed=ByteCount(sum(entry.changed.total for entry in heats)),
                skew_bytes=ByteCount(sum(entry.reconciled.total for entry in heats)),
                holds=True,
                verified="restored and equal to the guest's image at its instant",
            )
        )

    def blocks(
        self, disk: VirtualDisk, slot: int, point: RecoveryPointId, consistency: Consistency
    ) -> HeatPoint:
        count = disk.size // BLOCK
        if slot == 0:
            changed = ExtentSet.of([(0, int(DISK * 0.62)), (int(DISK * 0.8), int(DISK * 0.93))])
        else:
            centres = self.chance.integers(0, count, 14) // 3 + 400
            places = [
                int(place)
                for centre in centres
                for place in centre + self.chance.integers(0, 90, 40)
            ]
            log = 5200 + slot * 60
            changed = ExtentSet.of(
                [(place * BLOCK, (place + 1) * BLOCK) for place in [*places, *range(log, log + 70)]]
            )
        extra = [int(place) for place in self.chance.integers(0, count - 6, 9)]
        again = ExtentSet.of([(place * BLOCK, (place + 6) * BLOCK) for place in extra])
        spots = [int(place) for place in self.chance.integers(1000, 2600, 12)]
        reconciled = (
            EMPTY
            if consistency is Consistency.CRASH
            else ExtentSet.of([(s * BLOCK, (s + 9) * BLOCK) for s in spots])
        )
        entry = HeatPoint(
            point=point, changed=changed, reconciled=reconciled, sent=changed | reconciled | again
        )
        self.heat.setdefault(disk.id, []).append(entry)
        return entry


def busy_night(*, names: tuple[str, ...] = NAMES + NAMES_MORE, broken: bool = False) -> Night:
    """Return twelve hours of three nodes, two volumes and a machine for each of `names`.

    Everything goes wrong once: a node and the engine crash, a guest stays frozen, runs fail and
    are repeated. With `broken`, one invariant and one point do not hold.
    """
    builder = _Builder(names)
    builder.events += cluster_events(builder.machines, builder.chance)
    builder.backups()
    points = sorted(builder.points, key=lambda row: (row.instant, row.machine))
    if broken:
        points[40] = _spoilt(points[40])
    return Night(
        title="A busy night: everything goes wrong once",
        scenario="baseline/busy-night",
        seed=8841,
        start=Instant(0),
        end=Instant(12 * HOUR),
        skew_limit=seconds(5.0),
        nodes=NODES,
        volumes=VOLUMES,
        machines=builder.machines,
        events=tuple(sorted(builder.events, key=lambda event: event.at)),
        machine_rows=tuple(
            machine_row(machine.id, points, tuple(builder.codes[machine.id]))
            for machine in builder.machines
        ),
        point_rows=tuple(points),
        verdicts=_verdicts(len(points), broken=broken),
        heat=tuple(
            HeatRow(
                machine=machine.id,
                disk=disk.id,
                size=disk.size,
                block=BLOCK,
                points=tuple(builder.heat[disk.id]),
            )
            for machine in builder.machines
            for disk in machine.disks
        ),
        trace_digest="5f1c6a0e97b2d34488aa10c3f7d95e2b5f1c6a0e97b2d34488aa10c3f7d95e2b",
        replay="twinshot simulate scenarios/baseline/busy-night.toml --seed 8841",
    )


def _spoilt(row: PointRow) -> PointRow:
    fields = {name: getattr(row, name) for name in row.__struct_fields__}
    return PointRow(
        **{
            **fields,
            "holds": False,
            "verified": "block 4711 of disk a shows the bytes of a later write",
        }
    )


def _verdicts(points: int, *, broken: bool) -> tuple[VerdictRow, ...]:
    titles = (
        "A restored application point equals the guest's image at Tg",
        "A crash point is one cut through the write order of all disks",
        "An incremental copies every block that differs from its base",
        "A label is never better than the truth",
        "A superseded run never commits",
        "A commit is whole or absent",
        "No guest stays frozen longer than the limit",
        "Nothing of a finished run stays on a host",
    )
    rows = [
        VerdictRow(
            id=f"I{number}",
            title=title,
            holds=None if number == 5 else not (broken and number == 3),
            checked=0 if number == 5 else points,
            detail=("vm-04-p03 lacks block 4711 </script><b>" if broken and number == 3 else ""),
        )
        for number, title in enumerate(titles, start=1)
    ]
    rows.append(
        VerdictRow(
            id="expect:points",
            title="Every machine has thirteen points",
            holds=True,
            checked=1,
            detail="",
        )
    )
    return tuple(rows)
