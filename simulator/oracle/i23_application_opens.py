"""I23: an application in the guest finds its data sound, and closed where the label says so."""

from reference_engine.model.recovery_point import Consistency
from simulator.oracle.evidence import ApplicationProof, Evidence
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    for proof in evidence.proofs.values():
        if proof.application is not None:
            at_rest = proof.point.consistency is Consistency.APPLICATION
            _judge_point(finding, proof.point.id, proof.application, at_rest=at_rest)


def _judge_point(
    finding: Finding, point: object, proof: ApplicationProof, /, *, at_rest: bool
) -> None:
    opening = proof.opening
    finding.check(
        point,
        f"the {proof.kind} in the guest finds: {', '.join(opening.problems)}",
        holds=not opening.problems,
    )
    finding.check(
        point,
        f"the {proof.kind} in the guest finds {opening.transactions} transactions, not "
        f"{proof.committed} to {proof.begun}",
        holds=proof.committed <= opening.transactions <= proof.begun,
    )
    if at_rest:
        finding.check(
            point,
            f"is application-consistent, and the {proof.kind} in the guest has to recover",
            holds=opening.clean,
        )


INVARIANT = Invariant(
    id="I23", title="applications open: clean at Tg, elsewhere after recovery", judge=_judge
)
