"""What came back onto hosts, held against the points and the orders that it came from."""

from typing import Final

from reference_engine.model.identity import OrderId
from reference_engine.model.machine import Machine
from reference_engine.model.units import ByteCount
from reference_engine.trace.engine import RestoreBegan, RestoreEnded
from simulator.oracle.evidence import Evidence
from simulator.oracle.proof import fingerprint
from simulator.oracle.verdict import Finding
from simulator.world.truth import Landing

_FIXED: Final = ("name", "guest", "back_end", "obstacles", "unprotected")
"""What of a configuration no restore has a reason to change."""


def judge_bytes(evidence: Evidence, finding: Finding) -> None:
    """Check that each machine that came back holds its point's disks, bit for bit."""
    began = {f.order.id: f for f in evidence.facts if isinstance(f, RestoreBegan)}
    for landing in evidence.truth.landings:
        fact = began.get(landing.order)
        finding.check(landing.order, "was carried out by nobody", holds=fact is not None)
        proof = None if fact is None else evidence.proofs.get(fact.point)
        if proof is None or proof.unreadable:
            continue
        prints = [disk.fingerprint for disk in proof.disks]
        lived = evidence.lived.get(landing.order)
        if lived is not None:  # it is the point, and what the machine wrote on top of it
            prints = [_print_of(content) for content in lived]
        came = [_print_of(content) for content in landing.contents]
        finding.check(
            landing.order,
            f"{landing.machine.id} does not hold what point {proof.point.id} holds",
            holds=came == prints,
        )
        _judge_configuration(evidence, finding, landing, proof.point.machine)

    for sentence in evidence.misread:
        finding.check("a machine that runs from a point", sentence, holds=False)


def _print_of(content: bytes) -> str:
    return fingerprint(ByteCount(len(content)), lambda start, end: content[start:end])


def _judge_configuration(
    evidence: Evidence, finding: Finding, landing: Landing, captured: Machine
) -> None:
    """Check that nothing of the configuration was changed without a word."""
    machine = landing.machine
    for field in _FIXED:
        finding.check(
            landing.order,
            f"changed the {field} of {captured.id}",
            holds=getattr(machine, field) == getattr(captured, field),
        )
    ends = [f for f in evidence.facts if isinstance(f, RestoreEnded) and f.order == landing.order]
    told = {each.partition(":")[0] for end in ends for each in end.rewritten}
    # An engine that died between the two could not tell; the next one only sees that it is done.
    if not any(end.machine is not None for end in ends):
        return
    changes = {
        "identity": machine.id != captured.id,
        "disk": [d.id for d in machine.disks] != [d.id for d in captured.disks],
        "volume": [d.volume for d in machine.disks] != [d.volume for d in captured.disks],
        "switch": [a.switch for a in machine.adapters] != [a.switch for a in captured.adapters],
        "address": [a.address for a in machine.adapters] != [a.address for a in captured.adapters],
    }
    for field, changed in changes.items():
        finding.check(
            landing.order,
            f"{'changed' if changed else 'did not change'} the {field}, and says otherwise",
            holds=changed == (field in told),
        )


def judge_consent(evidence: Evidence, finding: Finding) -> None:
    """Check that no machine had to go for another one unless somebody confirmed it."""
    for landing in evidence.truth.landings:
        order = evidence.orders.get(landing.order)
        finding.check(
            landing.order,
            f"{landing.machine.id} was replaced, and nobody had confirmed that",
            holds=not landing.replaced or (order is not None and order.replace),
        )


def judge_identity(evidence: Evidence, finding: Finding) -> None:
    """Check that what comes back as a new machine is nobody else's."""
    for landing in evidence.truth.landings:
        order = evidence.orders.get(landing.order)
        if order is None:
            continue
        new = order.restored_as == "new"
        points = [p for p in evidence.points() if p.machine.id == order.machine]
        disks = {disk.id for point in points for disk in point.machine.disks}
        addresses = {each.address for point in points for each in point.machine.adapters}
        for mine in (
            {landing.machine.id} & {order.machine},
            {disk.id for disk in landing.machine.disks} & disks,
            {each.address for each in landing.machine.adapters} & addresses,
        ):
            finding.check(
                landing.order,
                f"{landing.machine.id} shares {', '.join(sorted(mine))} with its original",
                holds=not (new and mine),
            )


def judge_ends(evidence: Evidence, finding: Finding) -> None:
    """Check that each order came to an end, and says why where it came to nothing."""
    ended: dict[OrderId, RestoreEnded] = {
        fact.order: fact for fact in evidence.facts if isinstance(fact, RestoreEnded)
    }
    landed = {landing.order for landing in evidence.truth.landings}
    for order in evidence.orders:
        end = ended.get(order)
        finding.check(
            order,
            "came to no end",
            holds=end is not None or bool(evidence.finished),
        )
        if end is not None:
            finding.check(
                order,
                f"ended as {end.outcome} without a cause",
                holds=end.outcome == "OK" or bool(end.cause),
            )
            there = "there" if order in landed else "not there"
            finding.check(
                order,
                f"ended as {end.outcome}, and the machine is {there}",
                holds=(end.outcome in {"OK", "RETRY-OK"}) == (order in landed),
            )
