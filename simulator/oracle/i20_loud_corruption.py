"""I20: what was damaged is reported at the restore, never restored as something else."""

from reference_engine.model.recovery_point import TransferReason
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
    for restore in evidence.later:
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
    """Once a tracker was found to lie, every wrong point that rests on its word is named."""
    points = evidence.points()
    for number, found in enumerate(points):
        for record in found.disks:
            if record.transfer.reason is not TransferReason.TRACKER_LIED:
                continue
            for earlier in points[:number]:
                proof = evidence.proofs.get(earlier.id)
                disk = earlier.disk(record.disk)
                wrong = proof is not None and (
                    bool(proof.unreadable)
                    or any(each.wrong for each in proof.disks if each.disk == record.disk)
                )
                if disk is None or not wrong:
                    continue
                named = any(
                    earlier.id in each.doubted
                    for later in points[: number + 1]
                    for each in later.disks
                    if each.disk == record.disk
                )
                finding.check(
                    earlier.id, f"{record.disk} is wrong, and nobody doubts it", holds=named
                )


INVARIANT = Invariant(id="I20", title="damage is reported, never restored", judge=_judge)
