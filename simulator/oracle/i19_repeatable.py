"""I19: the same scenario and seed give the same trace, in any process."""

from simulator.oracle.evidence import Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    if evidence.second_digest is not None:
        finding.check(
            "the repetition in another process",
            f"took another course: {evidence.second_digest} instead of {evidence.digest}",
            holds=evidence.second_digest == evidence.digest,
        )


INVARIANT = Invariant(id="I19", title="same seed, same trace", judge=_judge)
