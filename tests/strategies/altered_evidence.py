"""Evidence of a night, with some of it told otherwise."""

from collections.abc import Callable
from typing import Any

import msgspec

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.recovery_point import Consistency, RecoveryPoint, TransferKind
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import PointBecameVisible
from reference_engine.trace.engine import DeltaEnumerated
from simulator.oracle.evidence import (
    ApplicationProof,
    DiskProof,
    Evidence,
    LaterRestore,
    PointProof,
)
from simulator.world.applications.application import Opening

replace = msgspec.structs.replace


def proofs_of(evidence: Evidence, consistency: Consistency) -> list[PointProof]:
    """Return the proofs of the points that claim this."""
    return [p for p in evidence.proofs.values() if p.point.consistency is consistency]


def with_proof(evidence: Evidence, proof: PointProof) -> Evidence:
    """Return the evidence with another proof of one point."""
    return replace(evidence, proofs={**evidence.proofs, proof.point.id: proof})


def with_disk(proof: PointProof, **changes: Any) -> PointProof:
    """Return a proof with its first disk's fields changed."""
    first: DiskProof = replace(proof.disks[0], **changes)
    return replace(proof, disks=(first, *proof.disks[1:]))


def with_facts(evidence: Evidence, change: Callable[[Fact], Fact | None]) -> Evidence:
    """Return the evidence with every fact changed, or dropped where `change` returns None."""
    changed = [change(fact) for fact in evidence.facts]
    return replace(evidence, facts=tuple(fact for fact in changed if fact is not None))


def with_point(
    evidence: Evidence, point: RecoveryPointId, change: Callable[[RecoveryPoint], RecoveryPoint]
) -> Evidence:
    """Return the evidence with one point's record changed, wherever it stands."""

    def changed(fact: Fact) -> Fact:
        if isinstance(fact, PointBecameVisible) and fact.point.id == point:
            return replace(fact, point=change(fact.point))
        return fact

    proof = evidence.proofs[point]
    retold = with_facts(evidence, changed)
    return with_proof(retold, replace(proof, point=change(proof.point)))


def with_later(evidence: Evidence, restore: LaterRestore) -> Evidence:
    """Return the evidence with the first later restore replaced."""
    return replace(evidence, later=(restore, *evidence.later[1:]))


def incremental(evidence: Evidence) -> RecoveryPoint:
    """Return an application-consistent incremental point, and make sure that its base had skew."""
    points = {point.id: point for point in evidence.points()}
    return next(
        point
        for point in points.values()
        if point.consistency is Consistency.APPLICATION
        and point.base is not None
        and point.disks[0].transfer.kind is TransferKind.INCREMENTAL
        and points[point.base].disks[0].skew
    )


def last_of(evidence: Evidence, consistency: Consistency) -> RecoveryPoint:
    """Return the newest point that claims this; nothing is founded on it."""
    return [point for point in evidence.points() if point.consistency is consistency][-1]


def read_less(evidence: Evidence, point: RecoveryPoint, left_out: ExtentSet) -> Evidence:
    """Return the evidence of a run that did not read these bytes of its first disk."""

    def change(fact: Fact) -> Fact:
        if isinstance(fact, DeltaEnumerated) and (fact.run, fact.disk) == (
            point.run,
            point.disks[0].disk,
        ):
            return replace(fact, extents=fact.extents - left_out)
        return fact

    return with_facts(evidence, change)


def difference(evidence: Evidence, point: RecoveryPoint) -> tuple[ExtentSet, ExtentSet]:
    """Return where a point's first disk differs from its base, and its base's true skew."""
    base = next(p for p in evidence.points() if p.id == point.base)
    record, before = point.disks[0], base.disks[0]
    then = evidence.true_image(base, before)
    switched = evidence.truth.switched[base.run, record.disk]
    changed = evidence.true_image(point, record).differs(then)
    differs = evidence.as_bytes(record.disk, changed, record.size)
    return differs, evidence.as_bytes(
        record.disk, then.differs(switched), before.size
    ) | before.mask


def with_opening(evidence: Evidence, label: Consistency, **changes: Any) -> Evidence:
    """Return the evidence with what an application said of a point changed."""
    proof = proofs_of(evidence, label)[0]
    opening = Opening(clean=True, transactions=4, problems=())
    said = ApplicationProof(
        kind="ledger", opening=replace(opening, **changes), committed=4, begun=4
    )
    return with_proof(evidence, replace(proof, application=said))
