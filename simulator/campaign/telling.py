"""From a trial to what people and programs read: rows, a night for the report, plain records."""

from typing import Any, Final

from reference_engine.model.identity import DiskId, MachineId, NodeName, RecoveryPointId
from reference_engine.model.outcome import Outcome
from reference_engine.model.recovery_point import Consistency, RecoveryPoint
from reference_engine.model.units import ByteCount, Duration, Instant
from reference_engine.reporting.night import (
    DiskTransfer,
    HeatPoint,
    HeatRow,
    MachineRow,
    Night,
    NightMachine,
    PointRow,
    VerdictRow,
    machine_row,
)
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import MachinePlaced
from reference_engine.trace.engine import DiskCopied
from simulator.campaign.trial import Trial, jobs_of
from simulator.scenario.writing import as_data

SCHEMA: Final = "twinshot/result/1"


def point_rows(trial: Trial, /) -> tuple[PointRow, ...]:
    """Return a row for each visible point, in the order in which they became visible."""
    evidence = trial.evidence
    points = {point.id: point for point in evidence.points()}
    outcomes = _outcomes(trial)
    return tuple(
        _point_row(trial, point, points, outcomes.get(point.id, Outcome.OK))
        for point in points.values()
    )


def _outcomes(trial: Trial) -> dict[RecoveryPointId, Outcome]:
    return {
        job.point.id: job.outcome
        for machine in trial.subject.scenario.machines
        for job in jobs_of(MachineId(machine.name), trial.evidence.facts)
        if job.point is not None
    }


def _point_row(
    trial: Trial,
    point: RecoveryPoint,
    points: dict[RecoveryPointId, RecoveryPoint],
    outcome: Outcome,
) -> PointRow:
    evidence, truth = trial.evidence, trial.evidence.truth
    host_at = min(truth.host_cuts[record.snapshot].at for record in point.disks)
    guest_at: Instant | None = None
    if point.consistency is Consistency.APPLICATION and point.guest_snapshot is not None:
        guest_at = truth.guest_cuts[point.guest_snapshot].at
    proof = evidence.proofs.get(point.id)
    holds = None if proof is None else not proof.unreadable
    verified = "not restored"
    if proof is not None:
        wrong = sum(disk.wrong.total + disk.not_blank.total for disk in proof.disks)
        holds = holds and wrong == 0
        compared = sum(disk.compared for disk in proof.disks)
        masked = sum(record.mask.total for record in point.disks)
        verified = proof.unreadable or (
            f"{compared:,} bytes restored and compared, {masked:,} of them masked"
            if holds
            else f"{wrong:,} bytes differ from the truth"
        )
        if proof.application is not None:
            opening = proof.application.opening
            how = "opens clean" if opening.clean else "opens after recovery"
            verified += f"; {proof.application.kind} " + ("damaged" if opening.problems else how)
    return PointRow(
        point=point.id,
        machine=point.machine.id,
        instant=host_at if guest_at is None else guest_at,
        guest_instant=guest_at,
        host_instant=host_at,
        skew=None if guest_at is None else Duration(host_at - guest_at),
        consistency=point.consistency,
        outcome=outcome,
        transfers=tuple(
            DiskTransfer(disk=record.disk, transfer=record.transfer) for record in point.disks
        ),
        bytes_read=ByteCount(sum(record.bytes_read for record in point.disks)),
        bytes_sent=ByteCount(sum(record.bytes_sent for record in point.disks)),
        bytes_truly_changed=ByteCount(
            sum(_changed(trial, point, points, record.disk).total for record in point.disks)
        ),
        skew_bytes=ByteCount(sum(record.skew.total for record in point.disks)),
        holds=holds,
        verified=verified,
    )


def _changed(
    trial: Trial,
    point: RecoveryPoint,
    points: dict[RecoveryPointId, RecoveryPoint],
    disk: DiskId,
) -> Any:
    """Return what of a disk truly differs from the base, or was ever written without one."""
    evidence = trial.evidence
    record = point.disk(disk)
    assert record is not None, disk
    now = evidence.true_image(point, record)
    base = None if point.base is None else points.get(point.base)
    before = None if base is None else base.disk(disk)
    if base is None or before is None:
        return evidence.as_bytes(disk, now.written(), record.size)
    then = evidence.true_image(base, before)
    return evidence.as_bytes(disk, now.differs(then), record.size)


def verdict_rows(trial: Trial, /) -> tuple[VerdictRow, ...]:
    """Return a row for each invariant and expectation."""
    return tuple(
        VerdictRow(
            id=verdict.invariant,
            title=verdict.title,
            holds=verdict.holds,
            checked=verdict.checked,
            detail=verdict.detail,
        )
        for verdict in trial.verdicts
    )


def machine_rows(trial: Trial, rows: tuple[PointRow, ...], /) -> tuple[MachineRow, ...]:
    """Return a row for each machine."""
    return tuple(
        machine_row(
            machine, rows, tuple(job.outcome for job in jobs_of(machine, trial.evidence.facts))
        )
        for machine in trial.night.world.machines
    )


def _first_node(machine: MachineId, facts: tuple[Fact, ...]) -> NodeName:
    """Return where the machine was first, those that came later included."""
    return next(
        fact.node
        for fact in facts
        if isinstance(fact, MachinePlaced) and fact.machine == machine and fact.node is not None
    )


def night_for_report(trial: Trial, rows: tuple[PointRow, ...], /, *, replay: str) -> Night:
    """Return everything that the report shows."""
    scenario, world = trial.subject.scenario, trial.night.world
    facts = trial.evidence.facts
    return Night(
        title=trial.subject.title,
        scenario=scenario.why,
        seed=trial.subject.seed,
        start=Instant(0),
        end=Instant(max([scenario.duration, *(fact.at for fact in facts[-1:])])),
        skew_limit=None,
        nodes=tuple(world.nodes),
        volumes=tuple(world.volumes),
        machines=tuple(
            NightMachine(
                id=machine.id,
                name=machine.name,
                node=_first_node(machine.id, facts),
                disks=machine.describe().disks,
            )
            for machine in world.machines.values()
        ),
        events=facts,
        machine_rows=machine_rows(trial, rows),
        point_rows=rows,
        verdicts=verdict_rows(trial),
        heat=_heat(trial),
        trace_digest=trial.digest,
        replay=replay,
    )


def _heat(trial: Trial) -> tuple[HeatRow, ...]:
    evidence = trial.evidence
    points = {point.id: point for point in evidence.points()}
    sent = {
        (fact.run, fact.disk): fact.sent for fact in evidence.facts if isinstance(fact, DiskCopied)
    }
    return tuple(
        HeatRow(
            machine=machine.id,
            disk=disk.id,
            size=disk.size,
            block=ByteCount(trial.subject.scenario.protection.block),
            points=tuple(
                HeatPoint(
                    point=point.id,
                    changed=_changed(trial, point, points, disk.id),
                    reconciled=record.skew,
                    sent=sent[point.run, disk.id],
                )
                for point in points.values()
                if (record := point.disk(disk.id)) is not None
            ),
        )
        for machine in trial.night.world.machines.values()
        for disk in machine.disks
    )


def point_record(point: RecoveryPoint, row: PointRow, /) -> dict[str, Any]:
    """Return a point as plain data."""
    return {
        "id": point.id,
        "vm": point.machine.id,
        "run": str(point.run),
        "base": point.base,
        "at": row.instant,
        "guest_at": row.guest_instant,
        "host_at": row.host_instant,
        "guest_clock": point.guest_instant,
        "host_clock": point.host_instant,
        "skew_us": row.skew,
        "consistency": point.consistency.value,
        "downgrade": point.downgrade,
        "outcome": row.outcome.value,
        "bytes_read": row.bytes_read,
        "bytes_sent": row.bytes_sent,
        "bytes_truly_changed": row.bytes_truly_changed,
        "skew_bytes": row.skew_bytes,
        "holds": row.holds,
        "verified": row.verified,
        "disks": [
            {
                "id": record.disk,
                "size": record.size,
                "transfer": record.transfer.kind.value,
                "reason": record.transfer.reason.value,
                "sources": list(record.sources),
                "mask_bytes": record.mask.total,
                "digest": record.digest,
            }
            for record in point.disks
        ],
    }


def result_record(
    trial: Trial, rows: tuple[PointRow, ...], /, *, images: dict[str, str]
) -> dict[str, Any]:
    """Return the whole result as plain data; it holds all that a replay needs."""
    points = {point.id: point for point in trial.evidence.points()}
    subject = trial.subject
    return {
        "schema": SCHEMA,
        "scenario_name": subject.name,
        "variant": None if subject.variant is None else subject.variant.id,
        "seed": subject.seed,
        "trace_digest": trial.digest,
        "second_digest": trial.evidence.second_digest,
        "holds": trial.holds,
        "verdicts": [
            {
                "id": row.id,
                "title": row.title,
                "holds": row.holds,
                "checked": row.checked,
                "detail": row.detail,
            }
            for row in verdict_rows(trial)
        ],
        "points": [point_record(points[row.point], row) for row in rows],
        "images": images,
        "scenario": as_data(subject.scenario),
    }
