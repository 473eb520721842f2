"""I12: the engine never changes a byte of a production disk."""

from simulator.oracle.evidence import Evidence, replay
from simulator.oracle.landings import judge_consent
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    for machine in evidence.truth.writes:
        for disk, live in evidence.live.items():
            if not disk.startswith(f"{machine}-disk"):
                continue
            last = 2**62
            changed = live.differs(replay(evidence.truth, machine, disk, last))
            finding.check(
                disk,
                f"{len(changed)} cells hold what the guest never wrote",
                holds=len(changed) == 0,
            )
    for image, unchanged in evidence.sources_unchanged.items():
        finding.check(image, "the source file was changed", holds=unchanged)
    judge_consent(evidence, finding)


INVARIANT = Invariant(id="I12", title="production disks are never written", judge=_judge)
