"""I16: one chain is one machine: its disks, its snapshots and its bases are its own."""

from reference_engine.model.identity import DiskId, MachineId
from simulator.oracle.evidence import Evidence
from simulator.oracle.landings import judge_identity
from simulator.oracle.verdict import Finding, Invariant


def _judge(evidence: Evidence, finding: Finding) -> None:
    owners: dict[DiskId, MachineId] = {}
    points = {point.id: point for point in evidence.points()}
    for point in points.values():
        finding.check(
            point.id,
            f"of run {point.run} names another machine",
            holds=point.machine.id == point.run.machine,
        )
        base = None if point.base is None else points.get(point.base)
        finding.check(
            point.id,
            "builds on another machine's point",
            holds=base is None or base.machine.id == point.machine.id,
        )
        for record in point.disks:
            owner = owners.setdefault(record.disk, point.machine.id)
            finding.check(point.id, f"holds a disk of {owner}", holds=owner == point.machine.id)
            finding.check(
                point.id,
                f"{record.disk} is another machine's, which only has its identity",
                holds=record.snapshot not in evidence.truth.of_twins,
            )
            cut = evidence.truth.host_cuts.get(record.snapshot)
            finding.check(
                point.id,
                f"{record.disk} was read from another run's snapshot {record.snapshot}",
                holds=cut is not None and cut.run == point.run and record.disk in cut.images,
            )
    judge_identity(evidence, finding)


INVARIANT = Invariant(id="I16", title="one chain is one machine", judge=_judge)
