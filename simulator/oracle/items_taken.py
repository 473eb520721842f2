"""What was taken out of points, held against what was put into the disks."""

from reference_engine.model.identity import DiskId
from simulator.oracle.evidence import Evidence, TakenItem, TakenVolume
from simulator.oracle.verdict import Finding
from simulator.world.own_disks import OwnItem, OwnVolume


def judge_items(evidence: Evidence, finding: Finding) -> None:
    """Check that every item came out exact, or was refused by the name of what it is."""
    for order in evidence.items_ordered:
        took = evidence.items_taken.get(order.order)
        finding.check(order.order, "was never carried out", holds=took is not None)
        if took is None:
            continue
        if took.unreadable:
            proof = evidence.proofs.get(took.point)
            excused = proof is not None and evidence.may_be_unreadable(proof.point)
            finding.check(order.order, took.unreadable, holds=excused)
            continue
        volumes = {(each.disk, each.number): each for each in took.volumes}
        for disk, true in evidence.own_volumes.items():
            if disk.startswith(f"{order.machine}-"):
                for volume in true:
                    _judge_volume(finding, order.order, disk, volume, volumes)


def _judge_volume(
    finding: Finding,
    order: str,
    disk: DiskId,
    true: OwnVolume,
    volumes: dict[tuple[DiskId, int], TakenVolume],
) -> None:
    where = f"{order}, volume {true.number} of {disk}"
    volume = volumes.get((disk, true.number))
    finding.check(where, "is not there", holds=volume is not None)
    if volume is None:
        return
    if true.unsupported:
        named = true.unsupported in volume.refused
        finding.check(where, f"is not called {true.unsupported}", holds=named)
        return
    finding.check(where, f"was refused: {volume.refused}", holds=not volume.refused)
    found = {each.path: each for each in volume.items}
    once = len(found) == len(volume.items)
    finding.check(where, "lists an item twice", holds=once)
    wanted = {each.path: each for each in true.items}
    for path in found:
        finding.check(where, f"shows {_text(path)}, which is not there", holds=path in wanted)
    for path, item in wanted.items():
        finding.check(where, f"lacks {_text(path)}", holds=path in found)
        if path in found:
            _judge_item(finding, f"{where}: {_text(path)}", item, found[path])


def _judge_item(finding: Finding, where: str, true: OwnItem, found: TakenItem) -> None:
    if true.unsupported:
        named = true.unsupported in found.refused
        finding.check(where, f"is not called {true.unsupported}", holds=named)
        finding.check(where, "was taken out all the same", holds=not found.digest)
        return
    finding.check(where, f"was refused: {found.refused}", holds=not found.refused)
    finding.check(where, f"is a {found.kind}, not a {true.kind}", holds=found.kind == true.kind)
    finding.check(where, "holds something else", holds=found.digest == true.digest)
    finding.check(where, "leads elsewhere", holds=found.target == true.target)
    finding.check(where, "has other streams", holds=found.streams == true.streams)


def _text(path: str) -> str:
    return bytes.fromhex(path).decode("utf-8", "backslashreplace")
