"""I20: what was damaged is reported at the restore, never restored as something else."""

from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
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


INVARIANT = Invariant(id="I20", title="damage is reported, never restored", judge=_judge)
