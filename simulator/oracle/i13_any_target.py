"""I13: a point restores to the same bytes, whatever the target."""

from simulator.oracle.evidence import Evidence
from simulator.oracle.items_taken import judge_items
from simulator.oracle.landings import judge_bytes
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for restore in (*evidence.later, *evidence.looks):
        for disk, fingerprint in restore.fingerprints.items():
            first = seen.setdefault((restore.point, disk), (restore.target, fingerprint))
            finding.check(
                restore.point,
                f"{disk} differs between {first[0]} and {restore.target}",
                holds=first[1] == fingerprint,
            )
            proof = evidence.proofs.get(restore.point)
            for proven in () if proof is None else proof.disks:
                if proven.disk == disk:
                    finding.check(
                        restore.point,
                        f"{disk} on {restore.target} differs from what was committed",
                        holds=proven.fingerprint == fingerprint,
                    )
    judge_bytes(evidence, finding)
    judge_items(evidence, finding)


INVARIANT = Invariant(id="I13", title="restores are the same on every target", judge=_judge)
