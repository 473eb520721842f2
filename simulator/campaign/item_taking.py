"""An administrator's order to take every file out of a point, as the engine carries it out."""

import hashlib
from typing import Final

from reference_engine.items.browsing import Located, walk
from reference_engine.items.disk_view import DiskView
from reference_engine.items.extracting import Extraction, Streams
from reference_engine.items.volume import Volume
from reference_engine.items.volumes import volumes_of
from reference_engine.jobs.restoring import leased
from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.identity import RecoveryPointId
from simulator.facade.item_target import ItemTargetFacade, Taken
from simulator.oracle.evidence import TakenItem, TakenVolume

_HOLDER: Final = "items {}"


async def take_items(
    ports: Ports, policy: Policy, point: RecoveryPointId, order: str, /
) -> tuple[TakenVolume, ...]:
    """Return the volumes of a point's disks with all that was listed in them and taken out.

    Raises:
        TwinshotError: the point cannot be had.
    """
    async with leased(ports, policy, point, _HOLDER.format(order)) as reader:
        views = {disk: DiskView(reader, disk) for disk in reader.disks}
        return tuple([await _of_volume(volume) for volume in await volumes_of(views)])


async def _of_volume(volume: Volume) -> TakenVolume:
    tree = volume.tree
    if tree is None:
        reason = volume.damaged or volume.unsupported
        return TakenVolume(disk=volume.disk, number=volume.number, items=(), refused=reason)
    root = Located((), await tree.root())
    listed = [each async for each in walk(tree, root) if each.path]
    target = ItemTargetFacade()
    work = Extraction(tree, target, streams=Streams.BESIDE, progress=lambda _: None)
    await work.take(root)
    return TakenVolume(
        disk=volume.disk,
        number=volume.number,
        items=tuple(_of_item(each, target.taken) for each in listed),
        refused="",
    )


def _of_item(each: Located, taken: dict[tuple[str, ...], Taken]) -> TakenItem:
    item, *above = each.item, *each.path[:-1]
    found = taken.get(each.path)
    names = {one.name: (*above, f"{each.path[-1]}:{one.name}") for one in item.streams}
    text = "".join(f"/{name}" for name in each.path)
    return TakenItem(
        path=text.encode("utf-8", "surrogateescape").hex(),
        kind=item.kind.value,
        digest=_digest(found) if found is not None and found.kind == "file" else "",
        target=found.content.decode() if found is not None and found.kind == "link" else "",
        streams={name: _digest(taken[path]) for name, path in names.items() if path in taken},
        refused=item.damaged or item.unsupported,
    )


def _digest(taken: Taken) -> str:
    return hashlib.sha256(taken.content).hexdigest()
