"""I20: what was damaged is reported at the restore, never restored as something else."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from reference_engine.model.identity import DiskId, RecoveryPointId
from reference_engine.model.recovery_point import RecoveryPoint, TransferReason
from reference_engine.trace.cluster import PointBecameVisible, PointsBecameInvisible
from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    _judge_lies(evidence, finding)
    if evidence.scrubbed is not None:
        for restore in evidence.later:
            finding.check(
                restore.point,
                "is damaged, and a check of everything does not say so",
                holds=not restore.unreadable or restore.point in evidence.scrubbed,
            )
    for restore in evidence.healed:
        proof = evidence.proofs.get(restore.point)
        finding.check(
            restore.point,
            f"cannot be restored where all damage is undone: {restore.unreadable}",
            holds=not restore.unreadable
            or (proof is not None and evidence.rests_on_a_lie(proof.point)),
        )
    for restore in (*evidence.later, *evidence.healed):
        proof = evidence.proofs.get(restore.point)
        if proof is None or proof.unreadable:
            continue
        for disk in proof.disks:
            restored = restore.fingerprints.get(disk.disk)
            finding.check(
                restore.point,
                f"{disk.disk} was damaged, and is restored with other bytes",
                holds=bool(restore.unreadable) or restored == disk.fingerprint,
            )


def _judge_lies(evidence: Evidence, finding: Finding) -> None:
    """Once a tracker was found to lie, every wrong point that rests on its word is named.

    A lie may leave a point unreadable. So may an object that rotted, which is no tracker's word.
    """
    listed: dict[RecoveryPointId, RecoveryPoint] = {}
    doubted: set[tuple[RecoveryPointId, DiskId]] = set()
    for fact in evidence.facts:
        match fact:
            case PointsBecameInvisible():
                for gone in fact.points:
                    listed.pop(gone, None)
            case PointBecameVisible():
                records = fact.point.disks
                doubted.update((point, each.disk) for each in records for point in each.doubted)
                for record in records:
                    if record.transfer.reason is TransferReason.TRACKER_LIED:
                        _judge_lie(evidence, finding, record.disk, listed, doubted)
                if fact.point.id not in evidence.lost:
                    listed[fact.point.id] = fact.point
            case _:
                pass


def _judge_lie(
    evidence: Evidence,
    finding: Finding,
    disk: DiskId,
    listed: Mapping[RecoveryPointId, RecoveryPoint],
    doubted: AbstractSet[tuple[RecoveryPointId, DiskId]],
) -> None:
    for point in listed.values():
        proof = evidence.proofs.get(point.id)
        if proof is None or point.disk(disk) is None:
            continue
        unreadable = bool(proof.unreadable) and not evidence.damaged
        if unreadable or any(each.wrong for each in proof.disks if each.disk == disk):
            finding.check(
                point.id,
                f"{disk} is wrong, and nobody doubts it",
                holds=(point.id, disk) in doubted,
            )


INVARIANT = Invariant(id="I20", title="damage is reported, never restored", judge=_judge)
